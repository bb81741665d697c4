"""Finds single records in the prediction log, and counts by version, without loading the log.

An id holds the wall-clock time at which it was made, and so does the name of each segment; the folders go by
event time, which a replay sets free from it. So a prediction can only be in a segment that was begun before
it and written to after it. Within a segment ids lie in order of time, but for what threads did at once: a
bisection finds the place. What breaks these rules (clocks that were set, segments that were written anew) is
still found, by reading everything; so is the fact that an id is not there.
"""

import contextlib
import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from tidemill.clock import utc
from tidemill.errors import DataError

__all__ = ["Tally", "find_labels", "find_prediction", "latest", "made_at", "tally"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # as in tidemill.ids
_CHUNK = 8 << 20
_BATCH = 1_000_000
_SLACK = 60_000  # milliseconds between an id's making and its being written
_WINDOW = 1 << 20  # bytes; a bisection ends with this much
_MOMENT = "%Y-%m-%dT%H:%M:%S%.f%:z"
_COUNTED: Mapping[str, pl.DataType] = {
    **dict.fromkeys(("prediction_id", "version", "at", "replica"), pl.String()),
    "test": pl.Boolean(),
}


@dataclass(frozen=True)
class Tally:
    """What the log holds of one version."""

    predictions: int
    """Test traffic included."""
    test: int
    labelled: int
    """Predictions with a label."""
    first_at: datetime
    """Event time."""
    last_at: datetime
    replicas: tuple[str, ...]


def made_at(identifier: str) -> int | None:
    """Return the milliseconds since 1970 that an id of ours holds; none if it is not one.

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
    """Return the log's record of a prediction as it was written, none if the log does not hold it.

    Raises:
        DataError: a segment cannot be read.
    """
    needle = b'"prediction_id":' + orjson.dumps(identifier)
    segments = [(path, *_span(path)) for path in (root / model / "predictions").glob("date=*/*.ndjson")]
    moment = made_at(identifier)
    if moment is None:
        return _first(_search(path, needle) for path, _, _ in segments)
    likely = [each for each in segments if each[1] - _SLACK <= moment <= each[2] + _SLACK]
    likely.sort(key=lambda each: each[1], reverse=True)  # a prediction is in the segment that was just begun
    found = _first(_search_near(path, needle, moment) for path, _, _ in likely)
    return found or _first(_search(path, needle) for path, _, _ in segments)


def find_labels(root: Path, model: str, identifier: str) -> list[dict[str, Any]]:
    """Return the labels that a prediction was given, the one that counts last.

    Raises:
        DataError: a segment cannot be read.
    """
    needle = b'"prediction_id":' + orjson.dumps(identifier)
    moment = made_at(identifier) or 0
    found: list[dict[str, Any]] = []
    for path in (root / model / "labels").glob("date=*/*.ndjson"):
        if _span(path)[1] + _SLACK >= moment:
            found += _search(path, needle)
    return sorted(found, key=lambda label: (_moment(label["at"]), _moment(label["received_at"])))


def latest(root: Path, model: str, version: str, count: int) -> list[dict[str, Any]]:
    """Return the ``count`` predictions of a version that were logged last, by event date, the latest first.

    Raises:
        DataError: a segment cannot be read.
    """
    needle, found = b'"version":' + orjson.dumps(version), list[dict[str, Any]]()
    for folder in sorted((root / model / "predictions").glob("date=*"), reverse=True):
        records = (each for path in folder.glob("*.ndjson") for each in _search(path, needle))
        ours = (each for each in records if each["version"] == version)
        found += heapq.nlargest(count - len(found), ours, key=lambda each: _moment(each["at"]))
        if len(found) >= count:
            break
    return found


def tally(root: Path, model: str) -> dict[str, Tally]:
    """Count the predictions of each version of a model. Reads all of the log, a piece at a time.

    Raises:
        DataError: a segment cannot be read.
    """
    labelled = _labelled(root, model)
    batches = _batches(_pieces(root / model / "predictions", _COUNTED))
    counts = [_count(lines, labelled) for lines in batches]
    if not counts:
        return {}
    summed = (
        pl.concat(counts)
        .group_by("version")
        .agg(
            pl.col("predictions", "test", "labelled").sum(),
            pl.col("first_at").min(),
            pl.col("last_at").max(),
            pl.col("replicas").explode().unique().sort(),
        )
        .sort("version")
    )
    return {
        row.pop("version"): Tally(
            **row
            | {"first_at": utc(row["first_at"]), "last_at": utc(row["last_at"])}
            | {"replicas": tuple(row["replicas"])}
        )
        for row in summed.rows(named=True)
    }


def _count(lines: pl.DataFrame, labelled: pl.DataFrame) -> pl.DataFrame:
    return (
        lines.filter(pl.col("version").is_not_null())
        .with_columns(pl.col("at").str.to_datetime(_MOMENT, time_zone="UTC"))
        .join(labelled, on="prediction_id", how="left")
        .group_by("version")
        .agg(
            pl.len().alias("predictions"),
            pl.col("test").sum(),
            pl.col("labelled").sum(),
            pl.col("at").min().alias("first_at"),
            pl.col("at").max().alias("last_at"),
            pl.col("replica").unique().alias("replicas"),
        )
    )


def _labelled(root: Path, model: str) -> pl.DataFrame:
    """Return a hash of the id of each prediction that has a label: 8 bytes a prediction instead of 31."""
    schema = {"prediction_id": pl.String()}
    hashes = [
        lines.drop_nulls().select(pl.col("prediction_id").hash())
        for lines in _pieces(root / model / "labels", schema)
    ]
    none = pl.DataFrame(schema={"prediction_id": pl.UInt64})
    return pl.concat([none, *hashes]).unique().with_columns(labelled=True)


def _batches(pieces: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Give pieces put together to ``_BATCH`` rows: looking up labels costs as much for few as for many."""
    held, rows = list[pl.DataFrame](), 0
    for piece in pieces:
        held.append(piece.with_columns(pl.col("prediction_id").hash()))
        rows += piece.height
        if rows >= _BATCH:
            yield pl.concat(held)
            held, rows = [], 0
    if held:
        yield pl.concat(held)


def _pieces(folder: Path, schema: Mapping[str, pl.DataType]) -> Iterator[pl.DataFrame]:
    """Give the columns named of all whole lines below a folder, a piece at a time."""
    for path in sorted(folder.glob("date=*/*.ndjson")):
        for lines in _lines(path):
            try:
                yield pl.read_ndjson(lines, schema=schema, ignore_errors=True)
            except pl.exceptions.PolarsError:  # a power failure can leave holes
                sound = b"\n".join(line for line in lines.split(b"\n") if _is_object(line))
                yield pl.read_ndjson(sound, schema=schema) if sound else pl.DataFrame(schema=schema)


def _lines(path: Path, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """Give whole lines, some megabytes at a time; at least those that begin from ``start`` to ``end``."""
    rest = b""
    try:
        with path.open("rb") as segment:
            segment.seek(start)
            while chunk := segment.read(_CHUNK):
                lines, _, rest = (rest + chunk).rpartition(b"\n")
                if lines:
                    yield lines
                if end is not None and segment.tell() >= end + _CHUNK:
                    return
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def _span(path: Path) -> tuple[int, int]:
    """Return when a segment was begun and last written to, in milliseconds since 1970."""
    end = path.stat().st_mtime_ns // 1_000_000
    return made_at(path.stem) or 0, end


def _first(findings: Iterator[Iterator[dict[str, Any]]]) -> dict[str, Any] | None:
    return next((record for records in findings for record in records), None)


def _search(path: Path, needle: bytes, start: int = 0, end: int | None = None) -> Iterator[dict[str, Any]]:
    """Give the records whose line holds ``needle``, among the lines that begin from ``start`` to ``end``."""
    for lines in _lines(path, start, end):
        yield from _matching(lines, needle)


def _matching(lines: bytes, needle: bytes) -> Iterator[dict[str, Any]]:
    place = lines.find(needle)
    while place >= 0:
        start, end = lines.rfind(b"\n", 0, place) + 1, lines.find(b"\n", place)
        end = len(lines) if end < 0 else end
        with contextlib.suppress(orjson.JSONDecodeError):  # torn by a power failure
            yield orjson.loads(lines[start:end])
        place = lines.find(needle, end)


def _search_near(path: Path, needle: bytes, moment: int) -> Iterator[dict[str, Any]]:
    """Give the records with ``needle`` whose ids were made near ``moment``."""
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
