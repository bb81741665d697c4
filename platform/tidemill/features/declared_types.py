"""Check whether the type of a file's column fits a feature's declared type."""

from typing import Any

import polars as pl
from feast.value_type import ValueType

__all__ = ["fits"]

_NUMBERS = {ValueType.INT32, ValueType.INT64, ValueType.FLOAT, ValueType.DOUBLE, ValueType.DECIMAL}
_TEXT = {ValueType.STRING, ValueType.UUID, ValueType.TIME_UUID}


def fits(declared: Any, dtype: pl.DataType) -> bool:
    """Return whether ``dtype`` is of the same kind as ``declared``, a Feast type.

    Only kinds are compared: any number is fine for a number, JSON text for anything nested. A column of nulls
    fits everything.

    >>> from feast.types import Float64, Array, String
    >>> fits(Float64, pl.Int32()), fits(Float64, pl.String()), fits(Array(String), pl.List(pl.String))
    (True, False, True)
    """
    value_type = declared.to_value_type()
    text = dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum)
    moment = isinstance(dtype, pl.Datetime | pl.Date)
    if dtype == pl.Null:
        return True
    if value_type in _NUMBERS:
        return bool(dtype.is_numeric() or dtype == pl.Boolean)
    if value_type in _TEXT:
        return text
    if value_type == ValueType.BOOL:
        return bool(dtype.is_numeric() or dtype == pl.Boolean)
    if value_type in (ValueType.UNIX_TIMESTAMP, ValueType.ZONED_TIMESTAMP):
        return bool(moment or dtype.is_integer() or isinstance(dtype, pl.Struct))
    if value_type.name.endswith(("_LIST", "_SET", "MAP")) or value_type in (ValueType.STRUCT, ValueType.JSON):
        return bool(dtype.is_nested() or text or dtype == pl.Binary)
    return True
