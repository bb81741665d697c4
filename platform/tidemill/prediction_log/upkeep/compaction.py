"""Compact segments of the prediction log into sorted, compressed parquet, a fraction of the size.

One group of segments at a time: read a piece at a time, written as parts that readers ignore, then named in
the manifest in one step (`manifests`), then deleted. Killed anywhere, the log reads the
same, and the next compaction deletes leftover files. A segment that a running writer holds is left
alone.

Memory does not grow with the log: at most ``Sizes.rows`` rows and one piece of a segment are held.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from tidemill.errors import ServingError
from tidemill.prediction_log.storage.log_parts import Sizes, read_in_pieces, write_part
from tidemill.prediction_log.storage.log_places import Place, owner_of
from tidemill.prediction_log.storage.log_schema import stacked
from tidemill.prediction_log.storage.manifests import (
    Kind,
    Located,
    Part,
    day_of,
    manifest_name,
    read_manifest,
)
from tidemill.prediction_log.storage.part_sketches import delete_part, put_sketch, sketch_name
from tidemill.prediction_log.storage.segments import lock_ended_segment
from tidemill.prediction_log.upkeep.maintenance_lock import hold_maintenance_lock
from tidemill.prediction_log.upkeep.rewriting import clear_date

__all__ = ["KINDS", "Compacted", "compact"]

KINDS: tuple[Kind, ...] = ("predictions", "labels")
_DESCRIPTORS = 200
_SMALL = 4  # a part with less than this share of ``Sizes.rows`` waits to be merged


@dataclass(frozen=True)
class Compacted:
    """The result of a compaction."""

    segments: int = 0
    rows: int = 0
    parts: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    torn: int = 0
    """Lines that a crash had left incomplete, left out."""
    finished: bool = True
    """Whether nothing is left to do; false when time was up."""

    def __add__(self, other: "Compacted") -> "Compacted":
        return Compacted(
            self.segments + other.segments,
            self.rows + other.rows,
            self.parts + other.parts,
            self.bytes_before + other.bytes_before,
            self.bytes_after + other.bytes_after,
            self.torn + other.torn,
            self.finished and other.finished,
        )


def compact(
    root: Path,
    model: str,
    place: Place,
    sizes: Sizes | None = None,
    seconds: float | None = None,
    tell: Callable[[str, int, int], None] = lambda message, done, total: None,
) -> Compacted:
    """Compact the segments and merge the small parts that exceed the thresholds of ``sizes``.

    Args:
        root: the folder of the log, ``project.predictions``.
        model: name of the registered model.
        place: where parts go, by `tidemill.prediction_log.storage.log_places.current_place`.
        sizes: of parts, and when a segment is worth one.
        seconds: no new group of segments is begun after this long; none for no end.
        tell: called for each group with a message, the bytes done and the total.

    Raises:
        LogInUse: another process compacts, prunes or erases.
        ServingError: a segment cannot be read, or a part not be written. What was compacted until then stays.
    """
    sizes, end = sizes or Sizes(), None if seconds is None else time.monotonic() + seconds
    result = Compacted()
    try:
        with hold_maintenance_lock(root, model):
            days = [(kind, day) for kind in KINDS for day in _days(root, model, kind, place, sizes)]
            total = sum(_size(root, model, kind, day) for kind, day in days)
            for kind, day in days:
                for step in _Date(root, model, kind, day, place, sizes).steps():
                    result += step
                    tell(f"{kind} of {day}", result.bytes_before, total)
                    if end is not None and time.monotonic() > end:
                        return result + Compacted(finished=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ServingError(
            f"the log at {root / model} cannot be compacted: {error}",
            hint="nothing is lost: what was not compacted is read as it is, and tried again",
        ) from error
    return result


def _size(root: Path, model: str, kind: Kind, day: date) -> int:
    return sum(path.stat().st_size for path in (root / model / kind / f"date={day}").glob("*.ndjson"))


def _days(root: Path, model: str, kind: Kind, place: Place, sizes: Sizes) -> list[date]:
    """Return the dates with segments or parts to compact."""
    waiting = {
        date.fromisoformat(folder.name.removeprefix("date="))
        for folder in (root / model / kind).glob("date=*")
        if _is_worth_it(folder, sizes)
    }
    if sizes.settled_bytes == 0:  # all dates: leftovers of a kill, and small parts, may be anywhere
        waiting |= {day_of(name) for name in place.names(f"{model}/{kind}/date=*/manifest-*.json")}
    return sorted(waiting)


def _is_worth_it(folder: Path, sizes: Sizes) -> bool:
    found = [path.stat() for path in folder.glob("*.ndjson")]
    old = time.time() - sizes.settled_seconds
    size = sum(stat.st_size for stat in found)
    return bool(found) and (size >= sizes.settled_bytes or min(stat.st_mtime for stat in found) <= old)


class _Date:
    """The compaction of one date."""

    def __init__(self, root: Path, model: str, kind: Kind, day: date, place: Place, sizes: Sizes) -> None:
        self._root, self._kind, self._place, self._sizes = root, kind, place, sizes
        self._owner = owner_of(root)
        self._name = manifest_name(model, kind, day, self._owner)
        self._below = self._name.rpartition("/")[0]
        self._folder = root / self._below
        clear_date(root, model, kind, day)
        self._manifest = read_manifest(place, self._name)

    def steps(self) -> Iterator[Compacted]:
        """Compact a group of segments at a time, then merge small parts and sketch those without one."""
        with ExitStack() as held:
            for group in self._groups(held):
                yield self._absorb(group)
                held.close()
        while small := self._small():
            self._merge(small)
        if self._kind == "predictions":
            self._sketch()

    def _groups(self, held: ExitStack) -> Iterator[list[Path]]:
        """Yield the segments without a writer, in groups that fill a part; ``held`` keeps them locked."""
        group: list[Path] = []
        size = 0
        for path in sorted(self._folder.glob("*.ndjson")):
            if not lock_ended_segment(path, held):
                continue
            group.append(path)
            size += path.stat().st_size
            if size >= self._sizes.group or len(group) >= _DESCRIPTORS:
                yield group
                group, size = [], 0
        if group:
            yield group

    def _absorb(self, group: Sequence[Path]) -> Compacted:
        before = sum(path.stat().st_size for path in group)
        made, torn = list[Part](), 0
        for frame, skipped in read_in_pieces(group, self._kind, self._sizes):
            torn += skipped
            if frame.height:
                made.append(self._write(frame))
        self._publish([*self._manifest.parts, *made], [path.name for path in group], torn)
        for path in group:
            path.unlink(missing_ok=True)
        rows, after = sum(part.rows for part in made), sum(part.bytes for part in made)
        return Compacted(len(group), rows, len(made), before, after, torn)

    def _small(self) -> list[Part]:
        small = [part for part in self._manifest.parts if part.rows < self._sizes.rows // _SMALL]
        if len(small) < self._sizes.merge:
            return []
        chosen, rows = list[Part](), 0
        for part in sorted(small, key=lambda each: each.rows):
            if rows + part.rows > self._sizes.rows:
                break
            chosen.append(part)
            rows += part.rows
        return chosen

    def _merge(self, small: Sequence[Part]) -> None:
        frames = [Located(part, self._place, f"{self._below}/{part.name}").scan().collect() for part in small]
        whole = self._write(stacked(frames))
        self._publish([part for part in self._manifest.parts if part not in small] + [whole])
        for part in small:
            delete_part(self._place, f"{self._below}/{part.name}")

    def _sketch(self) -> None:
        """Make the sketches of parts that an earlier release wrote."""
        there = set(self._place.names(f"{self._below}/part-{self._owner}-*"))
        for part in self._manifest.parts:
            name = f"{self._below}/{part.name}"
            if part.rows >= self._sizes.sketched and sketch_name(name) not in there:
                put_sketch(Located(part, self._place, name).scan().collect(), self._place, name)

    def _write(self, frame: pl.DataFrame) -> Part:
        return write_part(frame, self._kind, self._place, self._below, self._root, self._owner, self._sizes)

    def _publish(self, parts: Sequence[Part], absorbed: Sequence[str] = (), torn: int = 0) -> None:
        self._manifest = self._manifest.following(parts, absorbed, torn)
        self._place.write(self._name, self._manifest.encoded())
