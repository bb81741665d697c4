"""Measures the quality of labelled predictions, and judges whether it has decayed. Imports no engine.

The metrics are those of the project's task, so that windows, gates and trials use the same numbers.
A window is compared with the hold-out metric recorded for the serving version, not with the quality on the
reference, whose rows the model was trained on. Both are measured on some rows only: a drop that these few may
bring about by chance (once in a hundred windows) is no decay. A few enormous errors of a regression hide a
drop behind their own chance: there the usual errors, with the greatest ones capped, are compared, too.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.monitoring.kind_sections import QualityConfig
from tidemill.plurals import counted
from tidemill.tasks.natural_metric import metric_of
from tidemill.tasks.task import Answers, Task
from tidemill.training.tracking.reference_rows import ReferenceRows

__all__ = ["Expected", "MeasuredQuality", "WindowQuality", "held_out_errors", "measure"]

Expected = Callable[[str], float | None]
"""Returns a metric on the hold-out of a version, by name."""

_RARELY = 2.326
"""Standard deviations of a normal that chance exceeds once in a hundred times."""
_RESAMPLES, _AT_ONCE = 50, 10
_USUAL = 0.95
"""Share of the hold-out's errors that are not capped."""


@dataclass(frozen=True)
class MeasuredQuality:
    """The quality of a set of predictions."""

    metrics: Mapping[str, float | None]
    """Those of the task; None: see ``note``."""
    rows: int
    base_rate: float | None
    """For binary: share of label 1; for regression: mean of the labels. None without rows."""
    mean_score: float | None
    """None without rows. If it is far from ``base_rate``, the probabilities are not calibrated."""
    note: str | None
    """Why a metric is None, or what else is missing."""


@dataclass(frozen=True)
class WindowQuality:
    """The quality in a window, and the expected quality."""

    overall: MeasuredQuality
    metric: str
    """The metric that is judged."""
    value: float | None
    standard_error: float | None
    """Uncertainty of ``value`` due to the number of labels; None if it was not judged."""
    expected: float | None
    """The same metric on the serving version's hold-out; None if it was not recorded."""
    decayed: bool | None
    """None if it cannot be judged; see ``note``."""
    note: str | None
    max_drop: float | None = None
    """The drop that is allowed, in units of the metric."""
    wrong: str | None = None
    """Labels that the task does not have, with their numbers; they are left out."""
    usual_growth: float | None = None
    """Share by which the usual errors are greater than the hold-out's, where that is more than chance brings
    and the drop alone is not."""

    @property
    def drop(self) -> float | None:
        """Return how far the metric is below the expected value; negative when it is better."""
        return None if self.value is None or self.expected is None else self.expected - self.value


def measure(
    labelled: pl.DataFrame,
    task: Task,
    config: QualityConfig,
    expected: Expected,
    min_labelled: int,
    holdout_rows: float | None = None,
    errors: npt.NDArray[np.float64] | None = None,
) -> WindowQuality:
    """Measure the quality of predictions whose labels are known.

    Args:
        labelled: one row a prediction, as the log has it: ``at`` (aware), ``score``, ``label``, and
            ``answer`` and ``target`` for tasks that need them.
        task: what is predicted.
        config: which metric is judged, and when it is too low.
        expected: returns a metric on the hold-out of the version that made the predictions; None if there is
            none on record.
        min_labelled: with fewer rows the quality is measured but not judged.
        holdout_rows: how many rows the hold-out had; None: so many that its own error does not matter.
        errors: of a regression on its hold-out, as `held_out_errors` returns them.

    >>> from datetime import UTC, datetime
    >>> day = datetime(2013, 4, 1, tzinfo=UTC)
    >>> frame = pl.DataFrame({"at": [day] * 4, "score": [0.1, 0.4, 0.35, 0.8], "label": [0, 0, 1, 1]})
    >>> frame = pl.concat([frame] * 25)
    >>> from tidemill.tasks.binary import Binary
    >>> quality = measure(frame, Binary("roc_auc"), QualityConfig(max_drop=0.03), lambda _: 0.90, 4)
    >>> quality.value, quality.decayed
    (0.75, True)
    """
    task = task.judged_by(config.metric)
    metric = task.metric
    labels = task.labels_of_log(labelled["label"], _column(labelled, "target"))
    labelled = labelled.filter(labels.values.is_not_null())
    overall, aim = _measured(labelled, task), expected(metric)
    value = overall.metrics[metric]
    error = _standard_error(labelled, task, overall) if overall.rows >= min_labelled else None
    noise, growth = _noise(error, overall.rows, holdout_rows), None
    decayed, note = _judge(overall, value, metric, config, aim, min_labelled, noise)
    if decayed is False and errors is not None and (growth := _usual_growth(errors, labelled, task)):
        decayed, note = _judge(overall, value, metric, config, aim, min_labelled, noise=0.0)
        growth = growth if decayed else None
    drop = None if aim is None else config.drop_allowed(metric, aim)
    wrong = f"not {task.meant}: {labels.described()}" if labels.wrong else None
    return WindowQuality(overall, metric, value, error, aim, decayed, note, drop, wrong, growth)


