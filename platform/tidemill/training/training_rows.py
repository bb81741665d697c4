"""Read the training set: the rows whose label is known, with their features as numbers, text and lists."""

from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import polars as pl
from polars.exceptions import PolarsError

from tidemill.data.tables.column_names import literal_name, literal_names
from tidemill.data.tables.known_rows import known_at
from tidemill.data.tables.list_elements import known_elements
from tidemill.errors import DataError, TrainingError
from tidemill.plurals import agreeing, counted
from tidemill.project import Project
from tidemill.project.feature_columns import COLUMNS_FILE, ColumnType, read_columns
from tidemill.tasks.target_labels import Labels
from tidemill.training.feature_table import is_text

__all__ = ["LabelledRows", "read_labelled", "typed_feature"]

_MOST_WRONG = 0.01
"""Share of labels that may be wrong: a few bad ones are set aside, but many mean another task."""

_MOST_EMPTY = 0.9
"""Share of labels that may not be null: with more, the column is hardly the one that was meant."""


class LabelledRows(NamedTuple):
    """Rows with labels, to train on."""

    rows: pl.DataFrame
    """In order of time, where there is one: time, label, when it was known, group; then the features as
    Float64, String, or Array of Float64; then the columns by which gates group rows, as they are."""
    without_label: int
    """Number of rows left out: their label should be known, but is null."""
    wrong: Labels
    """The labels of all rows; those of the rows left out because the task does not have their label."""
    infinite: Mapping[str, int]
    """Feature → number of rows in which it is infinite, which counts as missing."""
    with_gaps: Mapping[str, int]
    """List feature → number of rows whose list has a gap inside."""


def read_labelled(project: Project, features: Sequence[str], as_of: datetime) -> LabelledRows:
    """Read the rows of the training set whose label is known at ``as_of``.

    Raises:
        TrainingError: there is no such file, a column is missing or has a type that no model takes, no
            label is known, or nearly all are missing.
        DataError: the task does not have more than a hundredth of the labels.
    """
    path, dataset = project.dataset_path, project.config.dataset
    hint = "reproduce the data first: `tidemill run`, or `dvc repro` in the project's folder"
    about = tuple(
        name for name in (dataset.time, dataset.label, dataset.label_known, dataset.group) if name is not None
    )
    if dataset.time in features:
        raise TrainingError(
            f"{dataset.time} is a feature, and dataset.time: rows are sorted and split by it",
            hint="let a stage write what it tells, such as the hour, as columns of their own",
        )
    try:
        scan = pl.scan_parquet(path, glob=False)
        schema = scan.collect_schema()
        missing = [name for name in (*about, *features) if name not in schema]
        if missing:
            raise TrainingError(f"{path} lacks the columns {', '.join(missing)}", hint=hint)
        beside = _kept_for_gates(project, schema, {*about, *features})
        scan = scan.select(literal_names(dict.fromkeys((*about, *features, *beside))))
        scan = scan.filter(known_at(as_of, dataset.time, dataset.label_known))
        if dataset.time is not None:
            scan = scan.sort(literal_name(dataset.time), maintain_order=True)
        known = scan.collect()
    except (OSError, PolarsError) as error:
        raise TrainingError(f"the training set {path} cannot be read: {error}", hint=hint) from error
    _check_types(project, known)
    typed = [typed_feature(known[name], name, f"{path}") for name in features]
    labels = _labels(project, known[dataset.label], f"{path}, column {dataset.label}")
    written = project.task.written(labels.values).alias(dataset.label)
    rows = known.with_columns(*typed, written).filter(written.is_not_null())
    empty = known.height - rows.height - labels.wrong_rows
    if rows.is_empty():
        have = agreeing(empty, "has", "have")
        nulls = f"; {counted(empty, 'row')} {have} null for a label" if empty else ""
        raise TrainingError(
            f"{path} has no row whose label is known at {as_of:%Y-%m-%d %H:%M}{nulls}", hint=hint
        )
    if known.height and empty >= _MOST_EMPTY * known.height:
        raise TrainingError(
            f"{path}: column {dataset.label} is null in {empty:,} of {known.height:,} rows",
            hint="remove the rows without a label in the last stage, or name another column in dataset.label",
        )
    infinite = {name: int(_infinite(known[name]).sum()) for name in features}
    with_gaps = {one.name: _gaps_inside(one) for one in typed if isinstance(one.dtype, pl.Array)}
    return LabelledRows(rows, empty, labels, *(_more_than_none(each) for each in (infinite, with_gaps)))


