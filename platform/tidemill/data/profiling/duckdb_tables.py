"""Copies a table of a DuckDB file into a parquet file, by DuckDB itself, in a process of its own.

A process that has loaded DuckDB must look for garbage when it ends (`tidemill.garbage`): this one is small.
"""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl

from tidemill.data.tables.column_names import literal_name
from tidemill.data.tables.scanning import scan_parquet
from tidemill.errors import DataError

__all__ = ["read_duckdb"]

_SHOWN = 10


def read_duckdb(file: Path, table: str, target: Path) -> pl.LazyFrame:
    """Copy a table or view and open the copy lazily.

    Args:
        file: the database.
        table: its name, with its schema before a point if that is another than ``main``.
        target: the file to write.

    Raises:
        DataError: there is no such table, or it cannot be read.
    """
    if not file.is_file():
        raise DataError(f"{file} cannot be read: there is no such file", hint="check the path")
    command = [sys.executable, "-m", "tidemill.data.profiling.duckdb_copying", str(file), table, str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
    if "tables" in told:
        raise DataError(
            f"the database has no table {table!r}",
            hint=f"it has: {', '.join(told['tables'][:_SHOWN]) or 'none'}",
        )
    if "endless" in told:
        raise DataError(
            f"{file} cannot be read: {', '.join(told['endless'][:_SHOWN])} of {table} holds infinity",
            hint="name a view in which such values are null, as `case when isfinite(ends) then ends end`",
        )
    if "rows" not in told:
        said = told.get("error") or (done.stderr.strip().splitlines() or ["its reader was ended"])[-1]
        raise DataError(
            f"{file} cannot be read: {said}",
            hint="check that it is a DuckDB file of this release, and that no program writes to it",
        )
    spans = [pl.col(literal_name(name)).cast(pl.Duration("us")) for name in told["spans"]]
    return scan_parquet([target]).with_columns(spans)
