"""Reads the rows of files that people export of runs: CSV, a list in JSON, or a line of JSON for each row."""

import csv
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from tidemill.errors import DataError
from tidemill.training.tracking.foreign_runs.foreign_run import milliseconds, step_number

__all__ = ["Export", "Row", "columns_in", "exported_files", "number_in", "read_export"]

_SUFFIXES = (".csv", ".json", ".jsonl")
_BEGINNING = 65_536
"""Bytes by which a file is known."""


class Row(NamedTuple):
    """One row of a file, without its empty cells."""

    place: str
    """``line 3`` of CSV and of lines of JSON, ``entry 3`` of a list."""
    values: Mapping[str, Any]
    """Texts, of CSV."""


@dataclass(frozen=True)
class Export:
    """The rows of an exported file."""

    file: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    sha256: str

    def refused(self, row: Row, column: str, why: str, hint: str | None = None) -> DataError:
        """Return the error of a cell."""
        return DataError(
            f"{self.file}, {row.place}, column {column!r}: {why}", hint=hint or "mend it, or export it again"
        )

    def number(self, row: Row, column: str) -> float | None:
        """Return the number of a cell; None if it is empty, or NaN.

        Raises:
            DataError: it has something else.
        """
        given = row.values.get(column)
        found = number_in(given)
        if found is None and given is not None:
            raise self.refused(row, column, f"{str(given)[:80]!r} is no number")
        return None if found is None or math.isnan(found) else found

    def step(self, row: Row, column: str) -> int:
        """Return the step that a cell has.

        Raises:
            DataError: it has none.
        """
        found = self.number(row, column)
        if found is None or not found.is_integer():
            given = str(row.values.get(column, ""))[:80]
            hint = "export it again with the step as x axis"
            raise self.refused(row, column, f"{given!r} is not the number of a step", hint)
        try:
            return step_number(found)
        except ValueError as error:
            raise self.refused(row, column, str(error)) from error

    def moment(self, row: Row, column: str, unit: float = 1.0) -> int:
        """Return the moment of a cell in milliseconds since 1970; 0 if it has none.

        Args:
            row: where.
            column: where.
            unit: seconds that the cell counts in.
        """
        found = self.number(row, column)
        try:
            return 0 if found is None else milliseconds(found * unit)
        except ValueError as error:
            raise self.refused(row, column, str(error)) from error


def number_in(given: Any) -> float | None:
    """Return a number, or the number that a text is; None if it is none.

    >>> number_in("0.5"), number_in(3), number_in("abc"), number_in(True), number_in("1_000")
    (0.5, 3.0, None, None, None)
    """
    if isinstance(given, bool) or not isinstance(given, int | float | str) or "_" in str(given):
        return None
    try:
        return float(given)
    except (ValueError, OverflowError):
        return None


def exported_files(folder: Path) -> list[Path]:
    """Return the files below a folder that may be exported runs, by their endings."""
    return sorted(each for each in folder.rglob("*") if each.suffix.lower() in _SUFFIXES and each.is_file())


def columns_in(file: Path) -> tuple[str, ...]:
    """Return the columns of a file by its beginning; none if it has no rows that are read here.

    Raises:
        DataError: it cannot be opened.
    """
    try:
        with file.open("rb") as opened:
            beginning = opened.read(_BEGINNING).decode("utf-8-sig", errors="ignore").lstrip()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error}", hint="leave it out, or copy it again") from error
    try:
        if file.suffix.lower() == ".csv":
            return tuple(next(csv.reader(StringIO(beginning, newline="")), ()))
        if beginning.startswith("["):
            first, _ = json.JSONDecoder().raw_decode(beginning[1:].lstrip())
        else:
            first = json.loads(beginning.partition("\n")[0])
    except (ValueError, csv.Error, RecursionError):  # some other file
        return ()
    return tuple(map(str, first)) if isinstance(first, Mapping) else ()


def read_export(file: Path) -> Export:
    """Return the rows of a file.

    Raises:
        DataError: it cannot be read; the message names the row.
    """
    try:
        content = file.read_bytes()
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}", hint="leave it out, or export it again") from error
    rows = tuple(_csv_rows(file, text) if file.suffix.lower() == ".csv" else _json_rows(file, text))
    columns = dict.fromkeys(name for row in rows for name in row.values)
    if file.suffix.lower() == ".csv":
        columns = dict.fromkeys(name for name in columns_in(file) if not _is_index(name))
    return Export(file, tuple(columns), rows, hashlib.sha256(content).hexdigest())


def _csv_rows(file: Path, text: str) -> Iterator[Row]:
    lines = csv.reader(StringIO(text, newline=""), strict=True)
    try:
        header = next(lines, [])
        twice = next((name for name in header if header.count(name) > 1), None)
        if twice is not None:
            raise DataError(
                f"{file} has the column {twice!r} twice",
                hint="give one of them another name in its first line",
            )
        for cells in lines:
            if cells and len(cells) != len(header):
                place = f"{file}, line {lines.line_num}"
                raise DataError(
                    f"{place}: {len(cells)} cells, but the first line has {len(header)}",
                    hint="mend it, or export it again",
                )
            given = zip(header, cells, strict=False)
            values = {name: cell for name, cell in given if cell.strip() and not _is_index(name)}
            yield Row(f"line {lines.line_num}", values)
    except csv.Error as error:
        raise DataError(
            f"{file}, line {lines.line_num}: {error}", hint="leave it out, or export it again"
        ) from error


def _is_index(name: str) -> bool:
    """Return whether a column only numbers the rows, as pandas writes it, and names it when it reads it."""
    return not name or name.startswith("Unnamed: ")


def _json_rows(file: Path, text: str) -> Iterator[Row]:
    whole = text.lstrip().startswith("[")
    lines = [text] if whole else text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            where = "" if whole else f", line {number}"
            raise DataError(
                f"{file}{where}: it is not JSON: {error}", hint="leave it out, or export it again"
            ) from error
        for entry, values in enumerate(found if whole else [found], 1):
            place = f"entry {entry}" if whole else f"line {number}"
            if not isinstance(values, Mapping):
                raise DataError(f"{file}, {place}: it has no fields", hint="leave it out, or export it again")
            yield Row(place, {name: value for name, value in values.items() if value is not None})