def _judge(
    overall: MeasuredQuality,
    value: float | None,
    metric: str,
    config: QualityConfig,
    expected: float | None,
    min_labelled: int,
    noise: float,
) -> tuple[bool | None, str | None]:
    if overall.rows < min_labelled:
        return None, f"{counted(overall.rows, 'label')}, {min_labelled:,} are needed"
    if value is None:
        return None, overall.note or f"{metric_of(metric).name} is undefined on these labels"
    too_low = config.floor is not None and value < config.floor
    if config.max_drop is None:
        return too_low, None
    if expected is None:
        note = f"no hold-out {metric_of(metric).name} is on record for this version: its drop is unknown"
        return (too_low if config.floor is not None else None), note
    allowed = config.drop_allowed(metric, expected)
    return too_low or (allowed is not None and expected - value > max(allowed, noise)), None


def _noise(error: float | None, rows: int, of_holdout: float | None) -> float:
    """Return the drop that chance alone seldom brings, given the error of as many rows as the window has."""
    return _RARELY * (error or 0.0) * math.sqrt(1 + rows / of_holdout if of_holdout else 1.0)


def held_out_errors(reference: ReferenceRows, task: Task) -> npt.NDArray[np.float64] | None:
    """Return the absolute errors of a regression on its hold-out; None for other tasks, and if unknown."""
    if task.kind != "regression" or reference.held_out_labels is None:
        return None
    truth = task.labels(reference.held_out_labels).values.cast(pl.Float64).to_numpy()
    return task.losses(truth, task.answers_of_log(reference.scores, reference.answers))


def _usual_growth(errors: npt.NDArray[np.float64], labelled: pl.DataFrame, task: Task) -> float | None:
    """Return the share by which errors are greater than ``errors``; None if chance may bring that about.

    Errors beyond the greatest usual one of ``errors`` count as that one, so that no single row decides.
    """
    sides = [errors, task.losses(task.truth_of_log(labelled), task.given_in_log(labelled))]
    sides = [side[np.isfinite(side)] for side in sides]
    if min(map(len, sides)) < 2:
        return None
    most = float(np.quantile(sides[0], _USUAL))
    before, now = (np.minimum(side, most) for side in sides)
    chance = math.sqrt(before.var(ddof=1) / len(before) + now.var(ddof=1) / len(now))
    grown = float(now.mean() - before.mean())
    return grown / float(before.mean()) if grown > _RARELY * chance > 0 and before.mean() > 0 else None


def _measured(labelled: pl.DataFrame, task: Task) -> MeasuredQuality:
    answers = task.given_in_log(labelled)
    found = task.evaluate(task.truth_of_log(labelled), answers)
    metrics = {name: _finite(found[name]) for name in task.metrics}
    return MeasuredQuality(
        metrics=metrics,
        rows=labelled.height,
        base_rate=_finite(found.get("base_rate", found.get("mean_label"))),
        mean_score=_finite(labelled["score"].mean()),
        note=_why_not(labelled, answers) if None in metrics.values() else None,
    )


def _standard_error(labelled: pl.DataFrame, task: Task, overall: MeasuredQuality) -> float | None:
    """Return the standard error of the metric, by a bootstrap of the rows where no formula gives it."""
    if task.metric == "roc_auc":
        return _auc_error(overall)
    if overall.metrics[task.metric] is None:
        return None
    draw = np.random.default_rng(labelled.height)
    measure = task.measure(task.metric, task.truth_of_log(labelled), task.given_in_log(labelled))
    found = [
        measure(draw.poisson(1.0, (_AT_ONCE, labelled.height)).astype(np.float64))
        for _ in range(_RESAMPLES // _AT_ONCE)
    ]
    values = np.concatenate(found)
    values = values[np.isfinite(values)]
    return float(values.std(ddof=1)) if len(values) > 1 else None


def _auc_error(measured: MeasuredQuality) -> float | None:
    """Return the standard error of an area under the ROC curve (Hanley and McNeil, Radiology 143, 1982)."""
    auc, rate = measured.metrics["roc_auc"], measured.base_rate
    if auc is None or rate is None:
        return None
    ones = round(measured.rows * rate)
    others = measured.rows - ones
    variance = (
        auc * (1 - auc)
        + (ones - 1) * (auc / (2 - auc) - auc**2)
        + (others - 1) * (2 * auc**2 / (1 + auc) - auc**2)
    ) / (ones * others)
    return math.sqrt(max(variance, 0.0))


def _why_not(labelled: pl.DataFrame, answers: Answers) -> str | None:
    if labelled.is_empty():
        return "no labels"
    if answers.dtype != object and not np.isfinite(answers).all():
        return "a score is not a number"
    labels = pl.coalesce(pl.col("label").cast(pl.String), _column(labelled, "target"))
    values = labelled.select(labels.unique()).to_series().to_list()
    return f"all labels are {values[0]}: nothing to rank" if len(values) == 1 else None


def _column(rows: pl.DataFrame, name: str) -> pl.Series:
    return rows.get_column(name, default=pl.Series(name, [None] * rows.height, pl.String))


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
