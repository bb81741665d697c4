"""Remove rows from compacted parts, and delete files that a killed process left.

Callers must hold `tidemill.prediction_log.upkeep.maintenance_lock.hold_maintenance_lock`.
"""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl

from tidemill.prediction_log.storage.log_parts import write_part
from tidemill.prediction_log.storage.log_places import Place, owner_of, places_of
from tidemill.prediction_log.storage.manifests import (
    Kind,
    Located,
    manifest_name,
    manifests_of,
    read_manifest,
)
from tidemill.prediction_log.storage.part_sketches import delete_part, sketch_name

__all__ = ["clear_date", "clear_log", "drop_rows"]


def clear_log(root: Path, model: str, kind: Kind) -> None:
    """Clear all dates; see `clear_date`."""
    for folder in (root / model / kind).glob("date=*"):
        clear_date(root, model, kind, date.fromisoformat(folder.name.removeprefix("date=")))


def clear_date(root: Path, model: str, kind: Kind, day: date) -> None:
    """Delete segments whose lines are in a part, and parts that no manifest names, with their sketches."""
    name = manifest_name(model, kind, day, owner_of(root))
    below = name.rpartition("/")[0]
    for place in places_of(root):
        manifest = read_manifest(place, name)
        for segment in manifest.absorbed:
            (root / below / segment).unlink(missing_ok=True)
        named = {part.name for part in manifest.parts}
        _clear_parts(place, f"{below}/part-{owner_of(root)}-*", named | {sketch_name(each) for each in named})
    for draft in (*(root / below).glob(".part-*"), *(root / below).glob(".manifest-*")):
        draft.unlink()


def drop_rows(root: Path, model: str, kind: Kind, of: Callable[[pl.LazyFrame], pl.Series]) -> int:
    """Rewrite parts without some of their rows, one after the other; return the number of dropped rows.

    After a kill at any point, each part is either the old or the new one.

    Args:
        root: the folder of the log.
        model: name of the registered model.
        kind: of which records.
        of: gives, for the rows of a part, whether each is to go.
    """
    dropped = 0
    for place, name, manifest in manifests_of(places_of(root), model, kind):
        below, _, file = name.rpartition("/")
        owner = file.removeprefix("manifest-").removesuffix(".json")
        for part in manifest.parts:
            scan = Located(part, place, f"{below}/{part.name}").scan()
            gone = of(scan)
            if not gone.any():
                continue
            rest = scan.collect().filter(~gone)
            kept = [write_part(rest, kind, place, below, root, owner)] if rest.height else []
            manifest = manifest.following(
                [*(each for each in manifest.parts if each != part), *kept], manifest.absorbed
            )
            place.write(name, manifest.encoded())
            delete_part(place, f"{below}/{part.name}")
            dropped += int(gone.sum())
    return dropped


def _clear_parts(place: Place, pattern: str, named: set[str]) -> None:
    for name in place.names(pattern):
        if name.rpartition("/")[2] not in named:
            place.delete(name)
