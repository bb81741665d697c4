"""Find single records in the prediction log without loading it.

An id holds the wall-clock time at which it was made, and so does the name of each segment; the folders go by
event time, which differs in a replay. So a prediction can only be in a segment that was begun before
it and written to after it. Within a segment ids are ordered by time, except for concurrent threads: a
bisection finds the place. Records that break these rules (clocks that were set, rewritten segments) are
still found, by reading everything, which also shows that an id is absent. Compacted records are found in
parts, whose least and greatest ids are known.
"""

import contextlib
import heapq
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeVar

import orjson

from tidemill.clock import utc
from tidemill.errors import DataError, ServingError
from tidemill.prediction_log.labels.label_matching import key_values
from tidemill.prediction_log.search.part_search import labels_by_keys, labels_of, latest_of, record_of
from tidemill.prediction_log.storage.log_schema import with_answer
from tidemill.prediction_log.storage.manifests import Kind, Partition, retry_after_compaction

__all__ = ["find_labels", "find_prediction", "in_log", "latest", "lines_of", "made_at", "segments_of"]

T = TypeVar("T")
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # as in tidemill.ids
_CHUNK = 8 << 20
_SLACK = 60_000  # milliseconds between an id's making and its being written
_WINDOW = 1 << 20  # bytes; a bisection ends with this much


def made_at(identifier: str) -> int | None:
    """Return the milliseconds since 1970 in an id of Tidemill's; None for any other id.

    >>> from tidemill.ids import new_id
    >>> made_at(new_id("pred")) > made_at("pred_01hzzzzzzz0000000000000000")
    True
    >>> made_at("pred_1") is None
    True
    """
    coded = identifier.rpartition("_")[2]
    if len(coded) != 26 or any(letter not in _ALPHABET for letter in coded):
        return None
    value = 0
    for letter in coded[:10]:
        value = value << 5 | _ALPHABET.index(letter)
    return value


def find_prediction(root: Path, model: str, identifier: str) -> dict[str, Any] | None:
    """Return the record of a prediction as it was written, or None if the log does not hold it.

    Raises:
        DataError: a segment cannot be read.
    """
    return in_log(root, model, "predictions", lambda found: _find_prediction(found, identifier))


def _find_prediction(found: Sequence[Partition], identifier: str) -> dict[str, Any] | None:
    return _find_in_segments(segments_of(found), identifier) or record_of(found, identifier)


def _find_in_segments(paths: Sequence[Path], identifier: str) -> dict[str, Any] | None:
    needle = b'"prediction_id":' + orjson.dumps(identifier)
    segments = [(path, *_span(path)) for path in paths]
    moment = made_at(identifier)
    if moment is None:
        return _first(identifier, (_search(path, needle) for path, _, _ in segments))
    likely = [each for each in segments if each[1] - _SLACK <= moment <= each[2] + _SLACK]
    likely.sort(key=lambda each: each[1], reverse=True)  # a prediction is in the segment that was just begun
    found = _first(identifier, (_search_near(path, needle, moment) for path, _, _ in likely))
    return found or _first(identifier, (_search(path, needle) for path, _, _ in segments))


def find_labels(root: Path, model: str, identifier: str) -> list[dict[str, Any]]:
    """Return the labels of a prediction, given by id or by keys and moment; the last one counts.

    Raises:
        DataError: a segment cannot be read.
    """
    needle = b'"prediction_id":' + orjson.dumps(identifier)
    moment = made_at(identifier) or 0

    def search(found: Sequence[Partition]) -> list[dict[str, Any]]:
        likely = [path for path in segments_of(found) if _span(path)[1] + _SLACK >= moment]
        waiting = _with_id(identifier, (label for path in likely for label in _search(path, needle)))
        return [*waiting, *labels_of(found, identifier)]

    labels = in_log(root, model, "labels", search) + _by_keys(root, model, identifier)
    return sorted(labels, key=_order)


def _order(label: Mapping[str, Any]) -> tuple[object, ...]:
    """Return a key by which the label that counts comes last, by rule 3 of `label_matching`."""
    values = (label["label"], label.get("target"))
    moments = (_moment(label["at"]), _moment(label["received_at"]))
    return *moments, *("" if value is None else str(value) for value in values)


