"""Reads what people export from Comet: rows of metrics from its API, and the data of its charts.

The fields of the rows are those of ``APIExperiment.get_metrics``. The data of a chart is a list of curves as
Plotly has them, in a file that Comet names ``METRIC VS step_chart_data.json``; Comet does not document it.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tidemill.errors import DataError
from tidemill.training.tracking.foreign_runs.comet_archives import comet_points
from tidemill.training.tracking.foreign_runs.exported_rows import Export, Row, number_in
from tidemill.training.tracking.foreign_runs.foreign_run import (
    ForeignRun,
    Point,
    digest_of,
    run_tags,
    step_number,
)

__all__ = ["is_comet_chart", "is_metrics", "read_comet_chart", "read_metrics"]

_KEY = "experimentKey"
_CHART = re.compile(r"(.+) VS (.+?)_chart_data( ?\(\d+\))?\.json", re.IGNORECASE)


def is_metrics(columns: Sequence[str]) -> bool:
    """Return whether a file has a row for each value of a metric."""
    return {"metricName", "metricValue"} <= set(columns)


def read_metrics(export: Export, name: str) -> Iterator[ForeignRun]:
    """Yield the experiment of the rows, or each of several by its key.

    Raises:
        DataError: a cell is no number where it must be one.
    """
    runs: dict[str, list[Row]] = {}
    for row in export.rows:
        for column in ("metricValue", "timestamp"):
            export.number(row, column)
        if "step" in row.values:
            export.step(row, "step")
        if "metricName" not in row.values:
            raise export.refused(row, "metricName", "it is empty")
        runs.setdefault(str(row.values.get(_KEY, "")), []).append(row)
    for run, rows in runs.items():
        try:
            points = list(comet_points(row.values for row in rows))
        except (ValueError, OverflowError) as error:
            raise DataError(f"{export.file}: {error}", hint="mend it, or export it again") from error
        yield ForeignRun(
            f"{name}/{run}" if run and len(runs) > 1 else run or name,
            "comet",
            export.file,
            digest_of("comet", run, points),
            points,
            tags=run_tags(run=run, file_sha256=export.sha256),
        )


def is_comet_chart(file: Path) -> bool:
    """Return whether a file has the name that Comet gives to the data of a chart.

    >>> is_comet_chart(Path("loss VS step_chart_data (1).json")), is_comet_chart(Path("loss.json"))
    (True, False)
    """
    return _CHART.fullmatch(file.name) is not None


def read_comet_chart(file: Path) -> Iterator[ForeignRun]:
    """Yield the runs of a chart: its curves, or one run if the curves are the metrics in the file's name.

    Raises:
        DataError: it has no curves, or they have no steps.
    """
    found = _CHART.fullmatch(file.name)
    metric, axis = (found[1], found[2]) if found else ("", "")
    content = file.read_bytes()
    runs: dict[str, list[Point]] = {}
    try:
        curves = [(str(one["name"]), list(_curve(one))) for one in json.loads(content)]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{file} cannot be read as a chart of Comet: {type(error).__name__}: {error}",
            hint="export it again, with the step as x axis",
        ) from error
    of_one = all(name.replace("/", "_") in re.split(r"[\s,]+", metric) for name, _ in curves)
    for name, values in curves:
        run, measured = (file.parent.name, name) if of_one else (name, metric)
        runs.setdefault(run, []).extend(Point(measured, value, step, 0) for step, value in values)
    digest = hashlib.sha256(content).hexdigest()
    for run, points in runs.items():
        tags = run_tags(axis=axis, file_sha256=digest)
        yield ForeignRun(run, "comet", file, digest_of("comet", run, points), points, tags=tags)


def _curve(one: Mapping[str, Any]) -> Iterator[tuple[int, float]]:
    """Yield steps and values of a curve; NaN is left out.

    >>> list(_curve({"name": "owl", "x": [1, 2], "y": ["NaN", 0.5]}))
    [(2, 0.5)]
    """
    for at, given in zip(one["x"], one["y"], strict=True):
        step, value = number_in(at), number_in(given)
        if step is None or not step.is_integer():
            raise ValueError(f"{at!r} of the curve {one['name']!r} is not the number of a step")
        if value is None and given is not None:
            raise ValueError(f"{given!r} of the curve {one['name']!r} is no number")
        if value is not None and value == value:
            yield step_number(step), value
