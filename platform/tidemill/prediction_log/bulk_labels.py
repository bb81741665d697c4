"""Import labels from a file into the prediction log."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from tidemill.clock import CLOCKS_APART, FIRST_YEAR, LAST_YEAR, Clock, parse_moment, utc
from tidemill.data.tables.frames import batches, open_table
from tidemill.errors import DataError
from tidemill.features.project_features import hidden_fields, lookup_columns
from tidemill.plurals import agreeing, counted
from tidemill.prediction_log.labels.label_cells import LabelReader, label_gaps
from tidemill.prediction_log.labels.label_matching import GivenLabel, as_records
from tidemill.prediction_log.log_records import LabelRecord
from tidemill.prediction_log.reading.unmatched_labels import count_unmatched
from tidemill.prediction_log.storage.log_schema import TYPED
from tidemill.prediction_log.writing.log_writer import open_log
from tidemill.prediction_log.writing.redaction import Redaction, redaction_for
from tidemill.project import Project

__all__ = ["Imported", "import_label_file"]

_OURS = ("prediction_id", "predicted_at", "label", "at")
_ROWS = 20_000
_NAMED = 5


@dataclass(frozen=True)
class Imported:
    """The result of an import."""

    labels: int
    by_keys: int
    keys: tuple[str, ...]
    """Columns that were read as entity keys."""
    unmatched: int = 0
    """Labels of predictions that the log does not hold (yet)."""
    blank: int = 0
    """Rows without a label, which were set aside."""
    unnamed: int = 0
    """Rows that have a label and name no prediction, which were set aside."""


def import_label_file(
    project: Project, file: Path, clock: Clock, put_on_record: Callable[[], None] | None = None
) -> Imported:
    """Log the labels of a file, by the rules of `label_matching`; importing it twice is harmless.

    Args:
        project: whose log.
        file: with columns ``label`` (what the project's task takes for one; rows that have none are set
            aside) and optionally ``at`` (when it became known; default: now); and either ``prediction_id``,
            or ``predicted_at`` and entity keys, which are all other columns (rows without the former are set
            aside). A key that is called like one of these four is given as ``key.<name>``.
        clock: wall-clock time.
        put_on_record: called when all is found right, before the first label is logged.

    Raises:
        DataError: the file cannot be read, it has no label or one that is none of the task's, or a column is
            no key of the project's predictions. Nothing is logged then.
        ServingError: the log cannot be written. Some of the rows may be logged: import the file again.
    """
    trained = _type_in_training(project)
    table = open_table(file, None if trained is None else {"label": pl.String()})
    reader = LabelReader(project.task, trained, label_gaps(project.task, project.config.dataset.classes))
    keys = _keys_of(file, table.collect_schema().names())
    _require_known(file, tuple(map(_key, keys)), project)
    blank = _require_labels(file, table, reader)
    now = clock.now()
    unnamed = _require_predictions(file, table, keys, reader, now)
    hide = _redaction(project)
    if put_on_record is not None:
        put_on_record()
    count, before, named, log = 0, 0, [_named([])], open_log(project)
    try:
        for rows in batches(table, _ROWS):
            given = list(_labels(_Place(file, before), rows, keys, reader, now))
            before += rows.height
            count += len(records := as_records(given, now, hide))
            log.append_labels(records)
            named.append(_named(records))
    finally:
        log.close()
    unmatched = count_unmatched(project.predictions, project.model, pl.concat(named))
    return Imported(count, count if keys else 0, tuple(map(_key, keys)), unmatched, blank, unnamed)


def _named(records: Sequence[LabelRecord]) -> pl.DataFrame:
    """Return which predictions labels name."""
    return pl.DataFrame(
        {
            "prediction_id": [each.prediction_id for each in records],
            "keys": [
                None if each.keys is None else orjson.dumps(each.keys, str).decode() for each in records
            ],
            "predicted_at": [each.predicted_at for each in records],
        },
        schema={name: TYPED["labels"][name] for name in ("prediction_id", "keys", "predicted_at")},
    )


def _require_known(file: Path, keys: Sequence[str], project: Project) -> None:
    """Raise an error for keys by which no prediction of the project is logged."""
    known = _known_keys(project) if keys else ()
    unknown = [key for key in keys if key not in known]
    if unknown:
        raise DataError(
            f"{file}: predictions of {project.model} have no {'key' if len(unknown) == 1 else 'keys'} "
            f"{', '.join(unknown)}; they have: {', '.join(known)}",
            hint="rename or remove the columns that are no keys; none of the labels was imported",
        )


def _known_keys(project: Project) -> tuple[str, ...]:
    """Return what a prediction may be logged by: fields of a request, and what features are looked up by."""
    fields = project.load_application().request.model_fields.items()
    names = [field.alias or name for name, field in fields]
    return tuple(dict.fromkeys([*lookup_columns(project), *names]))


def _redaction(project: Project) -> Redaction:
    application = project.load_application()
    return redaction_for(project, application.request, hidden_fields(project))


def _keys_of(file: Path, names: list[str]) -> tuple[str, ...]:
    if "label" not in names:
        raise DataError(f"{file} has no column `label`", hint=f"it has: {', '.join(names)}")
    keys = tuple(name for name in names if name not in _OURS)
    if "prediction_id" in names:
        if keys or "predicted_at" in names:
            raise DataError(
                f"{file} names predictions both by id and by keys ({', '.join(keys) or 'predicted_at'})",
                hint="leave one of them out",
            )
    elif not keys or "predicted_at" not in names:
        raise DataError(
            f"{file} does not say which predictions its labels belong to",
            hint="give a column prediction_id; or predicted_at, the moment of the prediction, and its keys "
            f"(docs/prediction-log.md); it has: {', '.join(names)}",
        )
    return keys


def _key(column: str) -> str:
    """Return the name of the key that a column holds.

    >>> [_key(column) for column in ("depot", "key.at", "key.depot")]
    ['depot', 'at', 'key.depot']
    """
    name = column.removeprefix("key.")
    return name if name in _OURS else column


def _require_labels(file: Path, table: pl.LazyFrame, reader: LabelReader) -> int:
    """Return how many rows have no label; raise an error for labels that the task does not have."""
    counts: Counter[str] = Counter()
    rows, first, blank = 0, 0, 0
    for batch in batches(table.select("label"), _ROWS):
        for row, value in enumerate(batch["label"], rows + 1):
            if reader.is_blank(value):
                blank += 1
                continue
            try:
                reader.read(value)
            except ValueError:
                counts[repr(value)] += 1
                first = first or row
        rows += batch.height
    if counts:
        listed = ", ".join(f"{value} ({count:,})" for value, count in counts.most_common(_NAMED))
        more = f" and {len(counts) - _NAMED} other values" if len(counts) > _NAMED else ""
        wrong = sum(counts.values())
        raise DataError(
            f"{file}: {wrong:,} of {counted(rows, 'label')} {agreeing(wrong, 'is', 'are')} not "
            f"{reader.meant}: {listed}{more}; the first is in row {first:,}",
            hint="leave those rows out, then import it again; none was imported",
        )
    if rows and blank == rows:
        raise DataError(f"{file} has no label in any of its {counted(rows, 'row')}", hint="fill them in")
    return blank


def _require_predictions(
    file: Path, table: pl.LazyFrame, keys: tuple[str, ...], reader: LabelReader, now: datetime
) -> int:
    """Return how many rows with a label name no prediction; read all rows before the first is logged.

    Raises:
        DataError: none names one, or a moment is none, or a label is to become known later than ``now``.
    """
    before, named, unnamed = 0, 0, 0
    for rows in batches(table, _ROWS):
        named += sum(1 for _ in _labels(_Place(file, before), rows, keys, reader, now))
        lacking = (
            _is_unnamed(row, keys) for row in rows.iter_rows(named=True) if not reader.is_blank(row["label"])
        )
        unnamed += sum(lacking)
        before += rows.height
    if unnamed and not named:
        column = _naming(keys)
        raise DataError(f"{file} has no {column} in any row with a label", hint=f"fill in {column}")
    return unnamed


def _naming(keys: tuple[str, ...]) -> str:
    """Return the column without which a row names no prediction."""
    return "predicted_at" if keys else "prediction_id"


def _is_unnamed(row: Mapping[str, Any], keys: tuple[str, ...]) -> bool:
    value = row[_naming(keys)]
    return value is None or (isinstance(value, str) and not value.strip())


def _type_in_training(project: Project) -> pl.DataType | None:
    """Return the type of a custom task's labels in the training set; None if it is unknown.

    A cell of CSV alone does not tell: 4 may be a number or text, and [1] a list or text.
    """
    if project.task.kind != "custom" or not project.dataset_path.is_file():
        return None
    return pl.read_parquet_schema(project.dataset_path).get(project.config.dataset.label)


@dataclass(frozen=True)
class _Place:
    """Where in a file rows are."""

    file: Path
    before: int
    """Number of the file's rows before them."""

    def of(self, index: int) -> str:
        """Return the name of a row for messages; the file's first row, below a header, is row 1."""
        return f"{self.file}: row {self.before + index + 1:,}"


