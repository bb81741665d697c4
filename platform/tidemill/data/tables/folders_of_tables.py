"""Says which files below a folder are parts of a table, and refuses folders whose files are not all of it."""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from tidemill.errors import DataError

__all__ = ["is_part", "refuse_table_format"]

_LOGS: Mapping[str, str] = {"_delta_log": "Delta", ".hoodie": "Hudi"}
"""Folder in which a table format keeps which files are valid → its name."""


def is_part(path: str) -> bool:
    """Return whether a path relative to a table's folder is a part of it, as Spark and Arrow see it.

    >>> [is_part(path) for path in ("day=1/a.parquet", "_temporary/a.parquet", "a/.b.csv", "_day=1/a.csv")]
    [True, False, False, True]
    """
    return not any(part.startswith((".", "_")) and "=" not in part for part in PurePosixPath(path).parts)


def refuse_table_format(folder: str, paths: Iterable[str]) -> None:
    """Refuse the folder of a table format, in which removed rows lie beside valid ones.

    Args:
        folder: named in the message.
        paths: of all files below it, relative to it.

    Raises:
        DataError: it is one.

    >>> refuse_table_format("orders", ["part-0.parquet", "_delta_log/00000000000000000000.json"])
    Traceback (most recent call last):
    tidemill.errors.DataError: orders is a Delta table, whose log says which of its files are valid
    """
    for path in paths:
        parts = PurePosixPath(path).parts
        kind = next((_LOGS[part] for part in parts if part in _LOGS), None)
        if len(parts) > 1 and parts[-2] == "metadata" and parts[-1].endswith(".metadata.json"):
            kind = "Iceberg"
        if kind is not None:
            article = "an" if kind == "Iceberg" else "a"
            raise DataError(
                f"{folder} is {article} {kind} table, whose log says which of its files are valid",
                hint="write the rows that it has now into plain parquet files, and name those",
            )
