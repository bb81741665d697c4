"""Compares a window with a reference by Evidently's report: the verdicts as plain data, the report as HTML.

The only module that imports Evidently. That import takes 6 to 8 seconds, most of them for its legacy metrics
(plotly, scipy, nltk, scikit-learn); it uses no network and sends no telemetry (only Evidently's own UI
service does). The HTML holds its scripts and fonts itself and can be read offline.

Distances, not p-values: see `tidemill.monitoring.monitor_config.DataDriftConfig`.
"""

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from evidently import BinaryClassification, DataDefinition, Dataset, Report
from evidently.core.metric_types import render_widgets
from evidently.legacy.renderers.html_widgets import group_widget, table_data, text_widget
from evidently.metrics import ValueDrift
from evidently.presets import ClassificationQuality

from tidemill.errors import MonitoringError
from tidemill.files.atomic import replace_file
from tidemill.monitoring.drift.drift_columns import Column, ColumnDrift, Comparison, clean, describe, judge
from tidemill.monitoring.monitor_config import DataDriftConfig, PredictionDriftConfig

__all__ = ["MAX_ROWS", "compare"]

MAX_ROWS = 10_000
"""Rows of each side that are compared; more are sampled. Evidently's time grows with the rows, its verdict
does not: at 10,000 rows the Wasserstein distance between samples of the same distribution is about 0.02."""

_SEED = 0
_SCORE, _LABEL = "score", "label"


def compare(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    *,
    features: Sequence[str],
    data_drift: DataDriftConfig | None,
    prediction_drift: PredictionDriftConfig | None,
    labelled: pl.DataFrame | None,
    title: str,
    path: Path,
) -> Comparison:
    """Compare a window with a reference and write the report.

    Args:
        reference: rows of the training set: the features, ``score``.
        current: rows of the window: the features, ``score`` (null where it is not to be compared: by another
            version than the one watched).
        features: names of the columns to compare. A name that is in neither frame is reported, too.
        data_drift: thresholds of the features; none: they are not compared.
        prediction_drift: threshold of the score; none: it is not compared.
        labelled: rows of the window with ``score`` and ``label`` (0 and 1, both present) for the report's
            section on quality; none: no such section. What alerts are made from is not that section, but
            `tidemill.monitoring.quality.labelled_quality`.
        title: Markdown at the head of the report.
        path: the HTML file to write; its folder need not exist.

    Raises:
        MonitoringError: Evidently failed, or the file cannot be written. Nothing half written is left.
    """
    started = time.perf_counter()
    left, right = _sample(reference), _sample(current)
    watched = [name for name in features if data_drift is not None and name not in data_drift.exclude]
    config = data_drift or DataDriftConfig()
    before, now = clean(left, right, watched)
    columns = [describe(before, now, name, config) for name in watched]
    score = _describe_score(left, right, prediction_drift)
    if score is not None:
        before, now = before.with_columns(left[_SCORE]), now.with_columns(right[_SCORE])
    found = _measure(before, now, [*columns, *([score] if score is not None else [])])
    result = Comparison(
        columns=tuple(judge(column, found[column.name].distance) for column in columns),
        prediction=judge(score, found[_SCORE].distance) if score is not None else None,
        reference_rows=reference.height,
        current_rows=current.height,
        reference_sampled=left.height,
        current_sampled=right.height,
        seed=_SEED,
        seconds=time.perf_counter() - started,
    )
    quality = _quality(_sample(labelled)) if labelled is not None else []
    _write(path, _render(title, result, found, quality))
    return replace(result, seconds=time.perf_counter() - started)


def _sample(frame: pl.DataFrame) -> pl.DataFrame:
    """At most `MAX_ROWS` rows, in the order they had."""
    if frame.height <= MAX_ROWS:
        return frame
    return frame.with_row_index("__row").sample(MAX_ROWS, seed=_SEED).sort("__row").drop("__row")


def _describe_score(
    reference: pl.DataFrame, current: pl.DataFrame, config: PredictionDriftConfig | None
) -> Column | None:
    if config is None:
        return None
    # Scores that are not there are those of other versions: they say nothing about this one's.
    before, now = reference.select(pl.col(_SCORE).drop_nulls()), current.select(pl.col(_SCORE).drop_nulls())
    column = describe(before, now, _SCORE, DataDriftConfig(thresholds={_SCORE: config.threshold}))
    return replace(column, method="wasserstein")