def _labels(
    place: _Place, rows: pl.DataFrame, keys: tuple[str, ...], reader: LabelReader, now: datetime
) -> Iterator[GivenLabel]:
    _require_bounded(place, rows)
    for index, row in enumerate(rows.iter_rows(named=True)):
        if reader.is_blank(row["label"]) or _is_unnamed(row, keys):
            continue
        label, target = reader.read(row["label"])
        at = _moment(place, index, row, "at")
        if at is not None and at > now + CLOCKS_APART:
            raise DataError(
                f"{place.of(index)}: at {at.isoformat()}, when the label became known, lies in the future",
                hint="correct it, or leave it out for now; none was imported",
            )
        if not keys:
            yield GivenLabel(str(row["prediction_id"]), label, at, target=target)
            continue
        moment = _moment(place, index, row, "predicted_at")
        yield GivenLabel(None, label, at, {_key(name): _plain(row[name]) for name in keys}, moment, target)


def _require_bounded(place: _Place, rows: pl.DataFrame) -> None:
    """Refuse the moments that ``POST /feedback`` refuses; some are outside Python's datetime range."""
    for column in set(rows.columns) & {"at", "predicted_at"}:
        moments = rows[column]
        if isinstance(moments.dtype, pl.Datetime | pl.Date):
            outside = (~moments.dt.year().is_between(FIRST_YEAR, LAST_YEAR)).arg_true()
            if len(outside):
                first = moments.cast(pl.String)[outside[0]]
                raise DataError(
                    f"{place.of(outside[0])}: {column} {first!r} is not a moment of the years "
                    f"{FIRST_YEAR} to {LAST_YEAR}",
                    hint="write it like 2013-04-01T06:00+00:00",
                )


def _moment(place: _Place, index: int, row: Mapping[str, Any], column: str) -> datetime | None:
    value = row.get(column)
    try:
        if isinstance(value, str) and FIRST_YEAR <= (given := parse_moment(value)).year <= LAST_YEAR:
            return given
        if isinstance(value, datetime):
            return utc(value)
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day, tzinfo=UTC)
    except ValueError:
        pass  # refused below, with its place
    else:
        if value is None:
            return None
    raise DataError(
        f"{place.of(index)}: {column} {value!r} is not a moment of the years {FIRST_YEAR} to {LAST_YEAR}",
        hint="write it like 2013-04-01T06:00+00:00",
    )


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) and not isinstance(value, datetime) else value
