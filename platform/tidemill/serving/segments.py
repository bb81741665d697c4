"""Append-only segments of JSON lines, one a writer and date, that a crash cannot corrupt.

What that promises to whom is said in `tidemill.serving.predictions`.
"""

import contextlib
import errno
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import NamedTuple

import orjson
import polars as pl

from tidemill.ids import new_id

__all__ = ["Lines", "SegmentWriter", "read_segments"]

_OPEN_SEGMENTS = 8  # a replay moves through dates: the older ones are closed

_log = logging.getLogger(__name__)


class Lines(NamedTuple):
    """What was read."""

    frame: pl.DataFrame
    torn: int
    """Lines that a crash left incomplete, skipped."""


@dataclass
class SegmentWriter:
    """One writer's segments below ``root``: ``date=YYYY-MM-DD/<writer>.ndjson``. Threads may share it."""

    root: Path
    fsync: bool
    _segments: "OrderedDict[date, _Segment]" = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def append(self, day: date, lines: bytes) -> None:
        """Append whole lines with one write, and flush them if ``fsync``.

        Raises:
            OSError: they could not be written, or not be flushed. The segment is given up: the next append
                begins a new one.
        """
        try:
            with self._lock:
                segment = self._segment(day)
                end = segment.write(lines)
            if self.fsync:
                segment.flush(end)
        except OSError:
            with self._lock:
                given_up = self._segments.pop(day, None)
            if given_up is not None:
                given_up.close()
            raise

    def close(self) -> None:
        """Close the segments; a later append begins new ones."""
        with self._lock:
            while self._segments:
                self._segments.popitem()[1].close()

    def _segment(self, day: date) -> "_Segment":
        if day not in self._segments:
            self._segments[day] = _open(self.root / f"date={day.isoformat()}", self.fsync)
            if len(self._segments) > _OPEN_SEGMENTS:
                self._segments.popitem(last=False)[1].close()
        self._segments.move_to_end(day)
        return self._segments[day]


class _Segment:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._end = 0
        self._flushed = 0
        self._flushing = threading.Lock()
        self._closed = False

    def write(self, lines: bytes) -> int:
        written = os.write(self._descriptor, lines)
        if written != len(lines):  # the disk filled up in mid-write
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._end += written
        return self._end

    def flush(self, end: int) -> None:
        # Threads that wait here together share one flush: the first one's covers what the others wrote.
        with self._flushing:
            if self._flushed >= end:
                return
            if self._closed:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            covered = self._end
            os.fdatasync(self._descriptor)
            self._flushed = covered

    def close(self) -> None:
        with self._flushing:
            if self._closed:
                return
            self._closed = True
            with contextlib.suppress(OSError):
                os.fdatasync(self._descriptor)
                self._flushed = self._end
            os.close(self._descriptor)


def _open(folder: Path, fsync: bool) -> _Segment:
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    # Exclusive and with a name of its own: nobody ever writes after another's torn line.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(folder / f"{new_id('w')}.ndjson", flags, 0o644)
    if fsync:
        for parent in dict.fromkeys([folder, *(new.parent for new in made)]):
            _fsync_folder(parent)
    return _Segment(descriptor)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_segments(root: Path, first: date, last: date, columns: Mapping[str, pl.DataType]) -> Lines:
    """Read the segments of the dates from ``first`` to ``last``, both included.

    Args:
        root: the folder with the ``date=…`` folders; it need not exist.
        first: the first date.
        last: the last date.
        columns: types of the columns that every line has. Nested values of a ``String`` column stay JSON.
            Columns that are not named get the type that fits all their values. A segment written before
            there was such a column has null there.

    Returns:
        All whole lines, in no particular order; with no line, a frame with ``columns`` only.
    """
    frames, torn = [pl.DataFrame(schema=columns)], 0
    for folder in sorted(root.glob("date=*")):
        if not first.isoformat() <= folder.name.removeprefix("date=") <= last.isoformat():
            continue
        for path in sorted(folder.glob("*.ndjson")):
            lines = _read(path, columns)
            torn += lines.torn
            if lines.frame.height:
                frames.append(lines.frame)
    return Lines(pl.concat(frames, how="diagonal_relaxed"), torn)


def _read(path: Path, columns: Mapping[str, pl.DataType]) -> Lines:
    content = path.read_bytes()
    whole, newline, tail = content.rpartition(b"\n")
    torn = int(bool(tail.strip()))
    if b" \n" in content:  # lines of an erased subject, blanked where they stood (`tidemill.privacy.log`)
        whole = b"\n".join(line for line in whole.split(b"\n") if line.strip())
    try:
        frame = _parse(whole + newline, columns)
    except pl.exceptions.PolarsError:  # a power failure can leave holes before the end as well
        sound = [line for line in whole.split(b"\n") if _is_object(line)]
        torn += whole.count(b"\n") + 1 - len(sound)
        frame = _parse(b"\n".join(sound), columns)
    if torn:
        _log.warning("%s: %d lines left incomplete by a crash were skipped", path, torn)
    return Lines(frame, torn)


def _parse(lines: bytes, columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    if not lines.strip():
        return pl.DataFrame(schema=columns)
    present = _columns_of_first(lines)  # the writer of a segment gives all its lines the same ones
    frame = pl.read_ndjson(
        lines,
        schema_overrides={name: dtype for name, dtype in columns.items() if name in present},
        infer_schema_length=None,
    )
    return frame.with_columns(
        pl.lit(None, dtype).alias(name) for name, dtype in columns.items() if name not in present
    )


def _columns_of_first(lines: bytes) -> frozenset[str]:
    start = 0
    while start < len(lines):
        end = lines.find(b"\n", start)
        line = lines[start : end if end >= 0 else len(lines)]
        if _is_object(line):
            return frozenset(orjson.loads(line))
        start += len(line) + 1
    return frozenset()


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False
