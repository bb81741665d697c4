"""The prediction log: finding the lines of one subject, and blanking them where they stand.

A segment may be open: its writer appends to it (`segments`). So a file is never replaced;
the bytes of a line become spaces, as many, which no append ever touches. Readers skip such lines. Compacted
parts, which nobody appends to, are written anew without the subject's rows.
"""

import os
import re
import time
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from tidemill.errors import DataError, ServingError
from tidemill.prediction_log.search.part_filter import labels_of, predictions_of
from tidemill.prediction_log.storage.manifests import Kind, Partition, consistently, partitions
from tidemill.prediction_log.upkeep.maintenance_lock import maintaining
from tidemill.prediction_log.upkeep.rewriting import clear_log, drop_rows
from tidemill.privacy.stores.texts import first_needles, json_needles
from tidemill.privacy.subject import Subject

__all__ = ["LogLines", "blank_log", "find_in_log"]

_KINDS: tuple[Kind, ...] = ("predictions", "labels")
_EVER = (date.min, date.max)
_PATIENCE = 600.0  # seconds that an erasure waits for a compaction to end
_ID = re.compile(rb'"prediction_id":"([^"\\]+)"')
_WAITS = (0.02, 0.05, 0.1, 0.3)  # seconds: how long an append that is under way can take to end its line


@dataclass(frozen=True)
class LogLines:
    """What the log has of a subject."""

    predictions: int
    labels: int
    prediction_ids: frozenset[str]


def find_in_log(root: Path, subject: Subject, before: datetime | None = None) -> LogLines:
    """Count the predictions made for a subject, and their labels, of all models below ``root``.

    Args:
        root: the folder of the log, ``project.predictions``.
        subject: who.
        before: what was served later does not count.

    Raises:
        DataError: the log cannot be read.
    """
    with _translated():
        found = [_find(root, model, subject, before) for model in _models(root)]
    return _summed(found)


def blank_log(root: Path, subject: Subject) -> LogLines:
    """Blank the predictions made for a subject, and their labels; return what that was.

    The labels go first: as long as a prediction is there, its labels are found again, whenever we are killed.
    Parts that hold one of them are written anew. Compactions wait meanwhile, and we for them.

    Raises:
        DataError: the log cannot be read or written.
    """
    with _translated():
        return _summed([_blank_model(root, model, subject) for model in _models(root)])


def _find(root: Path, model: str, subject: Subject, before: datetime | None) -> LogLines:
    ids = set[str]()

    def predictions(found: Sequence[Partition]) -> int:
        count = 0
        for path in _segments(found):
            for _, line in _of_subject(path, subject):
                if before is None or _served_before(line, before):
                    count += 1
                    ids.update(_ids(line))
        for scan in _scans(found):
            rows = predictions_of(scan, subject, before).filter("found")
            ids.update(rows["prediction_id"])
            count += rows.height
        return count

    def labels(found: Sequence[Partition]) -> int:
        lines = sum(1 for path in _segments(found) for _ in _labels_of(path, subject, ids))
        return lines + sum(int(labels_of(scan, subject, ids).sum()) for scan in _scans(found))

    counted = consistently(root, model, "predictions", _EVER, predictions)
    return LogLines(counted, consistently(root, model, "labels", _EVER, labels), frozenset(ids))


def _blank_model(root: Path, model: str, subject: Subject) -> LogLines:
    with maintaining(root, model, wait_seconds=_PATIENCE):
        for kind in _KINDS:
            clear_log(root, model, kind)
        found = _find(root, model, subject, None)
        ids = found.prediction_ids
        labels = sum(
            _blank(path, list(_labels_of(path, subject, ids)))
            for path in _segments(partitions(root, model, "labels", *_EVER))
        )
        labels += drop_rows(root, model, "labels", lambda scan: labels_of(scan, subject, ids))
        predictions = sum(
            _blank(path, list(_of_subject(path, subject)))
            for path in _segments(partitions(root, model, "predictions", *_EVER))
        )
        predictions += drop_rows(
            root, model, "predictions", lambda scan: predictions_of(scan, subject)["found"]
        )
    return LogLines(predictions, labels, ids)


def _summed(found: Sequence[LogLines]) -> LogLines:
    ids = frozenset[str]().union(*(each.prediction_ids for each in found))
    return LogLines(sum(each.predictions for each in found), sum(each.labels for each in found), ids)


def _models(root: Path) -> list[str]:
    return sorted({path.parent.name for kind in _KINDS for path in root.glob(f"*/{kind}")})


def _segments(found: Sequence[Partition]) -> list[Path]:
    return [path for partition in found for path in partition.segments]


def _scans(found: Sequence[Partition]) -> Iterator[pl.LazyFrame]:
    return (located.scan() for partition in found for located in partition.parts)


def _of_subject(path: Path, subject: Subject) -> Iterator[tuple[int, bytes]]:
    """Give offset and bytes of each line of a prediction for the subject; of a torn one, if it names it."""
    content = _read_whole(path)
    # A number may be written in another way than it was given; text stands there as it is, or as a pseudonym.
    needles = json_needles(subject)
    for start, line in _lines(content) if needles is None else _lines_with(content, needles):
        record = _record(line)
        if record is None:
            if any(needle in line for needle in first_needles(subject)):
                yield start, line
        elif subject.within(record):
            yield start, line


def _served_before(line: bytes, moment: datetime) -> bool:
    record = _record(line)
    return record is None or datetime.fromisoformat(record["served_at"]) < moment


def _labels_of(path: Path, subject: Subject, ids: Set[str]) -> Iterator[tuple[int, bytes]]:
    """Give offset and bytes of each line of a label of ``ids``, or by keys that name the subject."""
    wanted, content = {name.encode() for name in ids}, _read_whole(path)
    for match in _ID.finditer(content) if wanted else ():
        if match[1] in wanted:
            start, end = content.rfind(b"\n", 0, match.start()) + 1, content.find(b"\n", match.end())
            yield start, content[start : end if end >= 0 else len(content)]
    yield from ((start, line) for start, line in _of_subject(path, subject) if not _ids(line) & ids)


def _ids(line: bytes) -> set[str]:
    return {match.decode() for match in _ID.findall(line)[:1]}


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None


def _lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Give offset and bytes of each line that is not blank."""
    start = 0
    while start < len(content):
        end = content.find(b"\n", start)
        line = content[start : end if end >= 0 else len(content)]
        if line.strip():
            yield start, line
        start += len(line) + 1


def _lines_with(content: bytes, needles: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """Give offset and bytes of each line that holds one of ``needles``, once."""
    for number, needle in enumerate(needles):
        place = content.find(needle)
        while place >= 0:
            start, end = content.rfind(b"\n", 0, place) + 1, content.find(b"\n", place)
            end = len(content) if end < 0 else end
            line = content[start:end]
            if not any(other in line for other in needles[:number]):
                yield start, line
            place = content.find(needle, end)


def _read_whole(path: Path) -> bytes:
    """Return the content; a last line without an end is waited for: it may be under way, else it is torn."""
    for seconds in (*_WAITS, None):
        content = path.read_bytes()
        if seconds is None or not content or content.endswith((b"\n", b" ")):
            break
        time.sleep(seconds)
    return content


def _blank(path: Path, lines: Sequence[tuple[int, bytes]]) -> int:
    if lines:
        with path.open("r+b") as file:
            for start, line in lines:
                os.pwrite(file.fileno(), b" " * len(line), start)
            os.fsync(file.fileno())
    return len(lines)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (ServingError, OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"the prediction log cannot be erased from: {error}", hint="then `tidemill data erase --resume`"
        ) from error
