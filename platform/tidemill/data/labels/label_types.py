"""Converts labels and their keys to types, because labelling tools often export only text."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from tidemill.clock import FIRST_YEAR, LAST_YEAR, parse_moment, utc

__all__ = ["MOMENT", "cast_like", "is_missing", "moment", "moments", "typed"]

_LARGEST_INT = 2**63 - 1
_LARGEST_IN_FLOAT = 2**53
"""Up to this number, a float represents every whole number exactly."""

MOMENT = pl.Datetime("us", "UTC")
"""Type of moments in labels."""


def is_missing(value: Any) -> bool:
    """Return whether a file's value stands for none: nothing, an empty text, or "not a number".

    >>> [is_missing(value) for value in (None, "", float("nan"), "NaN", 0, "0")]
    [True, True, True, True, False, False]
    """
    if isinstance(value, str):
        return value == "" or value.lower() == "nan"
    return value is None or value != value


def typed(name: str, values: Sequence[Any]) -> pl.Series:
    """Return typed values; a column of numbers as text becomes numbers, unless that would lose a digit.

    >>> typed("flight", ["7", "12"]).dtype, typed("flight", ["007", "12"]).dtype
    (Int64, String)
    >>> typed("flight", ["9223372036854775807"]).dtype, typed("flight", ["9223372036854775808"]).dtype
    (Int64, String)
    """
    kinds = {type(value) for value in values if value is not None}
    if not kinds <= {str}:
        exact = kinds in ({int}, {float}, {bool}, {int, float}, {datetime}, {date})
        most = _LARGEST_INT if kinds == {int} else _LARGEST_IN_FLOAT
        if exact and all(abs(value) <= most for value in values if type(value) is int):
            return pl.Series(name, values, strict=False)
        return pl.Series(name, _texts(values), dtype=pl.String)
    text = pl.Series(name, values, dtype=pl.String)
    filled = text.filter(text.is_not_null() & (text != ""))
    if filled.str.contains(r"^(0|-?[1-9]\d*)$").all():
        numbers = text.cast(pl.Int64, strict=False)
        return numbers if numbers.count() == len(filled) else text
    if filled.str.contains(r"^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$").all():
        return text.cast(pl.Float64, strict=False)
    if filled.str.to_lowercase().is_in(["true", "false"]).all():
        return (text.str.to_lowercase() == "true").alias(name)
    return text


def _texts(values: Sequence[Any]) -> list[str | None]:
    return [None if value is None else str(value) for value in values]


def moments(values: Sequence[Any]) -> pl.Series:
    """Return moments in UTC, with null for values that are not moments."""
    read: dict[str, datetime | None] = {}
    for value in values:
        if str(value) not in read:
            read[str(value)] = moment(value)
    return pl.Series([read[str(value)] for value in values], dtype=MOMENT)


def moment(value: Any) -> datetime | None:
    """Return a moment in UTC, or None if ``value`` is a number or not a moment in the years 1900 to 2200.

    >>> moment("2013-05-01 10:00"), moment("yesterday"), moment(1701012312345)
    (datetime.datetime(2013, 5, 1, 10, 0, tzinfo=datetime.timezone.utc), None, None)
    """
    try:
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day, tzinfo=UTC)
        found = utc(value) if isinstance(value, datetime) else parse_moment(str(value))
    except (ValueError, OverflowError):
        return None
    return found if FIRST_YEAR <= found.year <= LAST_YEAR else None


def cast_like(name: str, values: Sequence[Any], dtype: pl.DataType) -> pl.Series:
    """Cast values to the type of the data set they are compared with; null for those that cannot be cast.

    >>> cast_like("zip", ["0150", "7"], pl.String()).to_list()
    ['0150', '7']
    """
    if dtype == pl.String:
        return pl.Series(name, _texts(values), dtype=pl.String)
    if isinstance(dtype, pl.Datetime):
        found = moments(values).alias(name)
        zone = dtype.time_zone
        zoned = found.dt.convert_time_zone(zone) if zone else found.dt.replace_time_zone(None)
        return zoned.cast(dtype)
    series = typed(name, values)
    return (
        series.cast(pl.String).cast(dtype, strict=False)
        if dtype.is_numeric()
        else series.cast(dtype, strict=False)
    )
