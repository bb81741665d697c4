"""By which columns the rows of a table are told apart, where that is declared."""

from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from tidemill.data.expectations.declarations import load_expectations

__all__ = ["KEY", "declared_key"]

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
