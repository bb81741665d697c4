"""Delete dates of the prediction log that are past their retention."""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from tidemill.clock import utc
from tidemill.errors import ServingError
from tidemill.prediction_log.storage.log_places import places_of
from tidemill.prediction_log.storage.manifests import Kind, Partition, manifests_of, partitions
from tidemill.prediction_log.storage.part_sketches import delete_part
from tidemill.prediction_log.storage.segments import lock_ended_segment
from tidemill.prediction_log.upkeep.compaction import KINDS
from tidemill.prediction_log.upkeep.maintenance_lock import hold_maintenance_lock
from tidemill.prediction_log.upkeep.rewriting import clear_date

__all__ = ["Pruned", "kept_from", "prune"]


@dataclass(frozen=True)
class Pruned:
    """The records and files that were deleted, or would be."""

    before: date
    """Event dates before this one are not kept."""
    dates: tuple[date, ...] = ()
    predictions: int = 0
    labels: int = 0
    bytes: int = 0
    in_use: int = 0
    """Segments of these dates that stay, because a running writer holds them."""


def kept_from(now: datetime, days: int) -> date:
    """Return the first event date that is kept.

    >>> kept_from(datetime(2013, 4, 11, 6), 10)
    datetime.date(2013, 4, 1)
    """
    return (utc(now) - timedelta(days=days)).date()


def prune(root: Path, model: str, before: date, dry_run: bool = False) -> Pruned:
    """Delete predictions and labels of event dates before ``before``, wherever they lie.

    A date disappears in one step: a reader sees all of what a folder has compacted of it, or nothing.
    After a kill, the next call continues.

    Args:
        root: the folder of the log.
        model: name of the registered model.
        before: the first date that is kept.
        dry_run: only report what would be deleted.

    Raises:
        LogInUse: another process compacts, prunes or erases.
        ServingError: something cannot be deleted.
    """
    dates, counts = set[date](), dict.fromkeys(KINDS, 0)
    size = in_use = 0
    last = before - timedelta(days=1)
    try:
        with hold_maintenance_lock(root, model):
            for kind in KINDS:
                for each in partitions(root, model, kind, date.min, last):
                    rows, bytes_ = _measure(each)
                    stay = 0 if dry_run else _delete(root, model, kind, each.day)
                    dates.add(each.day)
                    counts[kind] += rows
                    size, in_use = size + bytes_, in_use + stay
    except OSError as error:
        raise ServingError(
            f"the log at {root / model} cannot be pruned: {error}",
            hint="check that the log can be written, then run again: what was deleted stays deleted",
        ) from error
    return Pruned(before, tuple(sorted(dates)), counts["predictions"], counts["labels"], size, in_use)


def _measure(partition: Partition) -> tuple[int, int]:
    """Return how many records a date has, and bytes."""
    rows = sum(located.part.rows for located in partition.parts)
    size = sum(located.part.bytes for located in partition.parts)
    for path in partition.segments:
        with path.open("rb") as segment:
            while chunk := segment.read(1 << 20):
                rows, size = rows + chunk.count(b"\n"), size + len(chunk)
    return rows, size


def _delete(root: Path, model: str, kind: Kind, day: date) -> int:
    """Delete a date; return how many segments stay."""
    clear_date(root, model, kind, day)
    folder = root / model / kind / f"date={day.isoformat()}"
    with ExitStack() as held:
        everything = sorted(folder.glob("*.ndjson"))
        ours = [path for path in everything if lock_ended_segment(path, held)]
        manifests = manifests_of(places_of(root), model, kind, day, day)
        for place, name, manifest in manifests:
            place.write(name, manifest.following((), _names(ours)).encoded())
        for path in ours:
            path.unlink(missing_ok=True)
        for place, name, manifest in manifests:
            below = name.rpartition("/")[0]
            for part in manifest.parts:
                delete_part(place, f"{below}/{part.name}")
            place.delete(name)
    with suppress(OSError):  # other files are in it
        folder.rmdir()
    return len(everything) - len(ours)


def _names(paths: Sequence[Path]) -> list[str]:
    return [path.name for path in paths]
