"""Bring served and expected values of a feature to one type: numbers, text, or lists of numbers."""

import math
from collections.abc import Iterable

import polars as pl

from tidemill.data.tables.list_elements import known_elements

__all__ = ["as_comparable_rows", "as_number", "distance", "is_list", "is_text"]


def as_comparable_rows(rows: pl.DataFrame, features: Iterable[str]) -> pl.DataFrame:
    """Return rows whose ``feature.<name>`` and ``expected.<name>`` are of one type: Float64, text or lists.

    Models take moments as seconds since 1970 and truth values as 0 and 1, and so they are logged.

    >>> rows = pl.DataFrame({"feature.open": [1.0], "expected.open": [True]})
    >>> as_comparable_rows(rows, ["open"]).row(0)
    (1.0, 1.0)
    """
    changed = []
    for name in features:
        both = [f"{side}.{name}" for side in ("feature", "expected")]
        if any(is_list(rows.schema[column]) for column in both):
            changed += [_as_lists(rows[column]) for column in both]
        elif any(is_text(rows.schema[column]) for column in both):
            changed += [rows[column].cast(pl.String) for column in both]
        else:
            changed += [rows.select(as_number(pl.lit(rows[c]), rows.schema[c]).alias(c))[c] for c in both]
    return rows.with_columns(changed)


def is_list(dtype: pl.DataType) -> bool:
    """Return whether values of this type are lists."""
    return isinstance(dtype, pl.List | pl.Array)


def distance(served: pl.Series, expected: pl.Series) -> pl.Series:
    """Return the largest difference of two elements; null where a list is.

    It is infinite for lists of different lengths, or with gaps at different places.

    >>> distance(pl.Series([[1.0, 2.0], [1.0], None]), pl.Series([[1.0, 2.5], [1.0, 2.0], None])).to_list()
    [0.5, inf, None]
    """
    found = [
        None if one is None or other is None else _largest_difference(one, other)
        for one, other in zip(served.to_list(), expected.to_list(), strict=True)
    ]
    return pl.Series("distance", found, pl.Float64)


def _largest_difference(one: list[float | None], other: list[float | None]) -> float:
    if len(one) != len(other):
        return math.inf
    return max(map(_difference, one, other), default=0.0)


def _difference(one: float | None, other: float | None) -> float:
    if one is None or other is None:
        return 0.0 if one is other else math.inf
    return abs(one - other)


def _as_lists(column: pl.Series) -> pl.Series:
    if isinstance(column.dtype, pl.Array):
        column = column.arr.to_list()
    if not is_list(column.dtype):
        return pl.Series(column.name, [None] * len(column), pl.List(pl.Float64))
    lists = pl.lit(column.cast(pl.List(pl.Float64)))
    return pl.select(known_elements(lists).alias(column.name)).to_series()


def as_number(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return a number, a truth value or a moment as Float64; null where it is infinite, as in training."""
    if dtype in (pl.Datetime, pl.Date):
        return value.cast(pl.Datetime("us")).dt.epoch("us").cast(pl.Float64) / 1e6
    number = value.cast(pl.Float64)
    return pl.when(number.is_infinite().not_()).then(number)


def is_text(dtype: pl.DataType) -> bool:
    """Return whether values of this type are text."""
    return dtype in (pl.String, pl.Categorical) or isinstance(dtype, pl.Enum)
