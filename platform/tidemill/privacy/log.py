"""The prediction log: finding the lines of one subject, and blanking them where they stand.

A segment may be open: its writer appends to it (`tidemill.serving.segments`). So a file is never replaced;
the bytes of a line become spaces, as many, which no append ever touches. Readers skip such lines.
"""

import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from tidemill.errors import DataError
from tidemill.privacy.subject import Subject

__all__ = ["LogLines", "blank_log", "count_in_text", "find_in_log", "mask_text"]

_ID = re.compile(rb'"prediction_id":"([^"\\]+)"')
_IN_ANY_TEXT = re.compile(r"[\d.+-]*|true|false|null|none|nan", re.IGNORECASE)
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
    ids, predictions, labels = set(), 0, 0
    for path in _segments(root, "predictions"):
        for _, line in _of_subject(path, subject):
            if before is None or _served_before(line, before):
                predictions += 1
                ids |= _ids(line)
    for path in _segments(root, "labels"):
        labels += sum(1 for _ in _labels_of(path, ids))
    return LogLines(predictions, labels, frozenset(ids))


def blank_log(root: Path, subject: Subject) -> LogLines:
    """Blank the predictions made for a subject, and their labels; return what that was.

    The labels go first: as long as a prediction is there, its labels are found again, whenever we are killed.

    Raises:
        DataError: the log cannot be read or written.
    """
    found = find_in_log(root, subject)
    labels = sum(
        _blank(path, list(_labels_of(path, found.prediction_ids))) for path in _segments(root, "labels")
    )
    predictions = sum(
        _blank(path, list(_of_subject(path, subject))) for path in _segments(root, "predictions")
    )
    return LogLines(predictions, labels, found.prediction_ids)


def count_in_text(path: Path, subject: Subject) -> int:
    """Return how often a text file, such as a server's log or a report, mentions one of the subject's values.

    Only values that are not numbers and have three characters or more count: others stand in any text.

    Raises:
        DataError: it cannot be read.
    """
    return len(_mentions(path, subject))


def mask_text(path: Path, subject: Subject) -> int:
    """Put asterisks, as many, over what `count_in_text` counts; return how often.

    A file that is being written to may be masked: its length does not change.

    Raises:
        DataError: it cannot be read or written.
    """
    found = _mentions(path, subject)
    with _Failing(path):
        if found:
            with path.open("r+b") as file:
                for start, length in found:
                    os.pwrite(file.fileno(), b"*" * length, start)
                os.fsync(file.fileno())
    return len(found)


def _mentions(path: Path, subject: Subject) -> list[tuple[int, int]]:
    values = [
        value for value in subject.values.values() if len(value) >= 3 and not _IN_ANY_TEXT.fullmatch(value)
    ]
    with _Failing(path):
        content = path.read_bytes()
    return [
        (match.start(), match.end() - match.start())
        for value in values
        for match in re.finditer(
            rb"(?<![A-Za-z0-9_])" + re.escape(value.encode()) + rb"(?![A-Za-z0-9_])", content
        )
    ]


def _segments(root: Path, kind: str) -> list[Path]:
    return sorted(root.glob(f"*/{kind}/date=*/*.ndjson"))


def _of_subject(path: Path, subject: Subject) -> Iterator[tuple[int, bytes]]:
    """Give offset and bytes of each line of a prediction for the subject; of a torn one, if it names it."""
    content = _read_whole(path)
    # A number may be written in another way than it was given; text stands there as it is, or as a pseudonym.
    numeric = any(_IN_ANY_TEXT.fullmatch(value) for value in subject.values.values())
    for start, line in _lines(content) if numeric else _lines_with(content, _escaped(subject)):
        record = _record(line)
        if record is None:
            if any(needle in line for needle in _escaped(subject)):
                yield start, line
        elif subject.within(record):
            yield start, line


def _served_before(line: bytes, moment: datetime) -> bool:
    record = _record(line)
    return record is None or datetime.fromisoformat(record["served_at"]) < moment


def _labels_of(path: Path, ids: frozenset[str] | set[str]) -> Iterator[tuple[int, bytes]]:
    if not ids:
        return
    wanted, content = {name.encode() for name in ids}, _read_whole(path)
    for match in _ID.finditer(content):
        if match[1] in wanted:
            start, end = content.rfind(b"\n", 0, match.start()) + 1, content.find(b"\n", match.end())
            yield start, content[start : end if end >= 0 else len(content)]


def _ids(line: bytes) -> set[str]:
    return {match.decode() for match in _ID.findall(line)[:1]}


def _escaped(subject: Subject) -> list[bytes]:
    first = next(iter(subject.values))
    return [orjson.dumps(text)[1:-1] for text in (subject.values[first], subject.pseudonyms[first])]


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
    with _Failing(path):
        for seconds in (*_WAITS, None):
            content = path.read_bytes()
            if seconds is None or not content or content.endswith((b"\n", b" ")):
                return content
            time.sleep(seconds)
    return content


def _blank(path: Path, lines: Sequence[tuple[int, bytes]]) -> int:
    if lines:
        with _Failing(path), path.open("r+b") as file:
            for start, line in lines:
                os.pwrite(file.fileno(), b" " * len(line), start)
            os.fsync(file.fileno())
    return len(lines)


class _Failing:
    """Translates what the file system raises."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            raise DataError(
                f"{self._path} cannot be erased from: {error.strerror or error}",
                hint="make it writable, then `tidemill data erase --resume`",
            ) from error
