"""Write the prediction log cheaply and without blocking requests, with these durability guarantees.

When `PredictionLog.append` has returned true:

- the replica is killed (SIGKILL, out of memory) or the machine's user space dies: nothing is lost. The lines
  are in the kernel's page cache, which outlives the process.
- power failure or kernel crash, ``sync_seconds=0``: nothing is lost, as far as the disk keeps what it
  acknowledged. The data is flushed with fdatasync, a new segment's name by an fsync of its folders, before
  `append` returns; threads that wait together share one flush.
- power failure or kernel crash, ``sync_seconds=s``: a thread flushes what was written before it began,
  at the latest s seconds after its last flush ended. So what was answered in the last s seconds, and while at
  most two flushes lasted, can be lost.

When it has returned false: the disk is full or broken. The lines wait in memory, up to
``backlog_bytes``, and are written in their order as soon as the disk takes them again; until then a kill
loses them. Lines that do not fit are lost and counted. `PredictionLog.health` reports this. With
``sync_seconds=0``, false also stands for a flush that failed: the lines are in the page cache, and whether
they reach the disk is not known.

Not guaranteed: a record may be there although its answer never reached the caller (killed in between).
A crash can tear the last line of a segment. Readers skip it and count it; as a writer never continues
another's segment, nor writes after a torn line of its own that it could not remove, no later record is ever
appended to a torn one.
"""

import logging
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tidemill.errors import ServingError
from tidemill.plurals import agreeing, counted
from tidemill.prediction_log.log_records import LabelRecord, LogHealth, PredictionRecord
from tidemill.prediction_log.storage.segments import SegmentLimits, SegmentPosition, SegmentWriter
from tidemill.prediction_log.writing.log_lines import Piece, pieces_of, valid_labels
from tidemill.project import Project
from tidemill.threads import BackgroundThread

__all__ = ["LogHealth", "PredictionLog", "open_log"]

_RETRY = 1.0  # seconds between two tries to write to a disk that refuses
_TIDY = 60.0  # seconds between two checks for idle segments
_log = logging.getLogger(__name__)


