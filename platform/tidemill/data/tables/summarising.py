"""Summarises the columns of a table: how their values are spread."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from tidemill.data.tables.column_names import literal_name
from tidemill.data.tables.column_summary import FEWEST, LEVELS, ColumnSummary

__all__ = ["summarise"]

_EXACT_ROWS = 5_000_000
_SAMPLE = 200_000
"""Quantiles of a larger table are those of every n-th row: sorting each column takes memory and time."""
_MOST_CATEGORIES = 50
"""A column with more values than this is a name or a text, of which no value is kept."""
_LONGEST = 60
"""Characters of a category; a longer one is a text of somebody's own."""


def summarise(table: pl.LazyFrame) -> dict[str, ColumnSummary]:
    """Return the summary of each column, in bounded memory.

    >>> found = summarise(pl.LazyFrame({"delay": [None, *map(float, range(100))], "carrier": ["UA"] * 101}))
    >>> found["delay"].nulls, found["delay"].mean, len(found["delay"].quantiles), found["carrier"].categories
    (1, 49.5, 10, {'UA': 101})
    """
    schema = table.collect_schema()
    rows = int(table.select(pl.len()).collect(engine="streaming").item())
    kept = {name: kind for name, kind in schema.items() if not kind.is_nested() and kind != pl.Object}
    measures = {
        (name, measure): expression
        for name, kind in kept.items()
        for measure, expression in _counts(name, kind, exact=rows <= _EXACT_ROWS).items()
    }
    values = _one_row(table, measures)
    spread = _spread(table, rows, kept, values)
    return {name: _summary(rows, schema[name], name, values, spread) for name in kept}


def _counts(name: str, kind: pl.DataType, exact: bool) -> dict[str, pl.Expr]:
    column = _known(name, kind)
    found = {"nulls": column.null_count()}
    if _is_number(kind):
        numbers = _numbers(name, kind)
        found |= {"mean": numbers.mean(), "std": numbers.std()}
    elif _is_text(kind):
        values = column.cast(pl.String).drop_nulls()
        found["distinct"] = values.n_unique() if exact else values.approx_n_unique()
    return found


def _spread(
    table: pl.LazyFrame, rows: int, kept: Mapping[str, pl.DataType], values: Mapping[tuple[str, str], Any]
) -> dict[str, Any]:
    """Return the quantiles or the categories of each column."""
    some = table if rows <= _SAMPLE else table.gather_every(-(-rows // _SAMPLE))
    numbers = [_numbers(name, kind).alias(name) for name, kind in kept.items() if _is_number(kind)]
    sampled = some.select(numbers).collect(engine="streaming") if numbers else pl.DataFrame()
    found: dict[str, Any] = {column.name: _quantiles(column) for column in sampled}
    for name, kind in kept.items():
        few = 0 < values.get((name, "distinct"), 0) <= _MOST_CATEGORIES
        if kind == pl.Boolean or few:
            found[name] = _categories(table, name, kind)
    return found


def _quantiles(column: pl.Series) -> list[float]:
    known = column.drop_nulls().to_numpy()
    levels = min(LEVELS, len(known) // FEWEST)
    return np.quantile(known, (np.arange(levels) + 0.5) / levels).tolist() if levels else []


def _categories(table: pl.LazyFrame, name: str, kind: pl.DataType) -> dict[str, int]:
    value, counted = _known(name, kind).cast(pl.String).alias("value"), pl.len().alias("rows")
    found = table.select(value).drop_nulls().group_by("value").agg(counted).collect(engine="streaming")
    common = found.filter((pl.col("rows") >= FEWEST) & (pl.col("value").str.len_chars() <= _LONGEST))
    return dict(common.sort(["rows", "value"], descending=[True, False]).rows())


def _summary(
    rows: int,
    kind: pl.DataType,
    name: str,
    values: Mapping[tuple[str, str], Any],
    spread: Mapping[str, Any],
) -> ColumnSummary:
    found = spread.get(name)
    shown = rows - values[name, "nulls"] >= FEWEST
    return ColumnSummary(
        str(kind),
        rows,
        values[name, "nulls"],
        values.get((name, "mean")) if shown else None,
        values.get((name, "std")) if shown else None,
        tuple(found) if isinstance(found, list) else (),
        kind.is_temporal(),
        values.get((name, "distinct")),
        found if isinstance(found, dict) else {},
    )


def _one_row(table: pl.LazyFrame, asked: Mapping[tuple[str, str], pl.Expr]) -> dict[tuple[str, str], Any]:
    if not asked:
        return {}
    named = [expression.alias(str(place)) for place, expression in enumerate(asked.values())]
    return dict(zip(asked, table.select(named).collect(engine="streaming").row(0), strict=True))


def _is_number(kind: pl.DataType) -> bool:
    return kind.is_numeric() or kind in (pl.Date, pl.Datetime)


def _is_text(kind: pl.DataType) -> bool:
    return kind == pl.String or isinstance(kind, pl.Categorical | pl.Enum)


def _known(name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(literal_name(name))
    return column.fill_nan(None) if kind.is_float() else column


def _numbers(name: str, kind: pl.DataType) -> pl.Expr:
    column = _known(name, kind)
    if kind.is_temporal():
        return column.cast(pl.Datetime("us")).dt.epoch("us") / 1e6
    numbers = column.cast(pl.Float64)
    return pl.when(numbers.is_finite()).then(numbers)
