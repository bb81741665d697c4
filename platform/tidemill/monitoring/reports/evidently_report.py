"""Draws a comparison with Evidently as one HTML file; it makes no decisions.

Only this module imports Evidently. The import takes 6 to 8 seconds, most of them for its legacy metrics
(plotly, scipy, nltk, scikit-learn); it uses no network and sends no telemetry (only Evidently's own UI
service does). The HTML holds its scripts and fonts itself and can be read offline.

Distances and verdicts in its table are those of `tidemill.monitoring.drift`: Evidently's own count a standard
deviation below 0.001 as 0.001, and it cannot bin a column that is far from zero and hardly moves. So columns
in such units are drawn in standard deviations of the reference.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from evidently import (
    BinaryClassification,
    DataDefinition,
    Dataset,
    MulticlassClassification,
    Regression,
    Report,
)
from evidently.metrics import ValueDrift
from evidently.presets import ClassificationQuality, RegressionQuality

from tidemill.errors import MonitoringError
from tidemill.files.atomic import replace_file
from tidemill.monitoring.drift.column_pair import FEW, as_comparable
from tidemill.monitoring.drift.drift_columns import ColumnDrift, Comparison
from tidemill.monitoring.reports.private_evidently import (
    group_widget,
    page,
    table_data,
    text_widget,
    widgets_of,
    widgets_of_metric,
)
from tidemill.tasks.task import Task
from tidemill.tasks.task_names import TaskName

__all__ = [
    "MAX_ROWS",
    "OTHER",
    "ReportedComparison",
    "ReportedQuality",
    "reported_quality",
    "write_report",
]

MAX_ROWS = 10_000
"""Rows of each side that are drawn; more are sampled. Evidently's time grows with the rows."""
OTHER = "(other)"
"""Name for all categories except the most frequent ones of the reference."""

_SEED = 0
_TITLES = {"score": "the predictions' score", "class": "the predicted classes"}
_SMALL, _LARGE = 0.01, 1e9  # standard deviations and sizes that Evidently can draw unscaled


class ReportedComparison(NamedTuple):
    """The comparison to draw: features by their names, and the scores."""

    features: pl.DataFrame
    scores: pl.Series
    categories: pl.Series | None = None
    """The predicted classes, where answers are classes."""


class ReportedQuality(NamedTuple):
    """Labels and answers for a section on quality."""

    kind: TaskName
    truth: pl.Series
    """Numbers, or the names of classes."""
    given: pl.Series
    """For two classes the probability; for several the chosen class."""


def reported_quality(task: Task, labelled: pl.DataFrame) -> ReportedQuality | None:
    """Return what a section on quality draws of logged rows; None if Evidently has no section for them.

    It has none for custom tasks, nor for classes of which only one is there.
    """
    rows = task.labelled_in_log(labelled)
    answers = task.given_in_log(rows)
    if task.kind == "custom" or rows.is_empty() or not np.isfinite(answers).all():
        return None
    truth, classes = pl.Series(task.truth_of_log(rows)), task.categories(answers)
    if classes is not None:
        truth = task.labels_of_log(rows["label"], rows["target"]).values
        truth = task.written(truth)
    elif task.kind == "binary":
        truth = truth.cast(pl.Int64)
    if task.kind != "regression" and truth.n_unique() < 2:
        return None
    return ReportedQuality(task.kind, truth, pl.Series(answers) if classes is None else classes)


class _Drawing(NamedTuple):
    """One column, ready to be drawn."""

    drift: ColumnDrift
    name: str
    """A name for Evidently that does not clash with its own names or ``score``."""
    before: pl.Series
    now: pl.Series
    scaled: bool


def write_report(
    path: Path,
    title: str,
    comparison: Comparison,
    reference: ReportedComparison,
    current: ReportedComparison,
    labelled: ReportedQuality | None,
) -> None:
    """Write the report of a comparison.

    Args:
        path: the HTML file; its folder need not exist.
        title: Markdown at the head of the report.
        comparison: the results to draw.
        reference: the rows of the training set.
        current: the rows of the window.
        labelled: by `reported_quality`; None for no section on quality.

    Raises:
        MonitoringError: the file cannot be written. No partial file is left.
    """
    drawings = [
        _prepared(column, f"feature.{column.name}", reference.features, current.features, column.name)
        for column in comparison.by_excess
        if column.method is not None
    ]
    if comparison.prediction is not None and comparison.prediction.method is not None:
        scores = pl.DataFrame({"score": reference.scores}), pl.DataFrame({"score": current.scores})
        drawings.insert(0, _prepared(comparison.prediction, "score", *scores, "score"))
    if comparison.categories is not None and comparison.categories.method is not None:
        classes = pl.DataFrame({"class": reference.categories}), pl.DataFrame({"class": current.categories})
        drawings.insert(0, _prepared(comparison.categories, "class", *classes, "class"))
    rows = [*comparison.of_answers, *comparison.by_excess]
    widgets = [text_widget(text=title), _table(rows), *_drawn(drawings)]
    if labelled is not None:
        widgets.append(_quality(labelled))
    _write(path, page(widgets))


