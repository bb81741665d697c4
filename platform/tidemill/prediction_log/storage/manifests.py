"""Manifests say which files hold the log of one date: compacted parts, and segments not yet compacted.

Each date of predictions or of labels has one manifest for each log folder that compacts into it::

    <place>/<model>/predictions/date=2013-04-01/manifest-<owner>.json
    <place>/<model>/predictions/date=2013-04-01/part-<owner>-<id>.parquet

A manifest names the parts, and the segments whose lines are in them. It is replaced whole, so each line
counts once at any moment: before, its segment does; after, its part does, and the segment, there or not, does
not.
A part that no manifest names is left over from a killed process.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import orjson
import polars as pl

from tidemill.errors import ServingError
from tidemill.prediction_log.storage.log_places import Place, places_of

__all__ = [
    "Kind",
    "Located",
    "Manifest",
    "Part",
    "Partition",
    "day_of",
    "manifest_name",
    "manifests_of",
    "partitions",
    "read_manifest",
    "retry_after_compaction",
]

Kind = Literal["predictions", "labels"]
T = TypeVar("T")
_TRIES = 8
_READS = 64  # tries, one after each file that a compaction deleted: many, if it goes through many dates


@dataclass(frozen=True)
class Part:
    """One parquet file, with the ranges of its rows, so that readers can skip it without opening it."""

    name: str
    """Of the file, in the folder of its date."""
    rows: int
    bytes: int
    first_at: datetime
    """Event time, aware, UTC."""
    last_at: datetime
    first_id: str | None = None
    """The least of the prediction ids."""
    last_id: str | None = None


@dataclass(frozen=True)
class Manifest:
    """The parts that one log folder has compacted of one date."""

    parts: tuple[Part, ...] = ()
    absorbed: tuple[str, ...] = ()
    """Names of segments whose lines are in the parts."""
    torn: int = 0
    """Lines that a crash had left incomplete; no part has them."""
    generation: int = 0

    def encoded(self) -> bytes:
        """Return it as JSON."""
        return orjson.dumps(asdict(self))

    def following(self, parts: Sequence[Part], absorbed: Sequence[str] = (), torn: int = 0) -> "Manifest":
        """Return the manifest that replaces this one, with ``torn`` more lines left out."""
        return Manifest(tuple(parts), tuple(absorbed), self.torn + torn, self.generation + 1)


class Located(NamedTuple):
    """A part and its place."""

    part: Part
    place: Place
    name: str
    """Below the place."""

    def scan(self) -> pl.LazyFrame:
        """Return its rows as a lazy frame."""
        return pl.scan_parquet(
            self.place.location(self.name),
            storage_options=self.place.options,
            hive_partitioning=False,
            glob=False,  # it is one file, whatever characters its path has
        )


class Partition(NamedTuple):
    """The files that hold one date."""

    day: date
    parts: tuple[Located, ...]
    segments: tuple[Path, ...]
    torn: int
    """Lines that a crash had left incomplete; no part has them."""


def manifest_name(model: str, kind: Kind, day: date, owner: str) -> str:
    """Return the name of a manifest below a place."""
    return f"{model}/{kind}/date={day.isoformat()}/manifest-{owner}.json"


def read_manifest(place: Place, name: str) -> Manifest:
    """Return a manifest; an empty one if there is none.

    Raises:
        ServingError: it is not a valid manifest.
    """
    [content] = place.read([name])
    return Manifest() if content is None else _decoded(content, place.location(name))


def partitions(root: Path, model: str, kind: Kind, first: date, last: date) -> list[Partition]:
    """Return the files of the dates from ``first`` to ``last`` in order, consistent for each date.

    Raises:
        ServingError: a manifest is broken, or the log's store cannot be used.
    """
    places = places_of(root)
    settled: dict[date, Partition] = {}
    for _ in range(_TRIES):
        # Segments are only deleted once a manifest lists them as compacted: if it is the same before and
        # after the listing, no segment was deleted whose lines are in an unread part.
        before = manifests_of(places, model, kind, first, last)
        segments = _segments(root, model, kind, first, last)
        after = manifests_of(places, model, kind, first, last)
        found = {each.day: each for each in _put_together(before, segments)}
        unsettled = {day_of(name) for _, name, _ in {*before} ^ {*after}}
        # A compaction that goes through many dates changes some all the time, but none of them for long.
        for day in found.keys() - unsettled:
            settled.setdefault(day, found[day])
        waiting = unsettled - settled.keys()
        if not waiting:
            return [settled[day] for day in sorted(settled)]
        first, last = min(waiting), max(waiting)
    raise ServingError(
        f"the log at {root / model / kind} changes faster than it can be listed", hint="try again"
    )


def retry_after_compaction(
    root: Path,
    model: str,
    kind: Kind,
    span: tuple[date, date],
    read: Callable[[Sequence[Partition]], T],
) -> T:
    """Run ``read`` on the files of some dates; repeat it if a compaction deleted one meanwhile.

    Raises:
        ServingError: a file cannot be read.
    """
    found = partitions(root, model, kind, *span)
    for _ in range(_READS):
        try:
            return read(found)
        except (OSError, pl.exceptions.PolarsError) as error:
            failure, seen = error, found
        found = partitions(root, model, kind, *span)
        if found == seen:
            break
    raise ServingError(
        f"the log at {root / model / kind} cannot be read: {failure}", hint="`tidemill log status` says more"
    ) from failure


def manifests_of(
    places: Sequence[Place], model: str, kind: Kind, first: date = date.min, last: date = date.max
) -> list[tuple[Place, str, Manifest]]:
    """Return the manifests of some dates, of all log folders, with their place and name."""
    found = []
    for place in places:
        names = [
            name
            for name in place.names(f"{model}/{kind}/{_folders(first, last)}/manifest-*.json")
            if first <= day_of(name) <= last
        ]
        for name, content in zip(names, place.read(names), strict=True):
            if content is not None:
                found.append((place, name, _decoded(content, place.location(name))))
    return found


def _segments(root: Path, model: str, kind: Kind, first: date, last: date) -> list[Path]:
    paths = (root / model / kind).glob(f"{_folders(first, last)}/*.ndjson")
    return sorted(path for path in paths if first <= day_of(path.as_posix()) <= last)


def _put_together(
    manifests: Sequence[tuple[Place, str, Manifest]], segments: Sequence[Path]
) -> list[Partition]:
    parts: dict[date, list[Located]] = {}
    waiting: dict[date, list[Path]] = {}
    absorbed = {(day_of(name), each) for _, name, manifest in manifests for each in manifest.absorbed}
    torn: dict[date, int] = {}
    for place, name, manifest in manifests:
        folder = name.rpartition("/")[0]
        torn[day_of(name)] = torn.get(day_of(name), 0) + manifest.torn
        parts.setdefault(day_of(name), []).extend(
            Located(part, place, f"{folder}/{part.name}") for part in manifest.parts
        )
    for path in segments:
        if (day_of(path.as_posix()), path.name) not in absorbed:
            waiting.setdefault(day_of(path.as_posix()), []).append(path)
    return [
        Partition(day, tuple(parts.get(day, ())), tuple(waiting.get(day, ())), torn.get(day, 0))
        for day in sorted(parts.keys() | waiting.keys())
    ]


def _folders(first: date, last: date) -> str:
    return f"date={first.isoformat()}" if first == last else "date=*"


def day_of(name: str) -> date:
    """Return the date in whose folder a file is."""
    return date.fromisoformat(name.rsplit("/", 2)[-2].removeprefix("date="))


def _decoded(content: bytes, where: str) -> Manifest:
    try:
        found = orjson.loads(content)
        parts = tuple(
            Part(**each | {name: datetime.fromisoformat(each[name]) for name in ("first_at", "last_at")})
            for each in found["parts"]
        )
        return Manifest(parts, tuple(found["absorbed"]), found["torn"], found["generation"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ServingError(
            f"{where} is not a manifest of the prediction log: {error}",
            hint="restore it from a backup: it says which of the parts beside it count",
        ) from error
