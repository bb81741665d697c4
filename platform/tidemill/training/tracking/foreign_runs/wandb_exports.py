"""Reads what people export from Weights & Biases by its API and from its charts.

The forms are those of its guide (*Import and export data*): the histories of runs, and ``project.csv`` with
summary, config and name of each run as texts of Python. The CSV of a chart has the step first, and for each
run ``RUN - METRIC``, ``RUN - METRIC__MIN`` and ``RUN - METRIC__MAX``.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tidemill.training.tracking.foreign_runs.exported_rows import Export, Row, number_in
from tidemill.training.tracking.foreign_runs.foreign_run import (
    ForeignRun,
    Point,
    digest_of,
    flat,
    milliseconds,
    numbers,
    run_tags,
    step_number,
)
from tidemill.training.tracking.foreign_runs.python_literals import value_of_text

__all__ = ["is_chart", "is_history", "is_project", "read_chart", "read_history", "read_project"]

_STEP, _AT, _RUN = "_step", "_timestamp", "run_id"
_BETWEEN, _LEAST, _MOST = " - ", "__MIN", "__MAX"


def is_history(columns: Sequence[str]) -> bool:
    """Return whether a file has the history of a run, or of several by ``run_id``."""
    return _STEP in columns and "name" not in columns


def read_history(export: Export, name: str) -> Iterator[ForeignRun]:
    """Yield the run of a history, or each of several.

    Raises:
        DataError: a cell is no step, no moment, or no number where others of its column are.
    """
    runs: dict[str, list[Row]] = {}
    for row in export.rows:
        runs.setdefault(str(row.values.get(_RUN, "")), []).append(row)
    for run, rows in runs.items():
        points = list(_history(export, rows))
        yield ForeignRun(
            f"{name}/{run}" if run and len(runs) > 1 else run or name,
            "wandb",
            export.file,
            digest_of("wandb", run, points),
            points,
            tags=run_tags(run=run, file_sha256=export.sha256),
        )


def _history(export: Export, rows: Sequence[Row]) -> Iterator[Point]:
    counted, others = set[str](), dict[str, tuple[Row, Any]]()
    for row in rows:
        step, at = export.step(row, _STEP), export.moment(row, _AT)
        for name, given in flat(row.values):
            if name == _RUN or name.startswith("_"):
                continue
            value = number_in(given)
            if value is None:
                others.setdefault(name, (row, given))
            else:
                counted.add(name)
                if value == value:
                    yield Point(name, value, step, at)
    for name in counted & others.keys():
        row, given = others[name]
        raise export.refused(row, name, f"{str(given)[:80]!r} is no number, but others of the column are")


def is_project(columns: Sequence[str]) -> bool:
    """Return whether a file is the ``project.csv`` of the guide."""
    return {"summary", "config", "name"} <= set(columns)


def read_project(export: Export) -> Iterator[ForeignRun]:
    """Yield the runs of a project, with the last value of each metric.

    Raises:
        DataError: a cell is no text of a dictionary, or has a step, a moment or a number that is none.
    """
    for row in export.rows:
        summary, config = _fields(export, row, "summary"), _fields(export, row, "config")
        try:
            at = milliseconds(float(summary.get(_AT, 0)))
            lasted = int(1000 * float(summary.get("_runtime", 0)))
            points = list(numbers(summary, step_number(float(summary.get(_STEP, 0))), at))
        except (ValueError, TypeError, OverflowError) as error:
            raise export.refused(row, "summary", str(error)) from error
        yield ForeignRun(
            str(row.values.get("name", "")) or export.file.stem,
            "wandb",
            export.file,
            digest_of("wandb", row.values.get("name"), *map(_texts, (summary, config))),
            points,
            {key: str(value) for key, value in flat(config) if not key.startswith("_")},
            tags=run_tags(file_sha256=export.sha256),
            began=at - lasted if at else None,
            last_only=True,
        )


def _texts(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return values as a digest takes them: keys of Python may be of types that cannot be sorted."""
    return sorted((key, str(value)) for key, value in flat(values))


def _fields(export: Export, row: Row, column: str) -> Mapping[str, Any]:
    given = row.values.get(column, {})
    try:
        found = value_of_text(given) if isinstance(given, str) else given
    except ValueError as error:
        raise export.refused(row, column, f"{error!s}: {str(given)[:60]!r}") from error
    if not isinstance(found, Mapping):
        raise export.refused(row, column, f"{str(given)[:60]!r} is no dictionary")
    return {str(key): value for key, value in found.items()}


def is_chart(columns: Sequence[str]) -> bool:
    """Return whether a file is the CSV of a chart.

    >>> is_chart(["Step", "owl - loss", "owl - loss__MIN", "owl - loss__MAX"]), is_chart(["a", "b - c"])
    (True, False)
    """
    series = columns[1:]
    least = [one for one in series if one.endswith(_LEAST) and one.removesuffix(_LEAST) in series]
    return bool(least) and all(_BETWEEN in one for one in series)


def read_chart(export: Export) -> Iterator[ForeignRun]:
    """Yield the runs of a chart; least and greatest values only where they differ from the value.

    Raises:
        DataError: a cell is no step, or no number.
    """
    axis, runs = export.columns[0], dict[str, list[Point]]()
    for column in export.columns[1:]:
        run, _, metric = column.rpartition(_BETWEEN)
        of = column.removesuffix(_LEAST).removesuffix(_MOST)
        given = [(row, export.number(row, column)) for row in export.rows]
        alike = of != column and all(value == export.number(row, of) for row, value in given)
        points = runs.setdefault(run, [])
        if not alike and not metric.startswith("_"):
            points += (
                Point(metric, value, export.step(row, axis), 0) for row, value in given if value is not None
            )
    for run, points in runs.items():
        yield ForeignRun(
            run,
            "wandb",
            export.file,
            digest_of("wandb", run, points),
            points,
            tags=run_tags(axis=axis, file_sha256=export.sha256),
        )
