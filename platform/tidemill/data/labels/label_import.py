"""Imports labels from a labelling tool as versioned data: all of them, or none and a list of all errors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from tidemill.clock import utc
from tidemill.data.expectations.row_keys import KEY, declared_types
from tidemill.data.labels.label_files import LabelFile, read_labels
from tidemill.data.labels.label_rules import Resolved, resolve_labels
from tidemill.data.labels.label_types import cast_like, is_missing, moment, moments, typed
from tidemill.data.labels.labels_as_of import COLUMNS, FOLDER
from tidemill.data.personal.tombstones import without_erased
from tidemill.data.repository.dvc_command import Tell, ignore_progress
from tidemill.data.tables.column_names import literal_names
from tidemill.data.tables.table_stats import is_table
from tidemill.data.tables.version_tables import reading, scan
from tidemill.data.versioning.add import Added, keep_table
from tidemill.data.versioning.exclusive import PATIENCE
from tidemill.errors import DataError, UsageError
from tidemill.project import Project

__all__ = ["Imported", "LabelRequest", "import_labels"]

_SHOWN = 5
_RULE = "tidemill.rule"
_EXAMPLE = "2013-04-01T06:00:00Z"


@dataclass(frozen=True)
class LabelRequest:
    """The file to import, and how to read it."""

    file: Path
    key: tuple[str, ...]
    """Columns by which a label is joined."""
    name: str = "labels"
    label: str | None = None
    """Control or column with the label; None: the only one."""
    time: str | None = None
    """Column of the key that is a moment."""
    known_at: str | None = None
    """Column with the moment when a label became known, or one moment for all labels."""
    majority: bool = False
    """Whether a majority vote of the annotators decides, instead of the latest annotation."""
    against: Path | None = None
    """A table that must contain all keys, and gives them their types."""


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
) -> Imported:
    """Read labels, choose one for each key, and version them as ``data/labels/<name>.parquet``.

    The file is the tool's latest export: it replaces the one imported before under that name, whose version
    stays. Importing the same file again changes nothing.

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
    frame = _judged(request, found, known, now, _types_of(project, request.against))
    resolved = resolve_labels(frame, request.key, request.majority)
    kept = without_erased(resolved.labels, project)
    path = f"{FOLDER}/{request.name}.parquet"
    rule = "majority" if request.majority else "latest"
    write = _writer(project.root / path, kept, request.key, rule, keep_since=_is_assumed(found, known))
    message = f"Labels {request.name}: {kept.height} from {request.file.name}"
    added = keep_table(project, path, message, write, tell, patience)
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


def _judged(
    request: LabelRequest,
    found: LabelFile,
    known: datetime | None,
    now: datetime,
    types: Mapping[str, pl.DataType],
) -> pl.DataFrame:
    """Return the annotations with types.

    Raises:
        DataError: there are errors; the message lists all of them.
    """
    rows, wrong = found.rows, _Wrong(request.file)
    places = [row["place"] for row in rows]
    columns: dict[str, pl.Series] = {}
    for position, name in enumerate(request.key):
        values = [row["key"][position] for row in rows]
        empty = [place for place, value in zip(places, values, strict=True) if is_missing(value)]
        wrong.add(f"no {name}", empty)
        columns[name] = moments(values) if name == request.time else typed(name, values)
        if name == request.time:
            read = zip(places, values, columns[name], strict=True)
            unread = [_quoted(p, v) for p, v, m in read if m is None and not is_missing(v)]
            wrong.add(f"{name} is not a moment such as {_EXAMPLE}", unread)
    not_labels = [row["place"] for row in rows if is_missing(row["label"])]
    wrong.add("the label is nan, not a number: leave it empty where there is none", not_labels)
    given = [known or row["known"] for row in rows]
    assumed = [utc(now) if value is None and found.tool == "table" else value for value in given]
    made = moments(assumed)
    lost = [_quoted(p, v) for p, v, m in zip(places, assumed, made, strict=True) if m is None]
    wrong.add(f"no moment of the label such as {_EXAMPLE}", lost)
    late = [p for p, m in zip(places, made, strict=True) if m is not None and m > utc(now)]
    wrong.add("labelled in the future", late)
    keyed = [columns[name].alias(name) for name in request.key]
    frame = pl.DataFrame([*keyed, *_annotations(rows, made)])
    if request.against is not None:
        keys = {name: [row["key"][position] for row in rows] for position, name in enumerate(request.key)}
        frame = _known_to(request.against, types, frame, keys, wrong)
    if not request.majority and found.tool == "table":
        wrong.add("two labels at the same moment", _undecided(frame, request.key))
    wrong.tell()
    return frame.drop("__place")


def _annotations(rows: Sequence[Mapping[str, Any]], labelled_at: pl.Series) -> list[pl.Series]:
    """Return the columns of the rows beside their key, and their places in the file."""
    texts = {"annotator": "annotator", "source": "source", "__place": "place"}
    return [
        typed("label", [row["label"] for row in rows]),
        labelled_at.alias("labelled_at"),
        *(pl.Series(name, [row[field] for row in rows], dtype=pl.String) for name, field in texts.items()),
    ]


class _Wrong:
    """Collects errors, to report all of them at once."""

    def __init__(self, file: Path) -> None:
        self._file, self._found = file, list[str]()

    def add(self, what: str, places: Sequence[str]) -> None:
        if places:
            more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
            self._found.append(f"{what}: {'; '.join(places[:_SHOWN])}{more} ({len(places)} in all)")

    def tell(self) -> None:
        if self._found:
            raise DataError(
                "\n  - ".join([f"{self._file} cannot be imported:", *self._found]),
                hint="correct them in the labelling tool, export again, and import again; nothing was "
                "written",
            )


def _known_to(
    against: Path,
    types: Mapping[str, pl.DataType],
    frame: pl.DataFrame,
    keys_as_read: Mapping[str, Sequence[Any]],
    wrong: _Wrong,
) -> pl.DataFrame:
    """Cast the key to the types in ``against``, and note the keys that it does not contain."""
    key = list(keys_as_read)
    with reading(str(against)):
        table = scan(against.name, [against], types)
        schema = table.collect_schema()
        if missing := [name for name in key if name not in schema]:
            raise UsageError(
                f"{against} has no column {', '.join(missing)}: it has {', '.join(schema)}",
                hint="--key names columns that the labels and the data set share",
            )
        frame = frame.with_columns(cast_like(name, keys_as_read[name], schema[name]) for name in key)
        on = literal_names(key)
        keys = frame.select(on).unique()
        there = table.select(on).join(keys.lazy(), on=on, how="semi").unique().collect(engine="streaming")
    whole = frame.drop_nulls(on)
    unread = frame.filter(pl.any_horizontal(pl.col(name).is_null() for name in on))
    wrong.add(f"a key of another type than in {against}, or none", unread["__place"].to_list())
    strange = whole.join(there, on=on, how="anti", maintain_order="left")
    wrong.add(f"a key that {against} does not have", strange["__place"].to_list())
    return frame


def _quoted(place: str, value: object) -> str:
    return place if value is None or value == "" else f"{place} ({value})"


def _undecided(frame: pl.DataFrame, key: Sequence[str]) -> list[str]:
    on = literal_names(key)
    last = frame.filter(pl.col("labelled_at") == pl.col("labelled_at").max().over(on))
    return last.filter(pl.col("label").n_unique().over(on) > 1)["__place"].to_list()


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
