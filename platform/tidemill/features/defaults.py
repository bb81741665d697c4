"""Declared defaults: the values that replace features of which the feature store has no valid value.

``Field(name="rain", dtype=Float64, tags={"default": "0.0"})`` in a view declares one, once, for training and
for serving. Feast drops the tags of an on-demand view's features, so there the view has them:
``tags={"default:rain": "0.0"}``. The offline store itself never fills them in.
"""

import math
from collections.abc import Iterable, Mapping

import polars as pl
from feast import FeatureService, FeatureView, Field, OnDemandFeatureView
from feast.types import Bool, Float32, Float64, Int32, Int64

from tidemill.data.tables.column_names import literal_name
from tidemill.errors import FeatureError

__all__ = ["check_defaults", "declared_defaults", "filled"]

_TAG = "default"
_OF = f"{_TAG}:"
_WHOLE = (Int32, Int64)
_NUMBERS = (Bool, Float32, Float64, *_WHOLE)


def declared_defaults(
    service: FeatureService, views: Iterable[FeatureView | OnDemandFeatureView]
) -> dict[str, float]:
    """Return the declared defaults of a service: feature → default.

    Args:
        service: The service.
        views: Its on-demand views, at least.

    Raises:
        FeatureError: a default is not a number, or not of the feature's type.
    """
    tags = {view.name: view.tags for view in views if isinstance(view, OnDemandFeatureView)}
    defaults = {}
    for projection in service.feature_view_projections:
        for field in projection.features:
            default = tags.get(projection.name, {}).get(_OF + field.name, field.tags.get(_TAG))
            if default is not None:
                defaults[field.name] = _number(projection.name_to_use(), field, default)
    return defaults


def check_defaults(view: FeatureView | OnDemandFeatureView) -> None:
    """Check the defaults that a view declares.

    Raises:
        FeatureError: a default is not a number, not of the feature's type, of an unknown feature, or declared
            where Feast does not keep it.
    """
    fields = {field.name: field for field in view.features}
    of_fields = {name: field.tags[_TAG] for name, field in fields.items() if _TAG in field.tags}
    of_view = {tag.removeprefix(_OF): value for tag, value in view.tags.items() if tag.startswith(_OF)}
    on_demand = isinstance(view, OnDemandFeatureView)
    misplaced = of_fields if on_demand else of_view
    if misplaced:
        name, value = next(iter(misplaced.items()))
        right = f'Field(name="{name}", ..., tags={{"{_TAG}": "{value}"}})'
        if on_demand:
            right = f'on_demand_feature_view(..., tags={{"{_OF}{name}": "{value}"}})'
        raise FeatureError(
            f"view {view.name!r}: the default of feature {name!r} is declared in the wrong place",
            hint=f"write {right}",
        )
    for name, value in {**of_fields, **of_view}.items():
        if name not in fields:
            raise FeatureError(
                f"view {view.name!r} declares a default of {name!r}, which is not one of its features",
                hint=f"there are: {', '.join(fields)}",
            )
        _number(view.name, fields[name], value)


def filled(frame: pl.DataFrame, defaults: Mapping[str, float]) -> pl.DataFrame:
    """Return ``frame`` with nulls and NaN replaced by the defaults; the column types stay the same.

    >>> filled(pl.DataFrame({"rain": [None, 1.5]}), {"rain": 0.0})["rain"].to_list()
    [0.0, 1.5]
    """
    columns = []
    for name, default in defaults.items():
        dtype = frame.schema[name] if frame.schema[name] != pl.Null else pl.Float64()
        column = pl.col(literal_name(name)).cast(dtype)
        column = column.fill_nan(None) if dtype.is_float() else column
        columns.append(column.fill_null(pl.lit(default).cast(dtype)))
    return frame.with_columns(columns)


def _number(view: str, field: Field, default: str) -> float:
    where = f"view {view!r}: the default of feature {field.name!r}, {default!r},"
    if field.dtype not in _NUMBERS:
        raise FeatureError(
            f"{where} cannot be used: {field.dtype} is not a number",
            hint="remove the default, or encode the feature as a number",
        )
    try:
        number = float(default)
    except ValueError:
        number = math.nan
    fits = math.isfinite(number)
    if field.dtype in _WHOLE:
        fits = fits and number.is_integer()
    if field.dtype == Bool:
        fits = number in (0, 1)
    if not fits:
        raise FeatureError(
            f"{where} is not of type {field.dtype}", hint='write a number as text, such as "0.0"'
        )
    return number