def _by_keys(root: Path, model: str, identifier: str) -> list[dict[str, Any]]:
    def search(found: Sequence[Partition]) -> list[dict[str, Any]]:
        labels = (label for path in segments_of(found) for label in _search(path, b'"prediction_id":null'))
        return [*_with_id(None, labels), *labels_by_keys(found)]

    labels = in_log(root, model, "labels", search)
    prediction = find_prediction(root, model, identifier) if labels else None
    if prediction is None:
        return []
    keys, at = key_values(prediction.get("keys")), _moment(prediction["at"])
    return [
        label
        for label in labels
        if key_values(label["keys"]).items() <= keys.items() and _moment(label["predicted_at"]) == at
    ]


def latest(root: Path, model: str, version: str, count: int) -> list[dict[str, Any]]:
    """Return the ``count`` predictions of a version that were logged last, by event date, the latest first.

    Raises:
        DataError: a segment cannot be read.
    """
    needle = b'"version":' + orjson.dumps(version)

    def search(partitions: Sequence[Partition]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for partition in reversed(partitions):
            records = (each for path in partition.segments for each in _search(path, needle))
            ours = (each for each in records if each["version"] == version)
            both = itertools.chain(ours, latest_of(partition, version, count))
            found += heapq.nlargest(count - len(found), both, key=lambda each: _moment(each["at"]))
            if len(found) >= count:
                break
        return found

    return in_log(root, model, "predictions", search)


def in_log(root: Path, model: str, kind: Kind, read: Callable[[Sequence[Partition]], T]) -> T:
    """Run ``read`` on the files of a log and return its result, correct also during a compaction.

    Raises:
        DataError: a file cannot be read.
    """
    try:
        return retry_after_compaction(root, model, kind, (date.min, date.max), read)
    except ServingError as error:
        raise DataError(str(error), hint=error.hint) from error


def segments_of(found: Sequence[Partition]) -> list[Path]:
    """Return the segments of some dates that are not compacted yet."""
    return [path for partition in found for path in partition.segments]


def lines_of(path: Path, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """Yield whole lines, some megabytes at a time; at least those that begin from ``start`` to ``end``."""
    rest = b""
    with path.open("rb") as segment:
        segment.seek(start)
        while chunk := segment.read(_CHUNK):
            lines, _, rest = (rest + chunk).rpartition(b"\n")
            if lines:
                yield lines
            if end is not None and segment.tell() >= end + _CHUNK:
                return


def _span(path: Path) -> tuple[int, int]:
    """Return when a segment was begun and last written to, in milliseconds since 1970."""
    end = path.stat().st_mtime_ns // 1_000_000
    return made_at(path.stem) or 0, end


def _first(identifier: str, findings: Iterator[Iterator[dict[str, Any]]]) -> dict[str, Any] | None:
    return next((record for records in findings for record in _with_id(identifier, records)), None)


def _with_id(identifier: str | None, records: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Keep the records of that id: a field of a request may be called ``prediction_id``, too."""
    return (record for record in records if record.get("prediction_id") == identifier)


def _search(path: Path, needle: bytes, start: int = 0, end: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield the records whose line holds ``needle``, among lines that begin from ``start`` to ``end``."""
    for lines in lines_of(path, start, end):
        yield from _matching(lines, needle)


def _matching(lines: bytes, needle: bytes) -> Iterator[dict[str, Any]]:
    place = lines.find(needle)
    while place >= 0:
        start, end = lines.rfind(b"\n", 0, place) + 1, lines.find(b"\n", place)
        end = len(lines) if end < 0 else end
        with contextlib.suppress(orjson.JSONDecodeError):  # torn by a power failure
            yield with_answer(orjson.loads(lines[start:end]))
        place = lines.find(needle, end)


def _search_near(path: Path, needle: bytes, moment: int) -> Iterator[dict[str, Any]]:
    """Yield the records with ``needle`` whose ids were made near ``moment``."""
    start = _bisect(path, moment - _SLACK)
    return _search(path, needle, start, max(start, _bisect(path, moment + _SLACK)))


def _bisect(path: Path, moment: int) -> int:
    """Return where a line begins before which all ids were made before ``moment``."""
    low, high = 0, path.stat().st_size
    with path.open("rb") as segment:
        while high - low > _WINDOW:
            middle = (low + high) // 2
            segment.seek(middle)
            segment.readline()
            begin = segment.tell()
            made = _made_at_line(segment.readline())
            if made is None or made >= moment:
                high = middle
            else:
                low = begin
    return low


def _made_at_line(line: bytes) -> int | None:
    _, _, rest = line.partition(b'"prediction_id":"')
    return made_at(rest[:64].partition(b'"')[0].decode("ascii", "replace"))


def _moment(text: str) -> datetime:
    return utc(datetime.fromisoformat(text))
