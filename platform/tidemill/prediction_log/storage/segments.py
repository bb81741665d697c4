"""Append-only segments of JSON lines, one a writer and date, that a crash cannot corrupt.

A segment belongs to the writer that began it: it holds an exclusive lock (``flock``) on the open file, which
the kernel releases when the process ends in any way. A process that gets that lock may delete the
segment.

The guarantees are in `tidemill.prediction_log.writing.log_writer`.
"""

import contextlib
import errno
import logging
import os
import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import NamedTuple

from tidemill.files.atomic import flush_folder
from tidemill.files.locks import close_locked, try_lock
from tidemill.ids import new_id

__all__ = ["SegmentLimits", "SegmentPosition", "SegmentWriter", "lock_ended_segment", "lock_segment"]

_MOST_ENDED = 64  # descriptors
_FULL = (errno.ENOSPC, errno.EDQUOT)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SegmentLimits:
    """Limits after which a segment is ended and the next one begun, so that it can be compacted."""

    bytes: int = 128 << 20
    age: float = 900.0
    """Seconds since it was begun."""
    idle: float = 300.0
    """Seconds without a write."""
    open: int = 8
    """Segments at once: a replay moves through dates, and the older ones are ended."""


class SegmentPosition(NamedTuple):
    """A position in a segment, up to which it was written."""

    segment: "_Segment"
    end: int

    def flush(self) -> None:
        """Flush the file up to this position to the disk; threads that wait together share one flush.

        Raises:
            OSError: it could not be flushed.
        """
        self.segment.flush(self.end)