class PredictionLog:
    """One writer of the log of one model; threads may share it.

    Args:
        root: the folder of the log, ``project.predictions``.
        model: name of the registered model.
        sync_seconds: how often a thread flushes to the disk itself; 0: `append` waits for it.
        backlog_bytes: how much may wait in memory while the disk takes nothing.
        rolling: when a segment is ended, so that it can be compacted.

    >>> import tempfile
    >>> noon = datetime(2013, 4, 1, 12, tzinfo=UTC)
    >>> log = PredictionLog(Path(tempfile.mkdtemp()), "flight-delay")
    >>> log.append([PredictionRecord("pred_1", "flight-delay", "3", noon, noon, "r1", {"carrier": "UA"},
    ...                              {"wind": 8.0}, 0.25, {"risk": "low"})])
    True
    >>> log.append_labels([LabelRecord("pred_1", 1, noon, noon)])
    >>> log.health().ok
    True
    >>> log.close()
    """

    def __init__(
        self,
        root: Path,
        model: str,
        sync_seconds: float = 0.5,
        backlog_bytes: int = 64 << 20,
        rolling: SegmentLimits | None = None,
    ) -> None:
        self.root = root
        self.model = model
        self.sync_seconds = sync_seconds
        self._limit = backlog_bytes
        rolling = rolling or SegmentLimits()
        self._predictions = SegmentWriter(root / model / "predictions", rolling)
        self._labels = SegmentWriter(root / model / "labels", rolling)
        self._backlog: deque[Piece] = deque()
        self._health = LogHealth()
        self._lock = threading.Lock()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._tended = False
        weakref.finalize(self, _shut, self._wake, self._stop, (self._predictions, self._labels))

    @property
    def waits(self) -> bool:
        """Whether `append` waits for the disk itself, and so must not be called on an event loop."""
        return self.sync_seconds == 0

    def append(self, records: Sequence[PredictionRecord]) -> bool:
        """Write predictions, one ``write`` a date; the module's docstring has the guarantees.

        Returns:
            Whether they are on disk. If not, the answers should carry the flag ``fallback:log``.

        Raises:
            TypeError: a record cannot be written as JSON. Nothing is written then.
        """
        pieces = pieces_of(records)
        with self._lock:
            marks = self._write(pieces)
        self._tend_to_it()
        return marks is not None and (not self.waits or self._flush(marks))

    def append_labels(self, records: Sequence[LabelRecord]) -> None:
        """Write labels, with the guarantees of `append`, except that none wait in memory: callers can retry.

        Raises:
            DataError: a label is neither 0 nor 1. None is written then.
            ServingError: the disk is full or broken. Some of the labels may be in the log.
        """
        records = valid_labels(records)
        try:
            marks = [self._labels.write(piece.day, piece.lines) for piece in pieces_of(records)]
            for mark in marks if self.waits else ():
                mark.flush()
        except OSError as error:
            raise ServingError(
                f"the labels cannot be written: {self._labels.root}: {error.strerror or error}",
                hint="free space there, then send them again",
            ) from error
        self._tend_to_it()

    def health(self) -> LogHealth:
        """Report whether predictions reach the disk, and how many wait or are lost."""
        return self._health

    def close(self) -> None:
        """Write the waiting lines, flush and close the files; a later append begins new ones."""
        with self._lock:
            self._drain()
            if self._backlog:
                lost = sum(piece.records for piece in self._backlog)
                are = agreeing(lost, "is", "are")
                _log.error(
                    "%s: %s could not be written and %s lost", self.root, counted(lost, "prediction"), are
                )
                self._backlog.clear()
                self._health = replace(
                    self._health, waiting=0, waiting_bytes=0, lost=self._health.lost + lost
                )
        for writer in (self._predictions, self._labels):
            try:
                writer.close()
            except OSError as error:
                _log.error("%s cannot be flushed: %s", writer.root, error.strerror or error)

    def _write(self, pieces: Sequence[Piece]) -> list[SegmentPosition] | None:
        """Write the lines, or queue them in memory behind waiting ones; return None if any were queued."""
        marks: list[SegmentPosition] = []
        for number, piece in enumerate(pieces):
            if not self._backlog:
                try:
                    marks.append(self._predictions.write(piece.day, piece.lines))
                    continue
                except OSError as error:
                    self._failed(error)
            self._keep(pieces[number:])
            return None
        return marks

    def _keep(self, pieces: Sequence[Piece]) -> None:
        health = self._health
        waiting, size, lost = health.waiting, health.waiting_bytes, health.lost
        for piece in pieces:
            if size + len(piece.lines) > self._limit:
                lost += piece.records
                continue
            self._backlog.append(piece)
            waiting, size = waiting + piece.records, size + len(piece.lines)
        self._health = replace(health, waiting=waiting, waiting_bytes=size, lost=lost)

    def _drain(self) -> None:
        while self._backlog:
            piece = self._backlog[0]
            try:
                self._predictions.write(piece.day, piece.lines)
            except OSError as error:
                self._failed(error)
                return
            self._backlog.popleft()
            health = self._health
            self._health = replace(
                health,
                waiting=health.waiting - piece.records,
                waiting_bytes=health.waiting_bytes - len(piece.lines),
            )

    def _flush(self, marks: Sequence[SegmentPosition]) -> bool:
        try:
            for mark in marks:
                mark.flush()
        except OSError as error:
            with self._lock:
                self._failed(error)
            return False
        return True

    def _failed(self, error: OSError) -> None:
        text = f"{self._predictions.root}: {error.strerror or error}"
        if self._health.error is None:
            _log.error("predictions cannot be written and wait in memory: %s", text)
            self._health = replace(self._health, error=text, since=datetime.now(UTC))

    def _tend_to_it(self) -> None:
        if not self._tended:
            self._begin()
        if not self._wake.is_set():
            self._wake.set()

    def _begin(self) -> None:
        with self._lock:
            if not self._tended:
                pause = self.sync_seconds or _RETRY
                arguments = (weakref.ref(self), self._wake, self._stop, pause)
                BackgroundThread("prediction-log", partial(_tend, *arguments), stopping=self._stop).start()
                self._tended = True

    def _look_after(self) -> bool:
        """Flush, and write the waiting lines; return whether to run again without being woken."""
        failure: OSError | None = None
        for writer in (self._predictions, self._labels):
            try:
                writer.tidy() if self.waits else writer.flush()
            except OSError as error:
                failure = error
        with self._lock:
            if failure is not None:
                self._failed(failure)
            self._drain()
            if self.waits and self._health.error is not None:  # lines that waited must be on the disk as well
                try:
                    self._predictions.flush()
                except OSError as error:
                    failure = error
            if failure is None and not self._backlog and self._health.error is not None:
                _log.warning("predictions are written again; %d were lost", self._health.lost)
                self._health = LogHealth(lost=self._health.lost)
            return self._health.error is not None


def open_log(project: Project) -> PredictionLog:
    """Return a writer of a project's log, configured by its ``serve.log``."""
    log = project.config.serve.log
    return PredictionLog(project.predictions, project.model, log.sync_seconds)


def _tend(
    reference: "weakref.ref[PredictionLog]", wake: threading.Event, stop: threading.Event, pause: float
) -> None:
    again = False
    while not stop.is_set():
        if not again:
            wake.wait(_TIDY)
            wake.clear()
        log = reference()
        if log is None:
            return
        try:
            again = log._look_after()
        except Exception:  # noqa: BLE001 - a thread that ends would leave predictions in memory
            _log.exception("the prediction log's housekeeping failed; it is tried again")
            again = True
        del log
        stop.wait(max(pause, _RETRY) if again else pause)


def _shut(wake: threading.Event, stop: threading.Event, writers: Sequence[SegmentWriter]) -> None:
    stop.set()
    wake.set()
    for writer in writers:
        try:
            writer.close()
        except OSError:  # no caller can handle it, and the other segments must be closed too
            _log.exception("the last lines of the prediction log may not be on the disk")
