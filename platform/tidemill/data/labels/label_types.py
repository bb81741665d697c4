"""Gives the values of labels and their keys types: what tools export is often all text."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from tidemill.clock import parse_moment, utc

__all__ = ["MOMENT", "cast_like", "moment", "moments", "typed"]

MOMENT = pl.Datetime("us", "UTC")
"""How labels keep moments."""


def typed(name: str, values: Sequence[Any]) -> pl.Series:
    """Return typed values; text that is all numbers becomes numbers, unless zeros stand in front.

    >>> typed("flight", ["7", "12"]).dtype, typed("flight", ["007", "12"]).dtype
    (Int64, String)
    """
    kinds = {type(value) for value in values if value is not None}
    if not kinds <= {str}:
        exact = kinds in ({int}, {float}, {bool}, {int, float}, {datetime}, {date})
        texts = None if exact else [None if value is None else str(value) for value in values]
        return pl.Series(name, values if texts is None else texts, strict=False)
    text = pl.Series(name, values, dtype=pl.String)
    filled = text.filter(text.is_not_null() & (text != ""))
    if filled.str.contains(r"^(0|-?[1-9]\d{0,17})$").all():
        return text.cast(pl.Int64, strict=False)
    if filled.str.contains(r"^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$").all():
        return text.cast(pl.Float64, strict=False)
    if filled.str.to_lowercase().is_in(["true", "false"]).all():
        return (text.str.to_lowercase() == "true").alias(name)
    return text


def moments(values: Sequence[Any]) -> pl.Series:
    """Return moments in UTC; null for what is none."""
    read: dict[str, datetime | None] = {}
    for value in values:
        if str(value) not in read:
            read[str(value)] = moment(value)
    return pl.Series([read[str(value)] for value in values], dtype=MOMENT)


def moment(value: Any) -> datetime | None:
    """Return a moment in UTC, or nothing if ``value`` is none.

    >>> moment("2013-05-01 10:00"), moment("yesterday")
    (datetime.datetime(2013, 5, 1, 10, 0, tzinfo=datetime.timezone.utc), None)
    """
    if isinstance(value, datetime):
        return utc(value)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    try:
        return parse_moment(str(value))
    except ValueError:
        return None


def cast_like(series: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Return ``series`` in the type of the data set it is held against; null for what cannot be that."""
    if isinstance(dtype, pl.Datetime):
        utc_moments = (series if series.dtype == MOMENT else moments(series.to_list())).alias(series.name)
        zoned = (
            utc_moments.dt.convert_time_zone(dtype.time_zone)
            if dtype.time_zone
            else utc_moments.dt.replace_time_zone(None)
        )
        return zoned.cast(dtype)
    return (
        series.cast(pl.String).cast(dtype, strict=False)
        if dtype.is_numeric()
        else series.cast(dtype, strict=False)
    )