def _more_than_none(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def _gaps_inside(lists: pl.Series) -> int:
    """Return how many lists have an element that is not known."""
    found = lists.arr.to_list().list.eval(pl.element().is_null()).list.any()
    return int(found.fill_null(False).sum())


def _kept_for_gates(project: Project, there: Container[str], known: Container[str]) -> list[str]:
    """Return the further columns by which gates group rows; none that is personal."""
    names = [name for name in project.config.gate_columns if name in there and name not in known]
    if not names:
        return []
    from tidemill.features.personal_fields import declared_columns  # loads Feast

    personal = declared_columns(project)
    return [name for name in names if name not in personal]


def _check_types(project: Project, rows: pl.DataFrame) -> None:
    """Check that the training set has the types that requests are to bring."""
    if project.config.features.source == "store":
        return
    for column in read_columns(project):
        if column.name not in rows.columns:
            continue
        found = rows[column.name]
        if column.type == "list" and isinstance(found.dtype, pl.List | pl.Array):
            typed = typed_feature(found, column.name, f"{project.dataset_path}").dtype
            if isinstance(typed, pl.Array) and typed.size != column.length:
                raise TrainingError(
                    f"feature {column.name!r} has {typed.size} elements in {project.dataset_path}, "
                    f"but length is {column.length} in {COLUMNS_FILE}",
                    hint=f"correct the length in {project.root / COLUMNS_FILE}, or what writes the column",
                )
        if not _fits(column.type, found.dtype):
            raise TrainingError(
                f"feature {column.name!r} is of type {column.type} in {COLUMNS_FILE}, but "
                f"{rows[column.name].dtype} in {project.dataset_path}",
                hint=f"correct the type in {project.root / COLUMNS_FILE}, or what writes the column",
            )


def _fits(declared: ColumnType, found: pl.DataType) -> bool:
    if found == pl.Null:
        return True
    match declared:
        case "text":
            return is_text(found)
        case "moment":
            return found in (pl.Date, pl.Datetime)
        case "list":
            return isinstance(found, pl.List | pl.Array)
        case "truth":
            return found == pl.Boolean or found.is_numeric()
        case _:
            return found.is_numeric()


def _labels(project: Project, column: pl.Series, where: str) -> Labels:
    task = project.task
    found = task.labels(column)
    if found.wrong_rows > _MOST_WRONG * column.len():
        raise DataError(
            f"{where}: {found.wrong_rows:,} of {counted(column.len(), 'label')} "
            f"{agreeing(found.wrong_rows, 'is', 'are')} not {task.meant}: "
            f"{found.described()}",
            hint=f"project.task in params.yaml is {task.kind}: change it, or dataset.classes, or what makes "
            "the labels",
        )
    return found


def typed_feature(column: pl.Series, name: str, path: str) -> pl.Series:
    """Return a feature as Float64 (moments in seconds since 1970, truth as 0 and 1), String, or Array.

    What is infinite becomes null, elements of lists, too: few models take it, and requests cannot bring it.

    Raises:
        TrainingError: it has a type that no model takes.
    """
    if is_text(column.dtype):
        return column.cast(pl.String)
    if column.dtype in (pl.Date, pl.Datetime):
        return column.cast(pl.Datetime("us")).dt.epoch("us").cast(pl.Float64) / 1e6
    if column.dtype == pl.Duration:
        return column.dt.total_microseconds().cast(pl.Float64) / 1e6
    if column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null):
        return column.cast(pl.Float64).fill_nan(None).set(_infinite(column), None)
    if isinstance(column.dtype, pl.List | pl.Array) and _is_number(column.dtype.inner):
        return _of_one_length(column, name, path)
    raise TrainingError(
        f"feature {name} in {path} is {column.dtype}: models take numbers, truth values, moments, text and "
        "lists of numbers",
        hint="convert it, or leave it out of the features",
    )


def _infinite(column: pl.Series) -> pl.Series:
    """Return where a feature is infinite, or has an infinite element."""
    if column.dtype.is_float():
        return column.is_infinite().fill_null(False)
    if isinstance(column.dtype, pl.List) and column.dtype.inner.is_float():
        return column.list.eval(pl.element().is_infinite()).list.any().fill_null(False)
    if isinstance(column.dtype, pl.Array) and column.dtype.inner.is_float():
        return _infinite(column.arr.to_list())
    return pl.repeat(False, len(column), eager=True)


def _is_number(dtype: Any) -> bool:
    return bool(dtype.is_numeric() or dtype in (pl.Boolean, pl.Null))


def _of_one_length(column: pl.Series, name: str, path: str) -> pl.Series:
    """Return lists of numbers as arrays of Float64."""
    lists = column if isinstance(column.dtype, pl.List) else column.arr.to_list()
    lengths = lists.list.len().alias("length").drop_nulls().value_counts(sort=True)
    if not lengths["length"].max():
        raise TrainingError(
            f"feature {name} in {path} has no list with elements", hint="leave it out of the features"
        )
    if lengths.height > 1:
        usual, other = lengths.rows()[:2]
        raise TrainingError(
            f"feature {name} in {path} has lists of several lengths: {usual[0]} in {usual[1]:,} rows, "
            f"{other[0]} in {other[1]:,}",
            hint="all lists of a feature must have the same length; where there is none, write null",
        )
    numbers = pl.lit(lists.cast(pl.List(pl.Float64)))
    known = pl.select(known_elements(numbers).alias(column.name)).to_series()
    return known.cast(pl.Array(pl.Float64, lengths["length"][0]))
