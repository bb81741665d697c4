"""Imports labels from a labelling tool as versioned data: all of them, or none and a list of all errors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from tidemill.data.expectations.row_keys import KEY, declared_types
from tidemill.data.labels.annotation_checks import LabelRequest, checked_annotations
from tidemill.data.labels.label_files import LabelFile, read_labels
from tidemill.data.labels.label_rules import Resolved, resolve_labels
from tidemill.data.labels.label_types import moment
from tidemill.data.labels.labels_as_of import COLUMNS, FOLDER
from tidemill.data.personal.tombstones import without_erased
from tidemill.data.repository.dvc_command import Tell, ignore_progress
from tidemill.data.tables.column_names import literal_names
from tidemill.data.tables.table_stats import is_table
from tidemill.data.versioning.add import Added, keep_table
from tidemill.data.versioning.exclusive import PATIENCE
from tidemill.errors import DataError, UsageError
from tidemill.project import Project

__all__ = ["Imported", "import_labels"]

_RULE = "tidemill.rule"


@dataclass(frozen=True)
class Imported:
    """The result of an import."""

    path: str
    """Path of the labels, relative to the project."""
    revision: str
    changed: bool
    """Whether the import made a new version."""
    labels: int
    annotations: int
    repeated: int
    """Number of keys that were labelled more than once."""
    contradicted: int
    """Number of these with different labels."""
    cancelled: int
    """Annotations that were cancelled or skipped in the tool."""
    unlabelled: int
    """Tasks and annotations without a label."""
    erased: int
    """Labels of erased subjects, left out."""


def import_labels(
    project: Project,
    request: LabelRequest,
    now: datetime,
    tell: Tell = ignore_progress,
    *,
    patience: float = PATIENCE,
    before: Callable[[], None] | None = None,
) -> Imported:
    """Read labels, choose one for each key, and version them as ``data/labels/<name>.parquet``.

    The file is the tool's latest export: it replaces the one imported before under that name, whose version
    stays. Importing the same file again changes nothing. ``before`` is called right before it becomes a
    version.

    Raises:
        DataError: the file cannot be read, or labels are wrong: without key, of a key that ``against``
            does not know, without a readable moment, from the future, two at once that differ.
        UsageError: the request is contradictory.
    """
    _check(request)
    tell("reading", str(request.file), None, None)
    known = moment(request.known_at) if request.known_at else None
    column = None if known is not None else request.known_at
    found = read_labels(request.file, request.key, request.label, column)
    if not found.rows:
        raise DataError(
            f"{request.file} has no label ({found.cancelled} cancelled, {found.unlabelled} without)",
            hint="check that the export is complete, and that --label names the right field",
        )
    frame = checked_annotations(request, found, known, now, _types_of(project, request.against))
    resolved = resolve_labels(frame, request.key, request.majority)
    kept = without_erased(resolved.labels, project)
    path = f"{FOLDER}/{request.name}.parquet"
    rule = "majority" if request.majority else "latest"
    write = _writer(project.root / path, kept, request.key, rule, keep_since=_is_assumed(found, known))
    message = f"Labels {request.name}: {kept.height} from {request.file.name}"
    added = keep_table(project, path, message, write, tell, patience, before)
    return _imported(added, found, resolved, kept)


def _imported(added: Added, found: LabelFile, resolved: Resolved, kept: pl.DataFrame) -> Imported:
    return Imported(
        path=added.path,
        revision=added.version.revision,
        changed=added.changed,
        labels=kept.height,
        annotations=len(found.rows),
        repeated=resolved.repeated,
        contradicted=resolved.contradicted,
        cancelled=found.cancelled,
        unlabelled=found.unlabelled,
        erased=resolved.labels.height - kept.height,
    )


def _types_of(project: Project, against: Path | None) -> dict[str, pl.DataType]:
    if against is None or not against.resolve().is_relative_to(project.root):
        return {}
    return declared_types(project.root, against.resolve().relative_to(project.root).as_posix())


def _check(request: LabelRequest) -> None:
    if not request.key:
        raise UsageError(
            "--key is missing: labels are joined by it", hint="--key tailnum, or --key carrier,flight"
        )
    if taken := [name for name in request.key if name in COLUMNS]:
        raise UsageError(
            f"{', '.join(taken)} cannot be a key: labels have columns of that name",
            hint="rename it in the labelling tool",
        )
    if request.time is not None and request.time not in request.key:
        raise UsageError(f"--time {request.time} is not in the key", hint="--time names a column of --key")
    if not request.name.replace("-", "").replace("_", "").isalnum():
        raise UsageError(f"{request.name!r} cannot be the name of labels", hint="letters, digits, - and _")
    if request.against is not None and not (request.against.is_file() and is_table(request.against.name)):
        raise UsageError(
            f"{request.against} is not a table", hint="--against names a parquet, CSV or ndjson file"
        )


def _is_assumed(found: LabelFile, known: datetime | None) -> bool:
    """Return whether some labels have no moment of their own; they are known since their first import."""
    return known is None and found.tool == "table" and any(row["known"] is None for row in found.rows)


def _writer(
    place: Path, labels: pl.DataFrame, key: Sequence[str], rule: str, *, keep_since: bool
) -> Callable[[Path], bool]:
    """Return a function that writes the labels, unless ``place`` contains them already."""

    def write(new: Path) -> bool:
        mine, about = labels, {KEY: ",".join(key), _RULE: rule}
        if place.exists():
            before = pl.read_parquet(place, memory_map=False, glob=False)
            if keep_since:
                mine = _since(mine, before, key)
            declared = pl.read_parquet_metadata(place)
            if mine.equals(before) and mine.schema == before.schema and about.items() <= declared.items():
                return False
        mine.write_parquet(new, metadata=about)
        return True

    return write


def _since(labels: pl.DataFrame, before: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Keep the first import's moment for labels that were there before and have no moment of their own."""
    if any(before.schema.get(name) != labels.schema[name] for name in (*key, "label")):
        return labels
    on = [*literal_names(key), "label"]
    known = before.select(*on, __since="labelled_at")
    joined = labels.join(known, on=on, how="left", nulls_equal=True, maintain_order="left")
    return joined.with_columns(labelled_at=pl.min_horizontal("labelled_at", "__since")).drop("__since")
