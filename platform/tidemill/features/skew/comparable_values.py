"""Bring served and expected values of a feature to one type: numbers, or text."""

from collections.abc import Iterable

import polars as pl

__all__ = ["as_comparable_rows", "as_number", "is_text"]


def as_comparable_rows(rows: pl.DataFrame, features: Iterable[str]) -> pl.DataFrame:
    """Return rows whose ``feature.<name>`` and ``expected.<name>`` are both Float64, or both text.

    Models take moments as seconds since 1970 and truth values as 0 and 1, and so they are logged.

    >>> rows = pl.DataFrame({"feature.open": [1.0], "expected.open": [True]})
    >>> as_comparable_rows(rows, ["open"]).row(0)
    (1.0, 1.0)
    """
    changed = []
    for name in features:
        both = [f"{side}.{name}" for side in ("feature", "expected")]
        if any(is_text(rows.schema[column]) for column in both):
            changed += [rows[column].cast(pl.String) for column in both]
        else:
            changed += [rows.select(as_number(pl.lit(rows[c]), rows.schema[c]).alias(c))[c] for c in both]
    return rows.with_columns(changed)


def as_number(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return a number, a truth value or a moment as Float64."""
    if dtype in (pl.Datetime, pl.Date):
        return value.cast(pl.Datetime("us")).dt.epoch("us").cast(pl.Float64) / 1e6
    return value.cast(pl.Float64)


def is_text(dtype: pl.DataType) -> bool:
    """Return whether values of this type are text."""
    return dtype in (pl.String, pl.Categorical) or isinstance(dtype, pl.Enum)
