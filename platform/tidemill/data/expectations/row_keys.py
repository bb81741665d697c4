"""Reads the declared key and column types of a table."""

from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from tidemill.data.expectations.declarations import load_expectations
from tidemill.errors import ConfigError

__all__ = ["KEY", "declared_key", "declared_types"]

KEY = "tidemill.key"
"""Entry in the metadata of a parquet file: its key columns, separated by commas."""


def declared_key(root: Path, path: str, file: Path) -> tuple[str, ...]:
    """Return the key of the table ``path`` from its file, else from ``expectations.yaml``, else nothing.

    Args:
        root: the project's folder.
        path: the table, relative to ``root``.
        file: its content.

    Raises:
        ConfigError: ``expectations.yaml`` is wrong.
    """
    if path.endswith((".parquet", ".pq")):
        try:
            found = pl.read_parquet_metadata(file).get(KEY)
        except (PolarsError, OSError):
            found = None  # a broken file: the reader of the table reports it
        if found:
            return tuple(found.split(","))
    for rules in load_expectations(root).datasets.values():
        if path in (rules.source, rules.accepted):
            if rules.unique:
                return tuple(rules.unique[0])
            return next(((name,) for name, column in rules.columns.items() if column.unique), ())
    return ()


def declared_types(root: Path, path: str) -> dict[str, pl.DataType]:
    """Return the types that ``expectations.yaml`` declares for columns of the table ``path``.

    Args:
        root: the project's folder.
        path: the table, relative to ``root``.
    """
    try:
        declared = load_expectations(root)
    except ConfigError:
        return {}  # wrong declarations of today must not prevent reading earlier versions
    for rules in declared.datasets.values():
        if path in (rules.source, rules.accepted):
            return rules.dtypes
    return {}
