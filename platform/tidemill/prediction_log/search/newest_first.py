"""Reads predictions from the newest backwards, a bounded piece of the log at a time.

The log is walked by event date, the latest first; within a date come first its segments, the one begun last
before the others, then compacted parts, and each is read from its end. A page of a list stops when it has
enough records or has looked for long enough, and says where: the next page goes on there. So a page of a
million records takes as long as one of ten.
"""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import polars as pl

from tidemill.clock import utc
from tidemill.errors import DataError, ServingError, UsageError
from tidemill.prediction_log.storage.log_schema import TYPED, as_record, with_answer
from tidemill.prediction_log.storage.manifests import Located, Partition, retry_after_compaction

__all__ = ["LISTED", "Found", "Wanted", "newest_first"]

LISTED = (
    "prediction_id",
    "version",
    "at",
    "score",
    "answer",
    "decision",
    "flags",
    "role",
    "test",
    "milliseconds",
)
"""What is returned of each prediction."""
_BLOCK = 1 << 20
_CURSOR = re.compile(r"(\d{4}-\d\d-\d\d)/([\w.-]{1,100})@(\d{1,15})")
_NEAR = 20_000
"""Rows of a part between the first and the last one wanted, up to which they are read in one piece."""


@dataclass(frozen=True)
class Wanted:
    """Selects predictions; None is any."""

    version: str | None = None
    flag: str | None = None
    start: datetime | None = None
    """First moment, event time, aware."""
    end: datetime | None = None
    """End, itself not in it."""


@dataclass(frozen=True)
class Found:
    """Some predictions, the latest first, and where the search stopped."""

    records: Sequence[dict[str, Any]]
    following: str | None
    """Given to `newest_first` to go on; None where the log ends."""


class _Place(NamedTuple):
    """A place in the log: what is after it was looked at."""

    day: date
    name: str
    """Of the segment or part."""
    position: int
    """Bytes of the segment or rows of the part before it."""

    def __str__(self) -> str:
        return f"{self.day}/{self.name}@{self.position}"


class _Source(NamedTuple):
    """A segment or a part of a date."""

    day: date
    name: str
    file: Path | Located


def newest_first(
    root: Path,
    model: str,
    wanted: Wanted,
    after: str | None = None,
    most: int = 50,
    seconds: float = 0.08,
) -> Found:
    """Return predictions from the newest backwards.

    Args:
        root: the folder of the log, ``project.predictions``.
        model: name of the registered model.
        wanted: which ones.
        after: `Found.following` of the ones before. A compaction in between may bring some of them again.
        most: the greatest number of records.
        seconds: no further piece of the log is begun after this long.

    Raises:
        UsageError: ``after`` is not such a place.
        DataError: a file cannot be read.
    """
    place = None if after is None else _parsed(after)
    first = date.min if wanted.start is None else utc(wanted.start).date()
    last = date.max if wanted.end is None else utc(wanted.end).date()
    last = last if place is None else min(last, place.day)

    def search(found: Sequence[Partition]) -> Found:
        return _search(found, wanted, place, most, time.monotonic() + seconds)

    try:
        return retry_after_compaction(root, model, "predictions", (first, last), search)
    except ServingError as error:
        raise DataError(str(error), hint=error.hint) from error


def _parsed(text: str) -> _Place:
    match = _CURSOR.fullmatch(text)
    try:
        if match is None:
            raise ValueError(text)
        return _Place(date.fromisoformat(match[1]), match[2], int(match[3]))
    except ValueError as error:
        raise UsageError(
            "this page of the list of predictions does not exist", hint="begin at the first page"
        ) from error


def _search(found: Sequence[Partition], wanted: Wanted, place: _Place | None, most: int, end: float) -> Found:
    records: list[dict[str, Any]] = []
    reached: _Place | None = None
    for source, before in _sources(found, place):
        for piece, reached in _pieces(source, before, wanted, most - len(records)):
            records += piece
            if len(records) >= most or time.monotonic() > end:
                return Found(_sorted(records), str(reached))
    return Found(_sorted(records), None)


