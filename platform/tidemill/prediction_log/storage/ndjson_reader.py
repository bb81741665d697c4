"""Read segments of JSON lines, skipping torn and blanked lines."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import orjson
import polars as pl

__all__ = ["ParsedLines", "is_object", "parse_lines", "read_lines"]

_log = logging.getLogger(__name__)


class ParsedLines(NamedTuple):
    """The lines that were read."""

    frame: pl.DataFrame
    torn: int
    """Lines that a crash left incomplete, skipped."""


def read_lines(paths: Iterable[Path], columns: Mapping[str, pl.DataType]) -> ParsedLines:
    """Read whole segments.

    Args:
        paths: their files.
        columns: types of the columns that every line has. Nested values of a ``String`` column stay JSON.
            Columns that are not named get the type that fits all their values. A segment written before
            there was such a column has null there.

    Returns:
        All whole lines, in no particular order; with no line, a frame with ``columns`` only.

    Raises:
        FileNotFoundError: a segment was deleted.
    """
    frames, torn = [pl.DataFrame(schema=columns)], 0
    for path in paths:
        lines = parse_lines(path.read_bytes(), columns)
        if lines.torn:
            _log.warning("%s: %d lines left incomplete by a crash were skipped", path, lines.torn)
        torn += lines.torn
        if lines.frame.height:
            frames.append(lines.frame)
    return ParsedLines(pl.concat(frames, how="diagonal_relaxed"), torn)


def parse_lines(content: bytes, columns: Mapping[str, pl.DataType]) -> ParsedLines:
    """Parse the lines of one segment, or a part of them; a last one without an end counts as torn."""
    whole, newline, tail = content.rpartition(b"\n")
    torn = int(bool(tail.strip()))
    if (
        b" \n" in content
    ):  # lines of an erased subject, blanked where they stood (`tidemill.prediction_log.search.blanking`)
        whole = b"\n".join(line for line in whole.split(b"\n") if line.strip())
    try:
        frame = _parse(whole + newline, columns)
    except pl.exceptions.PolarsError:  # a power failure can leave holes before the end as well
        sound = [line for line in whole.split(b"\n") if is_object(line)]
        torn += whole.count(b"\n") + 1 - len(sound)
        try:
            frame = _parse(b"\n".join(sound), columns)
        except pl.exceptions.PolarsError:  # a value of another type than its column's, or than others nested
            flat = (_with_texts(_with_whole_numbers(line, columns), columns) for line in sound)
            frame = _parse(b"\n".join(flat), columns)
    return ParsedLines(frame, torn)


def _parse(lines: bytes, columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    if not lines.strip():
        return pl.DataFrame(schema=columns)
    if b"\\" in lines:
        lines = b"\n".join(
            _with_texts(line, columns) if b"\\" in line else line for line in lines.split(b"\n")
        )
    present = _columns_of_first(lines)  # the writer of a segment gives all its lines the same ones
    frame = pl.read_ndjson(
        lines,
        schema_overrides={name: dtype for name, dtype in columns.items() if name in present},
        infer_schema_length=None,
    )
    return frame.with_columns(
        pl.lit(None, dtype).alias(name) for name, dtype in columns.items() if name not in present
    )


def _with_texts(line: bytes, columns: Mapping[str, pl.DataType]) -> bytes:
    """Return a line with JSON text in place of nested values in text columns.

    Polars converts those to text too, but drops JSON's backslash escapes, which makes invalid JSON: tabs
    in strings, and quotes in names.
    """
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return line
    for name, value in record.items() if isinstance(record, dict) else ():
        if isinstance(value, dict | list) and columns.get(name) == pl.String:
            record[name] = orjson.dumps(value).decode()
    return orjson.dumps(record)


def _with_whole_numbers(line: bytes, columns: Mapping[str, pl.DataType]) -> bytes:
    """Return a line with null for values other than whole numbers in integer columns."""
    record = orjson.loads(line)
    for name, value in record.items():
        if columns.get(name) == pl.Int64:
            try:
                whole = int(value)
            except (TypeError, ValueError, OverflowError):
                record[name] = None
            else:
                record[name] = whole if whole == float(value) else None
    return orjson.dumps(record)


def _columns_of_first(lines: bytes) -> frozenset[str]:
    start = 0
    while start < len(lines):
        end = lines.find(b"\n", start)
        line = lines[start : end if end >= 0 else len(lines)]
        if is_object(line):
            return frozenset(orjson.loads(line))
        start += len(line) + 1
    return frozenset()


def is_object(line: bytes) -> bool:
    """Return whether a line is a whole record."""
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False
