"""Declared defaults: what a feature is taken to be where the feature store has no valid value.

``Field(name="rain", dtype=Float64, tags={"default": "0.0"})`` in a view declares one, once, for training and
for serving. The offline store itself never fills it in.
"""

import math
from collections.abc import Iterable, Mapping

import polars as pl
from feast import FeatureService, Field
from feast.types import Bool, Float32, Float64, Int32, Int64

from tidemill.errors import FeatureError

__all__ = ["check_defaults", "declared_defaults", "filled"]

_TAG = "default"
_WHOLE = (Int32, Int64)
_NUMBERS = (Bool, Float32, Float64, *_WHOLE)


def declared_defaults(service: FeatureService) -> dict[str, float]:
    """Return the features of a service that have a default, and that.

    Raises:
        FeatureError: a default is no number, or none of the feature's type.
    """
    defaults = {}
    for projection in service.feature_view_projections:
        for field in projection.features:
            if _TAG in field.tags:
                defaults[field.name] = _number(projection.name_to_use(), field)
    return defaults


def check_defaults(view: str, fields: Iterable[Field]) -> None:
    """Check the defaults that a view declares.

    Raises:
        FeatureError: a default is no number, or none of the feature's type.
    """
    for field in fields:
        if _TAG in field.tags:
            _number(view, field)


def filled(frame: pl.DataFrame, defaults: Mapping[str, float]) -> pl.DataFrame:
    """Return ``frame`` with the defaults in place of nulls and NaN; the types of its columns stay.

    >>> filled(pl.DataFrame({"rain": [None, 1.5]}), {"rain": 0.0})["rain"].to_list()
    [0.0, 1.5]
    """
    columns = []
    for name, default in defaults.items():
        dtype = frame.schema[name] if frame.schema[name] != pl.Null else pl.Float64()
        column = pl.col(name).cast(dtype)
        column = column.fill_nan(None) if dtype.is_float() else column
        columns.append(column.fill_null(pl.lit(default).cast(dtype)))
    return frame.with_columns(columns)


def _number(view: str, field: Field) -> float:
    where = f"view {view!r}: the default of feature {field.name!r}, {field.tags[_TAG]!r},"
    if field.dtype not in _NUMBERS:
        raise FeatureError(f"{where} is of no use: {field.dtype} is no number")
    try:
        number = float(field.tags[_TAG])
    except ValueError:
        number = math.nan
    fits = math.isfinite(number)
    if field.dtype in _WHOLE:
        fits = fits and number.is_integer()
    if field.dtype == Bool:
        fits = number in (0, 1)
    if not fits:
        raise FeatureError(f"{where} is no {field.dtype}", hint='write it like tags={"default": "0.0"}')
    return number
