"""What is shown of a data version. Imports no engine."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tidemill.data.tables.table_stats import TableStats

__all__ = ["Shown", "ShownOutput"]


@dataclass(frozen=True)
class ShownOutput:
    """A file or folder of a version."""

    path: str
    md5: str
    size: int | None
    """Bytes."""
    files: int | None
    """Number of files in a folder."""
    rows: int | None = None
    """Of a table."""
    schema: Mapping[str, str] | None = None
    """Of a table: type by column."""
    stats: TableStats | None = None
    """Statistics of a table that was requested by name."""
    note: str | None = None
    """Why a table could not be read."""


@dataclass(frozen=True)
class Shown:
    """A data version and its outputs."""

    revision: str
    time: datetime
    message: str
    outputs: tuple[ShownOutput, ...]
    validation: Mapping[str, Any] | None
    """The report of stage validate that is committed with it, if there is one."""
