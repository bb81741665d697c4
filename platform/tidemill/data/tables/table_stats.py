"""What is known of a table: whether a file is one, its statistics. Imports no engine."""

from dataclasses import dataclass
from pathlib import PurePosixPath

__all__ = ["ColumnStats", "TableStats", "Value", "is_table"]

Value = int | float | str | None
"""A statistic that any type of column can have."""

_SUFFIXES = frozenset({".parquet", ".pq", ".csv", ".tsv", ".ndjson", ".jsonl"})


@dataclass(frozen=True)
class ColumnStats:
    """Statistics of one column. NaN counts as null; statistics that the type does not have are None."""

    name: str
    dtype: str
    nulls: int
    distinct: int | None
    """Number of distinct values without null; estimated from 5 million rows on."""
    mean: float | None
    """For booleans: the share of true."""
    std: float | None
    min: Value
    max: Value


@dataclass(frozen=True)
class TableStats:
    """Statistics of a table."""

    rows: int
    columns: tuple[ColumnStats, ...]


def is_table(path: str) -> bool:
    """Return whether a file is a table, by its name.

    >>> is_table("data/flights.parquet"), is_table("models/model.onnx")
    (True, False)
    """
    return PurePosixPath(path).suffix.lower() in _SUFFIXES
