"""What is declared of a table: the columns by which its rows are told apart, and the types of its columns."""

from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from tidemill.data.expectations.declarations import load_expectations
from tidemill.errors import ConfigError

__all__ = ["KEY", "declared_key", "declared_types"]

KEY = "tidemill.key"
"""Entry in the metadata of a parquet file: its key columns, separated by commas."""


def declared_key(root: Path, path: str, file: Path) -> tuple[str, ...]:
    """Return the key of the table ``path``: what its file says, else ``expectations.yaml``, else none.

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
            found = None  # broken: who reads the table will say so
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
        return {}  # the declarations of today need not be right to look back
    for rules in declared.datasets.values():
        if path in (rules.source, rules.accepted):
            return rules.dtypes
    return {}
