"""Files that DuckDB makes, in a process of its own: one that has loaded it takes a second longer to end."""

import subprocess
import sys
from pathlib import Path

_CODE = """
import sys, duckdb
with duckdb.connect(sys.argv[1]) as database:
    for statement in sys.argv[2:]:
        database.execute(statement)
"""


def run_duckdb(*statements: str, folder: Path, file: str = ":memory:") -> None:
    """Run statements on a database in a folder, in which they find files by their names."""
    subprocess.run([sys.executable, "-c", _CODE, file, *statements], cwd=folder, check=True)
