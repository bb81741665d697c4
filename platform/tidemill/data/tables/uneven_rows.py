"""Finds the rows of a CSV file that have more or fewer values than its header, and empty lines."""

import csv
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv as pacsv

from tidemill.data.tables.csv_headers import opened
from tidemill.plurals import counted

__all__ = ["RowEnds", "row_ends"]

_SHOWN = 5
_BLOCK = 1 << 22


@dataclass(frozen=True)
class RowEnds:
    """Where the rows of a CSV file end."""

    problem: str | None = None
    """Which rows have more or fewer values than the header, as a sentence; None if none has."""
    empty_lines: bool = False
    """Whether there may be empty lines, which are rows in a file with one column only."""


def row_ends(file: Path, separator: str) -> RowEnds:
    """Look through a CSV file for rows that are too long or too short, and for empty lines.

    Polars fills the end of a short row, and the whole of an empty line, with gaps and says nothing.
    """
    with suppress(OSError, EOFError, zlib.error, csv.Error):  # which the reader of the table says
        with opened(file) as stream:
            source = _Watched(stream)
            try:
                _read_to_end(source, separator)
            except pa.ArrowInvalid:  # a row is uneven, or longer than a block
                return RowEnds(_uneven_rows(file, separator), empty_lines=True)
        return RowEnds(None, source.empty_lines)
    return RowEnds()


class _Watched:
    """A stream that looks for empty lines in what it reads; inside of quotes it finds them too."""

    closed = False

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._end = b""
        self.empty_lines = False

    def read(self, size: int = -1) -> bytes:
        content = self._stream.read(size)
        if not self.empty_lines:
            joined = self._end + content
            self.empty_lines = b"\n\n" in joined or b"\n\r\n" in joined
            self._end = content[-2:]
        return content


def _read_to_end(source: _Watched, separator: str) -> None:
    """Split all rows of a CSV file, and forget them.

    Raises:
        pa.ArrowInvalid: not all rows have as many values as the first.
    """
    for _ in pacsv.open_csv(
        source,
        pacsv.ReadOptions(use_threads=False, block_size=_BLOCK, autogenerate_column_names=True),
        pacsv.ParseOptions(delimiter=separator, newlines_in_values=True),
        pacsv.ConvertOptions(column_types={"f0": pa.binary()}, include_columns=["f0"]),
    ):
        pass


def _uneven_rows(file: Path, separator: str) -> str | None:
    """Return how many rows are uneven, and the lines of the first ones; None if no row is."""
    with opened(file) as stream, _long_values():
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
        rows = csv.reader(text, delimiter=separator)
        columns = len(next(rows, []))
        found = ((rows.line_num, len(row)) for row in rows if row and len(row) != columns)
        first = list(islice(found, _SHOWN))
        rest = sum(1 for _ in found)
    if not first:
        return None
    if len(first) == 1:
        [(line, values)] = first
        return f"line {line:,} has {counted(values, 'value')} where the header has {columns}"
    listed = ", ".join(f"{line:,} ({counted(values, 'value')})" for line, values in first)
    more = f" and {rest:,} more" if rest else ""
    return (
        f"{len(first) + rest:,} rows have more or fewer values than the header, which has {columns}: those "
        f"of lines {listed}{more}"
    )


@contextmanager
def _long_values() -> Iterator[None]:
    """Let the reader of CSV take values of more than 128 KB."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)
