"""Declared defaults: the values that replace features of which the feature store has no valid value.

``Field(name="rain", dtype=Float64, tags={"default": "0.0"})`` in a view declares one, once, for training and
for serving. Feast drops the tags of an on-demand view's features, so there the view has them:
``tags={"default:rain": "0.0"}``. Truth values are ``true`` or ``false``, moments have their offset from
UTC, lists are JSON arrays. The offline store itself never fills defaults in.
"""

import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import polars as pl
from feast import FeatureService, FeatureView, Field, OnDemandFeatureView
from feast.types import Array, Bool, FeastType, Int32, Int64, String, UnixTimestamp

from tidemill.data.tables.column_names import literal_name
from tidemill.data.tables.list_elements import known_elements
from tidemill.errors import FeatureError
from tidemill.project.feature_columns import FeatureValue

__all__ = ["check_defaults", "declared_defaults", "filled"]

_TAG = "default"
_OF = f"{_TAG}:"
_WHOLE = (Int32, Int64)
_TRUTH = {"true": 1.0, "false": 0.0}


def declared_defaults(
    service: FeatureService, views: Iterable[FeatureView | OnDemandFeatureView]
) -> dict[str, FeatureValue]:
    """Return the declared defaults of a service: feature → default.

    Args:
        service: The service.
        views: Its on-demand views, at least.

    Raises:
        FeatureError: a default is not of the feature's type.
    """
    tags = {view.name: view.tags for view in views if isinstance(view, OnDemandFeatureView)}
    defaults = {}
    for projection in service.feature_view_projections:
        for field in projection.features:
            default = tags.get(projection.name, {}).get(_OF + field.name, field.tags.get(_TAG))
            if default is not None:
                defaults[field.name] = _value(projection.name_to_use(), field, default)
    return defaults


def check_defaults(view: FeatureView | OnDemandFeatureView) -> None:
    """Check the defaults that a view declares.

    Raises:
        FeatureError: a default is not of the feature's type, of an unknown feature, or declared where Feast
            does not keep it.
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
        _value(view.name, fields[name], value)


def filled(frame: pl.DataFrame, defaults: Mapping[str, FeatureValue]) -> pl.DataFrame:
    """Return ``frame`` with nulls, NaN and infinity replaced by the defaults; the column types stay.

    >>> filled(pl.DataFrame({"rain": [None, 1.5]}), {"rain": 0.0})["rain"].to_list()
    [0.0, 1.5]
    """
    columns = []
    for name, default in defaults.items():
        dtype = frame.schema[name]
        if dtype == pl.Null:
            dtype = pl.Float64() if isinstance(default, float) else pl.Series([default]).dtype
        column = pl.col(literal_name(name)).cast(dtype)
        if dtype.is_float():
            column = pl.when(column.is_finite()).then(column)
        elif isinstance(dtype, pl.List):
            column = known_elements(column)
        columns.append(column.fill_null(_literal(default, dtype)).alias(name))
    return frame.with_columns(columns)


def _literal(default: FeatureValue, dtype: pl.DataType) -> pl.Expr:
    if isinstance(default, tuple):
        return pl.lit(pl.Series([list(default)])).cast(dtype)
    if isinstance(dtype, pl.Datetime) and isinstance(default, float):
        moment = pl.lit(datetime.fromtimestamp(default, UTC).replace(tzinfo=None)).cast(pl.Datetime("us"))
        return (moment.dt.replace_time_zone("UTC") if dtype.time_zone else moment).cast(dtype)
    return pl.lit(default).cast(dtype)


def _value(view: str, field: Field, default: str) -> FeatureValue:
    """Return a default as models take it: a number, text, or a list; moments in seconds since 1970."""
    if field.dtype == String:
        return default
    array = isinstance(field.dtype, Array)
    element = field.dtype.base_type if array else field.dtype
    must = 'a number as text, such as "0.0"'
    try:
        if array:
            must = 'a JSON array as text, such as "[0.0, 1.0]"'
            numbers = json.loads(default)
            if not isinstance(numbers, list):
                raise ValueError
            return tuple(_number(element, str(number)) for number in numbers)
        if element == UnixTimestamp:
            must = 'a moment with its offset, such as "2013-04-01T00:00:00Z"'
            moment = datetime.fromisoformat(default)
            if moment.tzinfo is None:
                raise ValueError
            return float(int(moment.timestamp()))
        return _number(element, default)
    except (ValueError, OverflowError) as error:
        raise FeatureError(
            f"view {view!r}: the default of feature {field.name!r}, {default!r}, is not of type "
            f"{field.dtype}",
            hint=f"write {must}",
        ) from error


def _number(dtype: FeastType, text: str) -> float:
    number = _TRUTH.get(text.lower()) if dtype == Bool else None
    if number is None:
        number = float(text)
    fits = math.isfinite(number)
    if dtype in _WHOLE:
        fits = fits and number.is_integer()
    if dtype == Bool:
        fits = number in (0, 1)
    if not fits:
        raise ValueError(text)
    return number