def _sorted(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(records, key=lambda each: (_moment(each), each["prediction_id"]), reverse=True)


def _sources(found: Sequence[Partition], place: _Place | None) -> Iterator[tuple[_Source, int | None]]:
    """Yield the sources from a place on, each with the position before which it was not looked at yet."""
    for partition in reversed(found):
        if place is not None and partition.day > place.day:
            continue
        here = _of_day(partition)
        names = [source.name for source in here]
        if place is None or partition.day != place.day or place.name not in names:
            yield from ((source, None) for source in here)
            continue
        at = names.index(place.name)
        if place.position > 0:
            yield here[at], place.position
        yield from ((source, None) for source in here[at + 1 :])


def _of_day(partition: Partition) -> list[_Source]:
    segments = sorted(partition.segments, key=lambda path: path.name, reverse=True)
    parts = sorted(partition.parts, key=lambda each: (each.part.last_at, each.part.name), reverse=True)
    return [
        *(_Source(partition.day, path.name, path) for path in segments),
        *(_Source(partition.day, located.part.name, located) for located in parts),
    ]


def _pieces(
    source: _Source, before: int | None, wanted: Wanted, most: int
) -> Iterator[tuple[list[dict[str, Any]], _Place]]:
    """Yield records of a source from its end, and the place reached with each piece."""
    if isinstance(source.file, Path):
        for records, position in _of_segment(source.file, before, wanted, most):
            yield records, _Place(source.day, source.name, position)
    else:
        records, position = _of_part(source.file, before, wanted, most)
        yield records, _Place(source.day, source.name, position)


def _of_segment(
    path: Path, before: int | None, wanted: Wanted, most: int
) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """Yield records of whole lines, a block at a time from the end, and where the first of them begins."""
    needles = [
        *([] if wanted.version is None else [b'"version":' + orjson.dumps(wanted.version)]),
        *([] if wanted.flag is None else [orjson.dumps(wanted.flag)]),
    ]
    found = 0
    with path.open("rb") as segment:
        size = path.stat().st_size
        end = size if before is None else min(before, size)
        while end > 0 and found < most:
            start, lines = _block(segment, end)
            records, position = [], end
            for line in reversed(lines):
                position -= len(line)
                if all(needle in line for needle in needles) and (record := _decoded(line, wanted)):
                    records.append(record)
                    if found + len(records) >= most:
                        break
            else:
                position = start
            found += len(records)
            end = position
            yield records, position


def _block(segment: Any, end: int) -> tuple[int, list[bytes]]:
    """Return where the last lines before ``end`` begin, and these lines; at least one."""
    size = _BLOCK
    while True:
        start = max(0, end - size)
        segment.seek(start)
        block = segment.read(end - start)
        cut = 0 if start == 0 else block.find(b"\n") + 1
        if start == 0 or 0 < cut < len(block):
            return start + cut, block[cut:].splitlines(keepends=True)
        size *= 2  # a line longer than the block


def _decoded(line: bytes, wanted: Wanted) -> dict[str, Any] | None:
    try:
        record = with_answer(orjson.loads(line))
    except orjson.JSONDecodeError:  # torn by a crash
        return None
    if wanted.version is not None and record.get("version") != wanted.version:
        return None
    if wanted.flag is not None and wanted.flag not in (record.get("flags") or ()):
        return None
    at = _moment(record)
    if (wanted.start and at < wanted.start) or (wanted.end and at >= wanted.end):
        return None
    return {name: record.get(name) for name in LISTED}


def _of_part(
    located: Located, before: int | None, wanted: Wanted, most: int
) -> tuple[list[dict[str, Any]], int]:
    """Return the last records of a part that are wanted, and the row of the first of them."""
    part = located.part
    if (wanted.start and part.last_at < wanted.start) or (wanted.end and part.first_at >= wanted.end):
        return [], 0
    scan = located.scan()
    names = scan.collect_schema().names()
    older = [pl.lit(None, TYPED["predictions"][name]).alias(name) for name in LISTED if name not in names]
    rows = scan.with_columns(older).select(LISTED).with_row_index("_row")
    chosen = rows.filter(_expression(wanted), pl.col("_row") < (part.rows if before is None else before))
    numbers = chosen.select("_row").tail(most).collect()["_row"]
    if numbers.is_empty():
        return [], 0
    first, last = int(numbers[0]), int(numbers[-1])
    if last - first < _NEAR:
        rows = rows.slice(first, last - first + 1)
    found = rows.filter(pl.col("_row").is_in(numbers.implode())).drop("_row").collect().rows(named=True)
    return [as_record(row) for row in found], first if len(numbers) == most else 0


def _expression(wanted: Wanted) -> pl.Expr:
    expression = pl.lit(True)
    if wanted.version is not None:
        expression &= pl.col("version") == wanted.version
    if wanted.flag is not None:
        expression &= pl.col("flags").list.contains(wanted.flag)
    if wanted.start is not None:
        expression &= pl.col("at") >= wanted.start
    if wanted.end is not None:
        expression &= pl.col("at") < wanted.end
    return expression


def _moment(record: dict[str, Any]) -> datetime:
    return utc(datetime.fromisoformat(record["at"]))
