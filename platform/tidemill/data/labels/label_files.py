"""Reads exports of labelling tools: Label Studio's JSON, JSON-MIN and CSV, and plain tables.

Formats: https://labelstud.io/guide/export (JSON has tasks with annotations, whose results hold the values by
control; JSON-MIN and CSV have a row for each annotation, with a column for each control).
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from polars.exceptions import PolarsError

from tidemill.data.labels.json_objects import Fields, fields_of, is_task, objects
from tidemill.data.tables.column_names import literal_names
from tidemill.data.tables.csv_headers import check_files, separator_of
from tidemill.data.tables.scanning import scan_csv_as_text, scan_parquet
from tidemill.data.tables.table_stats import is_table
from tidemill.errors import DataError, UsageError

__all__ = ["LabelFile", "read_labels"]

_STUDIO = frozenset({"annotation_id", "annotator", "created_at", "updated_at", "lead_time"})
_NOT_LABELS = _STUDIO | {"id", "was_cancelled", "agreement", "labelled_at", "source"}
_VALUE = {"textarea": "text", "pairwise": "selected"}
"""Type of a control → field of its value, if it differs from the type's name."""


@dataclass(frozen=True)
class LabelFile:
    """The content of a file, not checked yet."""

    rows: list[dict[str, Any]]
    """One for each annotation: ``key`` (tuple), ``label``, ``known`` (a moment as text), ``annotator``,
    ``source``, ``place`` (where in the file)."""
    cancelled: int
    unlabelled: int
    tool: str
    """``label-studio`` or ``table``."""


