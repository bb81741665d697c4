"""Erase the records that a filter matches, such as those of one person, by blanking them in place.

A segment may be open: its writer appends to it (`segments`). So a segment is never replaced;
a line is overwritten with equally many spaces, which appends do not touch. Readers skip such lines. Compacted
parts, which never grow, are rewritten without the rows.
"""

import os
import re
import time
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from tidemill.prediction_log.search.part_filter import labels_of, predictions_of
from tidemill.prediction_log.search.record_filter import RecordFilter, users_values
from tidemill.prediction_log.storage.log_schema import with_answer
from tidemill.prediction_log.storage.manifests import Kind, Partition, partitions, retry_after_compaction
from tidemill.prediction_log.upkeep.maintenance_lock import hold_maintenance_lock
from tidemill.prediction_log.upkeep.rewriting import clear_log, drop_rows

__all__ = ["LoggedRecords", "blank_records", "find_records"]

_KINDS: tuple[Kind, ...] = ("predictions", "labels")
_EVER = (date.min, date.max)
_PATIENCE = 600.0  # seconds that an erasure waits for a compaction to end
_ID = re.compile(rb'"prediction_id":"([^"\\]+)"')
_WAITS = (0.02, 0.05, 0.1, 0.3)  # seconds: how long an append that is under way can take to end its line


@dataclass(frozen=True)
class LoggedRecords:
    """The numbers of records that a filter matches."""

    predictions: int
    labels: int
    prediction_ids: frozenset[str]


def find_records(root: Path, wanted: RecordFilter, before: datetime | None = None) -> LoggedRecords:
    """Count the predictions that match, and the labels of these, of all models below ``root``.

    Args:
        root: the folder of the log, ``project.predictions``.
        wanted: the filter.
        before: predictions served later do not count.

    Raises:
        ServingError: the log cannot be read.
        OSError: likewise.
    """
    return _summed([_find(root, model, wanted, before) for model in _models(root)])


def blank_records(root: Path, wanted: RecordFilter) -> LoggedRecords:
    """Blank the predictions that match, and their labels; return the numbers.

    Labels are blanked first: after a kill, the remaining predictions lead to their labels again.
    Parts that hold one of them are rewritten. Compactions and erasures wait for each other.

    Raises:
        ServingError: the log cannot be read.
        OSError: it cannot be read or written.
    """
    return _summed([_blank_model(root, model, wanted) for model in _models(root)])


def _find(root: Path, model: str, wanted: RecordFilter, before: datetime | None) -> LoggedRecords:
    ids = set[str]()

    def predictions(found: Sequence[Partition]) -> int:
        count = 0
        for path in _segments(found):
            for _, line in _matching_lines(path, wanted):
                if before is None or _served_before(line, before):
                    count += 1
                    ids.update(_ids(line))
        for scan in _scans(found):
            rows = predictions_of(scan, wanted, before).filter("found")
            ids.update(rows["prediction_id"])
            count += rows.height
        return count

    def labels(found: Sequence[Partition]) -> int:
        lines = sum(1 for path in _segments(found) for _ in _labels_of(path, wanted, ids))
        return lines + sum(int(labels_of(scan, wanted, ids).sum()) for scan in _scans(found))

    counted = retry_after_compaction(root, model, "predictions", _EVER, predictions)
    return LoggedRecords(
        counted, retry_after_compaction(root, model, "labels", _EVER, labels), frozenset(ids)
    )


def _blank_model(root: Path, model: str, wanted: RecordFilter) -> LoggedRecords:
    with hold_maintenance_lock(root, model, wait_seconds=_PATIENCE):
        for kind in _KINDS:
            clear_log(root, model, kind)
        found = _find(root, model, wanted, None)
        ids = found.prediction_ids
        labels = sum(
            _blank(path, list(_labels_of(path, wanted, ids)))
            for path in _segments(partitions(root, model, "labels", *_EVER))
        )
        labels += drop_rows(root, model, "labels", lambda scan: labels_of(scan, wanted, ids))
        predictions = sum(
            _blank(path, list(_matching_lines(path, wanted)))
            for path in _segments(partitions(root, model, "predictions", *_EVER))
        )
        predictions += drop_rows(
            root, model, "predictions", lambda scan: predictions_of(scan, wanted)["found"]
        )
    return LoggedRecords(predictions, labels, ids)


def _summed(found: Sequence[LoggedRecords]) -> LoggedRecords:
    ids = frozenset[str]().union(*(each.prediction_ids for each in found))
    return LoggedRecords(sum(each.predictions for each in found), sum(each.labels for each in found), ids)


def _models(root: Path) -> list[str]:
    return sorted({path.parent.name for kind in _KINDS for path in root.glob(f"*/{kind}")})


def _segments(found: Sequence[Partition]) -> list[Path]:
    return [path for partition in found for path in partition.segments]


def _scans(found: Sequence[Partition]) -> Iterator[pl.LazyFrame]:
    return (located.scan() for partition in found for located in partition.parts)


def _matching_lines(path: Path, wanted: RecordFilter) -> Iterator[tuple[int, bytes]]:
    """Yield offset and bytes of each line that matches; a torn line does if it contains one of the texts."""
    content = _read_whole(path)
    needles = wanted.needles if wanted.literal else None
    for start, line in _lines(content) if needles is None else _lines_with(content, needles):
        record = _record(line)
        if record is None:
            if any(needle in line for needle in wanted.needles):
                yield start, line
        elif wanted.matches(users_values(record)):
            yield start, line


def _served_before(line: bytes, moment: datetime) -> bool:
    record = _record(line)
    return record is None or datetime.fromisoformat(record["served_at"]) < moment


def _labels_of(path: Path, wanted: RecordFilter, ids: Set[str]) -> Iterator[tuple[int, bytes]]:
    """Yield offset and bytes of each line of a label of ``ids``, or by keys that match."""
    labelled, content = {name.encode() for name in ids}, _read_whole(path)
    for match in _ID.finditer(content) if labelled else ():
        if match[1] in labelled:
            start, end = content.rfind(b"\n", 0, match.start()) + 1, content.find(b"\n", match.end())
            line = content[start : end if end >= 0 else len(content)]
            if _ids(line) & ids:
                yield start, line
    yield from ((start, line) for start, line in _matching_lines(path, wanted) if not _ids(line) & ids)


def _ids(line: bytes) -> set[str]:
    """Return the prediction's id, and not a ``prediction_id`` inside keys or the request."""
    record = _record(line)
    if record is not None:
        identifier = record.get("prediction_id")
        return {identifier} if isinstance(identifier, str) else set()
    return {match.decode() for match in _ID.findall(line)[:1]}


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return with_answer(record) if isinstance(record, dict) else None


def _lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield offset and bytes of each line that is not blank."""
    start = 0
    while start < len(content):
        end = content.find(b"\n", start)
        line = content[start : end if end >= 0 else len(content)]
        if line.strip():
            yield start, line
        start += len(line) + 1


def _lines_with(content: bytes, needles: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield offset and bytes of each line that holds one of ``needles``, once."""
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
    """Return the content; wait a while for the end of the last line, and take it for torn if none comes."""
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
