"""Reads the tables of a data version (parquet, CSV, TSV, ndjson) lazily, and calculates column statistics."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from tidemill.data.tables.column_names import literal_name
from tidemill.data.tables.scanning import scan_csv, scan_ndjson, scan_parquet
from tidemill.data.tables.table_stats import ColumnStats, TableStats, Value
from tidemill.errors import DataError

__all__ = ["describe", "reading", "scan", "shape"]

_EXACT_ROWS = 5_000_000
"""Up to this many rows, distinct values are counted, which takes memory for each; above, estimated."""

_SHOWN = 60  # characters of a text value


def scan(path: str, files: Sequence[Path], types: Mapping[str, pl.DataType] | None = None) -> pl.LazyFrame:
    """Read the table ``path``, whose content is in ``files``, lazily.

    Args:
        path: path in the project; its suffix gives the format.
        files: one file, or the parts of a partitioned table.
        types: column → declared type, for CSV, which has no types: declared text is read as text.

    Raises:
        DataError: the table is not what it seems; the message names a single file by ``path``.
    """
    try:
        return _scan(path, files, types)
    except DataError as error:
        if len(files) > 1:
            raise
        raise DataError(str(error).replace(str(files[0]), path), hint=error.hint) from error


def _scan(path: str, files: Sequence[Path], types: Mapping[str, pl.DataType] | None) -> pl.LazyFrame:
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in (".csv", ".tsv"):
        text = {name: dtype for name, dtype in (types or {}).items() if dtype == pl.String}
        return scan_csv(files, separator="," if suffix == ".csv" else "\t", types=text)
    return scan_ndjson(files) if suffix in (".ndjson", ".jsonl") else scan_parquet(files)


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn errors of Polars about a broken table into an error that names the table.

    Raises:
        DataError: the table is broken.
    """
    try:
        yield
    except (PolarsError, pl.exceptions.PanicException, OSError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{path} cannot be read as a table: {said}", hint="check that its suffix names its format"
        ) from error


def shape(table: pl.LazyFrame) -> tuple[int, Mapping[str, str]]:
    """Return the number of rows, and type by column."""
    schema = table.collect_schema()
    rows = int(table.select(pl.len()).collect(engine="streaming").item())
    return rows, {name: str(dtype) for name, dtype in schema.items()}


def describe(table: pl.LazyFrame) -> TableStats:
    """Return the statistics of every column, in one pass and bounded memory.

    >>> stats = describe(pl.LazyFrame({"delay": [1.0, None, 3.0]}))
    >>> stats.rows, stats.columns[0].nulls, stats.columns[0].mean, stats.columns[0].distinct
    (3, 1, 2.0, 2)
    """
    schema = table.collect_schema()
    rows = int(table.select(pl.len()).collect(engine="streaming").item())
    measures = {
        (name, measure): expression
        for name, dtype in schema.items()
        for measure, expression in _measures(name, dtype, exact=rows <= _EXACT_ROWS).items()
    }
    if not measures:
        return TableStats(rows, ())
    named = [expression.alias(str(number)) for number, expression in enumerate(measures.values())]
    values = dict(zip(measures, table.select(named).collect(engine="streaming").row(0), strict=True))
    return TableStats(rows, tuple(_column(name, dtype, values) for name, dtype in schema.items()))


def _measures(name: str, dtype: pl.DataType, exact: bool) -> dict[str, pl.Expr]:
    column = pl.col(literal_name(name))
    if dtype.is_float():
        column = column.fill_nan(None)
    measures = {"nulls": column.null_count()}
    if dtype.is_nested() or dtype in (pl.Object, pl.Null):
        return measures
    if isinstance(dtype, pl.Categorical | pl.Enum):
        column = column.cast(pl.String)
    values = column.drop_nulls()
    measures["distinct"] = values.n_unique() if exact else values.approx_n_unique()
    if dtype.is_numeric() or dtype == pl.Boolean:
        number = column.cast(pl.Float64)
        measures |= {"mean": number.mean(), "std": number.std()}
    if dtype != pl.Binary:
        measures |= {"min": column.min(), "max": column.max()}
    return measures


def _column(name: str, dtype: pl.DataType, values: Mapping[tuple[str, str], Any]) -> ColumnStats:
    return ColumnStats(
        name,
        str(dtype),
        values[name, "nulls"],
        values.get((name, "distinct")),
        _finite(values.get((name, "mean"))),
        _finite(values.get((name, "std"))),
        _plain(values.get((name, "min"))),
        _plain(values.get((name, "max"))),
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _plain(value: Any) -> Value:
    match value:
        case bool():
            return int(value)
        case None | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return str(value)
        case _:
            text = str(value)
            return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