@dataclass
class SegmentWriter:
    """One writer's segments below ``root``: ``date=YYYY-MM-DD/<writer>.ndjson``. Threads may share it."""

    root: Path
    rolling: SegmentLimits = SegmentLimits()
    _segments: "OrderedDict[date, _Segment]" = field(default_factory=OrderedDict, repr=False)
    _ended: "deque[_Segment]" = field(default_factory=deque, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _failure: OSError | None = field(default=None, repr=False)
    """Error of a segment that a write closed; the next `flush` raises it."""

    def write(self, day: date, lines: bytes) -> SegmentPosition:
        """Append whole lines with one write: they are in the kernel's page cache then.

        Raises:
            OSError: they could not be written. The segment is cut back, or, if that fails, never
                written to again.
        """
        with self._lock:
            segment = self._segment(day)
            try:
                end = segment.write(lines)
            except OSError as error:
                if error.errno not in _FULL or not segment.end:
                    self._end(day)
                raise
            if end >= self.rolling.bytes:
                self._end(day)
        if len(self._ended) > _MOST_ENDED:  # writes to many dates can outpace the flushing thread
            self._failure = self._close_ended(_MOST_ENDED) or self._failure
        return SegmentPosition(segment, end)

    def flush(self) -> None:
        """Flush everything to the disk itself, and close segments that are ended, old or idle.

        Raises:
            OSError: a segment could not be flushed; it is given up.
        """
        failure, self._failure = self._failure, None
        with self._lock:
            for day in [day for day, segment in self._segments.items() if self._is_over(segment)]:
                self._end(day)
            current = list(self._segments.items())
        for day, segment in current:
            try:
                segment.flush(segment.end)
            except OSError as error:
                failure = error
                with self._lock:
                    if self._segments.get(day) is segment:
                        self._end(day)
        failure = self._close_ended() or failure
        if failure is not None:
            raise failure

    def tidy(self) -> None:
        """Close segments that are ended, old or idle; raises the same errors as `flush`."""
        failure, self._failure = self._failure, None
        with self._lock:
            for day in [day for day, segment in self._segments.items() if self._is_over(segment)]:
                self._end(day)
        failure = self._close_ended() or failure
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Flush and end all segments; a later write begins new ones.

        Raises:
            OSError: one could not be flushed.
        """
        with self._lock:
            for day in list(self._segments):
                self._end(day)
        self.flush()

    def _is_over(self, segment: "_Segment") -> bool:
        now = time.monotonic()
        if segment.is_gone():
            _log.warning("%s was deleted while it was written to: what it held is lost", segment.path)
            return True
        return now - segment.begun > self.rolling.age or now - segment.written > self.rolling.idle

    def _segment(self, day: date) -> "_Segment":
        if day not in self._segments:
            self._segments[day] = _open(self.root / f"date={day.isoformat()}")
            if len(self._segments) > self.rolling.open:
                self._end(next(iter(self._segments)))
        self._segments.move_to_end(day)
        return self._segments[day]

    def _close_ended(self, most: int = 0) -> OSError | None:
        """Close segments until at most so many are ended and open; return why one could not be flushed."""
        failure = None
        while len(self._ended) > most:
            try:
                self._ended.popleft().close()
            except IndexError:  # another thread was faster
                break
            except OSError as error:
                failure = error
        return failure

    def _end(self, day: date) -> None:
        # Closing flushes, which is slow, so it is not done inside a write.
        self._ended.append(self._segments.pop(day))


class _Segment:
    def __init__(self, descriptor: int, path: Path, made: tuple[Path, ...]) -> None:
        self.path = path
        self.end = 0
        self.begun = self.written = time.monotonic()
        self._descriptor, self._process = descriptor, os.getpid()
        self._folders = made  # whose entries are not on the disk itself yet
        self._flushed = 0
        self._flushing = threading.Lock()
        self._closed = False

    def write(self, lines: bytes) -> int:
        written = os.write(self._descriptor, lines)
        if written != len(lines):  # the disk filled up during the write
            try:
                os.ftruncate(self._descriptor, self.end)
            except OSError as error:  # a torn line stays, so the segment must get no more lines
                raise OSError(errno.EIO, os.strerror(errno.EIO)) from error
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.end += written
        self.written = time.monotonic()
        return self.end

    def flush(self, end: int) -> None:
        # Threads that wait here together share one flush: the first one's covers what the others wrote.
        with self._flushing:
            if self._flushed >= end:
                return
            if self._closed:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            self._flush()

    def close(self) -> None:
        with self._flushing:
            if self._closed:
                return
            try:
                if self._flushed < self.end:
                    self._flush()
                elif not self.end:  # an empty segment
                    with contextlib.suppress(OSError):  # readers pass over an empty one
                        self.path.unlink()
            finally:
                self._closed = True
                close_locked(self._descriptor, self._process)

    def is_gone(self) -> bool:
        return not self._closed and os.fstat(self._descriptor).st_nlink == 0

    def _flush(self) -> None:
        covered = self.end
        os.fdatasync(self._descriptor)
        for folder in self._folders:
            flush_folder(folder)
        self._folders = ()
        self._flushed = covered


def lock_segment(descriptor: int) -> bool:
    """Lock the file and return whether that worked and the file still has its name."""
    return try_lock(descriptor) and os.fstat(descriptor).st_nlink > 0


def lock_ended_segment(path: Path, held: contextlib.ExitStack) -> bool:
    """Return whether a segment has no writer; if so, it stays locked while ``held`` is open."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    if not lock_segment(descriptor):
        os.close(descriptor)
        return False
    held.callback(close_locked, descriptor)
    return True


def _open(folder: Path) -> _Segment:
    # A new file with a unique name: no writer ever continues another's torn line.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    for _ in range(100):
        made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{new_id('w')}.ndjson"
        try:
            descriptor = os.open(path, flags, 0o644)
        except FileNotFoundError:  # the empty folder was deleted in between
            continue
        if lock_segment(descriptor):
            return _Segment(descriptor, path, tuple(dict.fromkeys([folder, *(new.parent for new in made)])))
        os.close(descriptor)
    raise OSError(
        errno.ENOLCK, f"no segment below {folder} could be locked; is it on a file system with locks?"
    )