class _Measured(NamedTuple):
    distance: float | None
    widgets: list[Any]


def _measure(
    reference: pl.DataFrame, current: pl.DataFrame, columns: Sequence[Column]
) -> dict[str, _Measured]:
    """Let Evidently measure and draw the columns that can be compared."""
    # Not its DataDriftPreset: that measures every column three times and draws it twice.
    metrics = [
        ValueDrift(column=column.name, method=column.method, threshold=column.threshold)
        for column in columns
        if column.method is not None
    ]
    measured = {column.name: _Measured(None, []) for column in columns}
    if not metrics:
        return measured
    names = [metric.column for metric in metrics]
    run = _run(metrics, _dataset(current, names), _dataset(reference, names))
    for metric in run.dict()["metrics"]:
        widgets = run.metric_results[metric["id"]].get_widgets()
        distance = float(metric["value"])
        measured[metric["config"]["column"]] = _Measured(distance if isfinite(distance) else None, widgets)
    return measured


def _dataset(frame: pl.DataFrame, names: Sequence[str]) -> Dataset:
    types = frame.schema
    definition = DataDefinition(
        numerical_columns=[name for name in names if types[name] == pl.Float64],
        categorical_columns=[name for name in names if types[name] != pl.Float64],
    )
    return Dataset.from_pandas(frame.select(names).to_pandas(), data_definition=definition)


def _quality(labelled: pl.DataFrame) -> list[Any]:
    """Return Evidently's view of the window alone: the model was trained on the reference's labels."""
    definition = DataDefinition(
        numerical_columns=[_SCORE],
        categorical_columns=[_LABEL],
        classification=[BinaryClassification(target=_LABEL, prediction_probas=_SCORE, pos_label=1)],
    )
    frame = labelled.select(pl.col(_SCORE).cast(pl.Float64), pl.col(_LABEL).cast(pl.Int64)).to_pandas()
    run = _run(
        [ClassificationQuality(pr_curve=True)], Dataset.from_pandas(frame, data_definition=definition), None
    )
    widgets: list[Any] = run.to_snapshot_model().widgets
    return widgets


def _run(metrics: list[Any], current: Dataset, reference: Dataset | None) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pandas, numpy and scipy about Evidently's ways with them
            return Report(metrics).run(current, reference)
    except Exception as error:
        raise MonitoringError(
            f"Evidently could not evaluate the window: {error}",
            hint="`data_drift.exclude` in monitoring/monitors.yaml leaves a column out",
        ) from error


def _render(title: str, result: Comparison, found: Mapping[str, _Measured], quality: list[Any]) -> str:
    rows = [*([result.prediction] if result.prediction is not None else []), *result.by_excess]
    widgets = [text_widget(text=title), _table(rows)]
    widgets += [group_widget(title=row.name, widgets=found[row.name].widgets) for row in rows if row.method]
    if quality:
        widgets.append(
            group_widget(title="Quality of the predictions whose labels are known", widgets=quality)
        )
    html: str = render_widgets(widgets)
    return html


def _table(rows: Sequence[ColumnDrift]) -> Any:
    header = (
        "column",
        "verdict",
        "distance",
        "threshold",
        "method",
        "mean before",
        "mean now",
        "missing",
        "note",
    )
    cells = [
        (
            row.name,
            "drifted" if row.drifted else "as before" if row.method else "–",
            _number(row.value),
            _number(row.threshold),
            row.method or "–",
            _number(row.reference_mean),
            _number(row.current_mean),
            f"{row.reference_missing:.1%} → {row.current_missing:.1%}",
            row.note or "",
        )
        for row in rows
    ]
    return table_data(title="Reference and window", column_names=header, data=cells)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _write(path: Path, html: str) -> None:
    try:
        replace_file(path, html)
    except OSError as error:
        raise MonitoringError(
            f"the report cannot be written: {path}: {error.strerror or error}", hint="free space there"
        ) from error