def _prepared(
    drift: ColumnDrift, shown: str, reference: pl.DataFrame, current: pl.DataFrame, name: str
) -> _Drawing:
    before, now = (as_comparable(_sample(frame[name].alias("value"))) for frame in (reference, current))
    if drift.method == "jensenshannon":
        before, now = before.cast(pl.String), now.cast(pl.String)
        counts = before.drop_nulls().value_counts(name="n").sort("n", "value", descending=[True, False])
        kept = counts["value"].head(FEW)
        return _Drawing(drift, shown, _folded(before, kept), _folded(now, kept), False)
    before, now = before.drop_nulls(), now.drop_nulls()
    spread, size = before.std(), max(before.abs().max(), now.abs().max())  # type: ignore[type-var]
    if not isinstance(spread, float) or spread == 0 or (spread >= _SMALL and size <= _LARGE):  # type: ignore[operator]
        return _Drawing(drift, shown, before, now, False)
    centre = before.sort()[len(before) // 2]
    return _Drawing(drift, shown, (before - centre) / spread, (now - centre) / spread, True)


def _folded(column: pl.Series, kept: pl.Series) -> pl.Series:
    """Merge categories that are not kept into one, so that values from requests do not enter the report."""
    # Evidently writes values into the report's <script> unescaped: no value may close it.
    safe = column.str.replace_all("<", "‹", literal=True)
    folded = safe.zip_with(column.is_in(kept.implode()).fill_null(False), pl.Series([OTHER]))
    return folded.set(column.is_null(), None)


def _sample(column: pl.Series) -> pl.Series:
    return column if len(column) <= MAX_ROWS else column.sample(MAX_ROWS, seed=_SEED)


def _drawn(drawings: Sequence[_Drawing]) -> list[Any]:
    """Return a group of widgets for each column, with a message if Evidently cannot draw the column."""
    groups = []
    for drawing in drawings:
        title = _TITLES.get(drawing.name, drawing.drift.name)
        try:
            widgets = _widgets(drawing)
        except Exception as error:  # noqa: BLE001 - an engine's failure to draw is no failure of the monitor
            widgets = [text_widget(text=f"It cannot be drawn: {type(error).__name__}")]
        scaled = ", in standard deviations from the reference's median" if drawing.scaled else ""
        groups.append(group_widget(title=f"{title}{scaled}", widgets=widgets))
    return groups


def _widgets(drawing: _Drawing) -> list[Any]:
    method, threshold = drawing.drift.method, drawing.drift.threshold
    metric = ValueDrift(column=drawing.name, method=method, threshold=threshold)
    sides = (_dataset(column.alias(drawing.name), method) for column in (drawing.now, drawing.before))
    run = _run([metric], *sides)
    [measured] = run.dict()["metrics"]
    return widgets_of_metric(run, measured["id"])


def _dataset(column: pl.Series, method: str | None) -> Dataset:
    numerical = [column.name] if method == "wasserstein" else []
    categorical = [] if numerical else [column.name]
    definition = DataDefinition(numerical_columns=numerical, categorical_columns=categorical)
    return Dataset.from_pandas(column.to_frame().to_pandas(), data_definition=definition)


def _quality(labelled: ReportedQuality) -> Any:
    """Return Evidently's quality widgets for the window only; the model was trained on the reference."""
    frame = pl.DataFrame({"given": labelled.given, "label": labelled.truth})
    chosen = frame if frame.height <= MAX_ROWS else frame.sample(MAX_ROWS, seed=_SEED)
    if chosen.schema["label"] == pl.String:  # a value could close Evidently's <script>
        chosen = chosen.with_columns(pl.all().str.replace_all("<", "‹", literal=True))
    definition, preset = _section(labelled.kind)
    try:
        dataset = Dataset.from_pandas(chosen.to_pandas(), data_definition=definition)
        widgets = widgets_of(_run([preset], dataset, None))
    except Exception as error:  # noqa: BLE001 - likewise
        widgets = [text_widget(text=f"It cannot be drawn: {type(error).__name__}")]
    return group_widget(title="Quality of the predictions whose labels are known", widgets=widgets)


def _section(kind: TaskName) -> tuple[DataDefinition, Any]:
    if kind == "regression":
        regression = [Regression(target="label", prediction="given")]
        numbers = DataDefinition(numerical_columns=["given", "label"], regression=regression)
        return numbers, RegressionQuality()
    if kind == "multiclass":
        several = [MulticlassClassification(target="label", prediction_labels="given")]
        names = DataDefinition(categorical_columns=["given", "label"], classification=several)
        return names, ClassificationQuality()
    two = [BinaryClassification(target="label", prediction_probas="given", pos_label=1)]
    both = DataDefinition(numerical_columns=["given"], categorical_columns=["label"], classification=two)
    return both, ClassificationQuality(pr_curve=True)


def _run(metrics: list[Any], current: Dataset, reference: Dataset | None) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of pandas, numpy and scipy about Evidently's calls
        return Report(metrics).run(current, reference)


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
            _verdict(row),
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


def _verdict(row: ColumnDrift) -> str:
    if row.broken is not None:
        return "broken"
    return "drifted" if row.drifted else "as before" if row.method else "–"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _write(path: Path, html: str) -> None:
    try:
        replace_file(path, html)
    except OSError as error:
        raise MonitoringError(
            f"the report cannot be written: {path}: {error.strerror or error}", hint="free space there"
        ) from error
