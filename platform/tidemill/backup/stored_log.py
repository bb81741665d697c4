"""Copies the parts of the prediction log that are in object stores into a backup, and brings them back.

Of each date the parts are copied before the manifest that names them, and only what a manifest names is
brought back: the log reads as it did when the manifest was copied.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from tidemill.backup.archive import ArchiveWriter
from tidemill.backup.backup_facts import StoredLog
from tidemill.errors import DataError, UsageError
from tidemill.prediction_log.storage.log_places import Folder, Store, name_stores, stores_of
from tidemill.prediction_log.storage.manifests import Located, manifests_of, read_manifest
from tidemill.prediction_log.storage.part_sketches import sketch_name
from tidemill.prediction_log.upkeep.compaction import KINDS

__all__ = ["add_stored_log", "check_log", "put_stored_log", "stored_log"]

_FOLDER = "log"
_TRIES = 8
Tell = Callable[[str, str, int | None, int | None], None]


def stored_log(root: Path) -> tuple[StoredLog, ...]:
    """Return the object stores that have parts of the log at ``root``."""
    return tuple(StoredLog(each.address, each.endpoint) for each in stores_of(root))


def add_stored_log(
    archive: ArchiveWriter, stores: tuple[StoredLog, ...], model: str, tell: Tell = lambda *_: None
) -> None:
    """Add what object stores have of a model's log.

    The caller holds the log's maintenance lock; other installations may compact into the same stores.

    Raises:
        DataError: a part that a manifest names is not there.
        ServingError: a store cannot be read.
    """
    for number, each in enumerate(stores):
        store = Store(each.address, each.endpoint)
        names = [name for kind in KINDS for _, name, _ in manifests_of([store], model, kind)]
        for done, name in enumerate(names):
            tell("log", f"{each.address}: {name.rpartition('/')[0]}", done, len(names))
            _add_date(archive, f"{_FOLDER}/{number}", store, name)


def _add_date(archive: ArchiveWriter, below: str, store: Store, name: str) -> None:
    """Add the parts that a manifest names, then the manifest as it was while all of them were there."""
    folder, added, missing = name.rpartition("/")[0], set[str](), ""
    for _ in range(_TRIES):
        manifest, missing = read_manifest(store, name), ""
        for part in (f"{folder}/{each.name}" for each in manifest.parts if each.name not in added):
            [rows, sketch] = store.read([part, sketch_name(part)])
            if rows is None:  # another installation has merged it meanwhile, and has another manifest now
                missing = part
                break
            archive.add_content(f"{below}/{part}", rows)
            if sketch is not None:
                archive.add_content(f"{below}/{sketch_name(part)}", sketch)
            added.add(part.rpartition("/")[2])
        if not missing:
            archive.add_content(f"{below}/{name}", manifest.encoded())
            return
    raise DataError(
        f"a manifest of the log names {store.location(missing)}, which is not there",
        hint="`tidemill log status` says what can be read; without --log the backup does without",
    )


def check_log(unpacked: Path, model: str) -> None:
    """Compare the parts of the log in an unpacked backup with what their manifests say.

    Raises:
        DataError: a part is missing, cannot be read, or has another number of rows.
    """
    for place in (unpacked / "home" / "predictions", *sorted((unpacked / _FOLDER).glob("*"))):
        for located in _named(place, model):
            try:
                found = located.scan().select(pl.len()).collect().item()
            except (OSError, pl.exceptions.PolarsError) as error:
                raise DataError(
                    f"part {located.name} of the log cannot be read: {error}", hint="use another backup"
                ) from error
            if found != located.part.rows:
                raise DataError(
                    f"part {located.name} of the log has {found} rows, and should have {located.part.rows}",
                    hint="use another backup",
                )


def put_stored_log(
    unpacked: Path, stores: tuple[StoredLog, ...], root: Path, model: str, elsewhere: StoredLog | None
) -> None:
    """Put the parts back into object stores, and name these in the log's folder.

    Args:
        unpacked: the unpacked backup.
        stores: where they were.
        root: the new folder of the log.
        model: whose log.
        elsewhere: where they go; None: where they were.

    Raises:
        UsageError: there is a log of the model already.
        ServingError: a store cannot be written.
    """
    targets = [_target(number, each, elsewhere) for number, each in enumerate(stores)]
    for number, target in enumerate(targets):
        _refuse_another_log(unpacked / _FOLDER / str(number), target, model)
    for number, target in enumerate(targets):
        folder = unpacked / _FOLDER / str(number)
        for located in _named(folder, model):
            for name in (located.name, sketch_name(located.name)):
                if (folder / name).is_file():
                    target.put(folder / name, name)
        for path in sorted(folder.rglob("manifest-*.json")):  # last: they make parts count
            target.put(path, path.relative_to(folder).as_posix())
    if targets:
        name_stores(root, targets)


def _target(number: int, was: StoredLog, elsewhere: StoredLog | None) -> Store:
    """Return where the parts of a store go: never two to one place, as manifests have one name in both."""
    if elsewhere is None:
        return Store(was.address, was.endpoint)
    address = elsewhere.address.rstrip("/")
    return Store(f"{address}/{number}" if number else address, elsewhere.endpoint)


def _refuse_another_log(folder: Path, target: Store, model: str) -> None:
    """Refuse a store with a log of the model, be it the backup's own: two installations would compact it.

    Parts without a manifest are what a restoration left that was killed.
    """
    known = {path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet*")}
    others = [
        name for kind in KINDS for name in target.names(f"{model}/{kind}/date=*/*") if name not in known
    ]
    if others:
        raise UsageError(
            f"{target.address} already has a log of {model}: {others[0]}",
            hint="name another place for the parts of the log, --log-store s3://…, or empty this one",
        )


def _named(folder: Path, model: str) -> Iterator[Located]:
    """Give the parts that manifests in a folder name."""
    for kind in KINDS:
        for place, name, manifest in manifests_of([Folder(folder)], model, kind):
            for part in manifest.parts:
                yield Located(part, place, f"{name.rpartition('/')[0]}/{part.name}")