@dataclass
class _Reading:
    key: Sequence[str]
    label: str | None
    known: str | None
    rows: list[dict[str, Any]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    controls: set[str] = field(default_factory=set)


def read_labels(path: Path, key: Sequence[str], label: str | None, known: str | None) -> LabelFile:
    """Read a file of labels.

    Args:
        path: ``.json``, ``.csv``, ``.tsv``, ``.ndjson``, ``.jsonl`` or ``.parquet``.
        key: names of the key columns, in the data of a task.
        label: name of the control or column with the label; None: the only one.
        known: name of the column with the moment when a label became known; None: the tool's own moment.

    Raises:
        DataError: the file is missing, or its format differs from its suffix.
        UsageError: it has no such column, or several columns that might contain the label.
    """
    check_files([path])
    reading = _Reading(key, label, known)
    try:
        if path.suffix.lower() in (".json", ".jsonl", ".ndjson"):
            tool = _read_json(path, reading)
        elif is_table(path.name):
            tool = _read_table(path, reading)
        else:
            raise UsageError(
                f"{path}: labels come as .json, .csv, .tsv, .ndjson or .parquet",
                hint="export it as one of these",
            )
    except (OSError, ValueError, PolarsError) as error:
        said = getattr(error, "strerror", None) or (str(error).splitlines() or [""])[0]
        said = "it is not in UTF-8" if "utf-8" in said.lower() else said
        raise DataError(
            f"{path} cannot be read: {said}",
            hint="check that it is complete, and that its suffix names its format",
        ) from error
    if tool == "label-studio" and label is None and len(reading.controls) > 1:
        raise UsageError(
            f"{path} has several controls: {', '.join(sorted(reading.controls))}",
            hint="--label names the one that is the label",
        )
    return LabelFile(reading.rows, reading.skipped["cancelled"], reading.skipped["unlabelled"], tool)


def _read_json(path: Path, reading: _Reading) -> str:
    fields = fields_of(path)
    if fields.empty_row:
        raise ValueError(f"row {fields.empty_row} has no fields")
    if fields.rows:
        reading.label = _label_column(path, list(fields.rows), reading)
    if fields.rows or fields.in_tasks:
        _require_fields(path, [*reading.key, reading.known], fields)
    tool = "label-studio" if fields.in_tasks or fields.rows.keys() >= _STUDIO else "table"
    for number, item in enumerate(objects(path), 1):
        if is_task(item):
            _read_task(item, reading)
        else:
            _read_row(item, f"row {number}", tool, reading)
    return tool


def _require_fields(path: Path, names: Sequence[str | None], fields: Fields) -> None:
    known = [*fields.rows, *fields.in_tasks]
    if missing := [name for name in names if name is not None and name not in known]:
        raise UsageError(
            f"{path} has no field {', '.join(missing)}: it has {', '.join(known)}",
            hint="--key and --known-at name fields of the file; a moment is written 2013-04-01T06:00:00Z",
        )


def _read_table(path: Path, reading: _Reading) -> str:
    if path.suffix.lower() in (".csv", ".tsv"):  # as text: 007 is not 7
        table = scan_csv_as_text([path], separator=separator_of(path))
    else:
        table = scan_parquet([path])
    columns = table.collect_schema().names()
    reading.label = _label_column(path, columns, reading)
    missing = [name for name in (*reading.key, reading.label, reading.known) if name and name not in columns]
    if missing:
        raise UsageError(
            f"{path} has no column {', '.join(missing)}: it has {', '.join(columns)}",
            hint="--key, --label and --known-at name columns of the file",
        )
    tool = "label-studio" if columns and set(columns) >= {"annotation_id", "annotator"} else "table"
    wanted = [n for n in columns if n in {*reading.key, reading.label, reading.known} | _NOT_LABELS]
    number = 0
    for batch in table.select(literal_names(wanted)).collect_batches():
        for row in batch.iter_rows(named=True):
            number += 1
            _read_row(row, f"row {number}", tool, reading)
    return tool


def _label_column(path: Path, columns: Sequence[str], reading: _Reading) -> str:
    if reading.label is not None:
        return reading.label
    if "label" in columns:
        return "label"
    rest = [name for name in columns if name not in _NOT_LABELS and name not in (*reading.key, reading.known)]
    if len(rest) == 1:
        return rest[0]
    raise UsageError(
        f"{path}: no column is known to be the label: it has {', '.join(rest) or 'none besides the key'}",
        hint="--label names it",
    )


def _read_task(task: Mapping[str, Any], reading: _Reading) -> None:
    data = {"id": task.get("id"), **(task.get("data") or {})}
    annotations = task.get("annotations") or task.get("completions") or ()
    if not annotations:
        reading.skipped["unlabelled"] += 1
    for annotation in sorted(annotations, key=lambda one: str(one.get("id", "")).zfill(20)):
        name = f"task {task.get('id')}, annotation {annotation.get('id')}"
        if annotation.get("was_cancelled") or annotation.get("skipped"):
            reading.skipped["cancelled"] += 1
            continue
        results = [one for one in annotation.get("result") or () if "from_name" in one and "value" in one]
        reading.controls.update(one["from_name"] for one in results)
        chosen = [one for one in results if reading.label in (None, one["from_name"])]
        values = [_value(one) for one in chosen]
        who = annotation.get("completed_by", annotation.get("created_username"))
        moment = annotation.get("updated_at") or annotation.get("created_at")
        _keep(
            reading,
            data,
            values[0] if len(values) == 1 else (_text(values) if values else None),
            data.get(reading.known) if reading.known else moment,
            who.get("email", who.get("id")) if isinstance(who, Mapping) else who,
            f"label-studio/{task.get('id')}/{annotation.get('id')}",
            name,
        )


def _read_row(row: Mapping[str, Any], place: str, tool: str, reading: _Reading) -> None:
    assert reading.label is not None
    if str(row.get("was_cancelled")).lower() == "true":
        reading.skipped["cancelled"] += 1
        return
    value, source = row.get(reading.label), row.get("source") or "table"
    if tool == "label-studio":
        value, source = _pretty(value), f"label-studio/{row.get('id')}/{row.get('annotation_id')}"
        moment = row.get("updated_at") or row.get("created_at")
    else:
        moment = row.get("labelled_at")
    known = row.get(reading.known) if reading.known else moment
    _keep(reading, row, value, known, row.get("annotator"), source, place)


def _keep(
    reading: _Reading, data: Mapping[str, Any], label: Any, known: Any, who: Any, source: str, place: str
) -> None:
    blank = isinstance(label, str) and not label.strip()
    if label is None or blank or label != label:  # the last: not a number
        reading.skipped["unlabelled"] += 1
        return
    reading.rows.append(
        {
            "key": tuple(data.get(name) for name in reading.key),
            "label": label if isinstance(label, str | int | float | bool) else _written(label),
            "known": known,
            "annotator": None if who is None or who == "" else str(who),
            "source": source,
            "place": place,
        }
    )


def _value(result: Mapping[str, Any]) -> Any:
    value, kind = result["value"], str(result.get("type", ""))
    found = value.get(_VALUE.get(kind, kind), value)
    return found[0] if isinstance(found, list) and len(found) == 1 else (found if found != [] else None)


def _pretty(value: Any) -> Any:
    """Unwrap values as JSON-MIN and CSV write them: ``[{"rating": 4}]`` is 4."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return value
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, Mapping) and len(value) == 1:
        (inner,) = value.values()
        value = inner
    return None if value == [] else value


def _written(label: Any) -> str:
    """Return a label as CSV would have it.

    >>> _written(Decimal("63.70")), _written(date(2024, 2, 29)), _written(["a", 1])
    ('63.70', '2024-02-29', '["a", 1]')
    """
    return str(label) if isinstance(label, Decimal | date) else _text(label)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
