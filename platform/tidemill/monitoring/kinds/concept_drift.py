"""Judges whether labels depend on the rows in another way than in training, and since when.

Two signs, each enough: errors have become larger (from a moment of the window on), and the window's errors
can be foretold from the features by a model that has seen other rows of the window. The second finds a change
that leaves the size of the errors as it was.
"""

from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.monitoring.drift.feature_matrices import feature_matrices
from tidemill.monitoring.example_predictions import error_of, worst_ids
from tidemill.monitoring.findings import Finding, Judged
from tidemill.monitoring.kind_sections import ConceptDriftConfig
from tidemill.monitoring.quality.error_changes import ErrorRise, Explained, error_rise, explained_errors
from tidemill.monitoring.quality.held_out import LEAST, HeldOut
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.prediction_log.prediction_log import features_of
from tidemill.tasks.task import Answers, Task

__all__ = ["judge"]

Floats = npt.NDArray[np.float64]
_MOST_ROWS = 20_000
_MOST_CLASSES = 5


def judge(window: WindowRows, config: ConceptDriftConfig) -> Judged:
    """Compare the errors of labelled rows with those on the version's hold-out."""
    task = window.task
    rows = window.labelled.sort("at", "prediction_id")
    rows = rows.filter(pl.Series(np.isfinite(task.truth_of_log(rows)) & task.sound(task.given_in_log(rows))))
    if rows.height < window.monitor.min_labelled:
        return Judged(unjudged=f"{rows.height} labels, {window.monitor.min_labelled} are needed")
    features = features_of(rows)
    known = HeldOut.of(window.reference, task, features.columns)
    if known is None:
        return Judged(unjudged=f"{LEAST} held-out rows with labels are needed, of a version of this release")
    truth, answers = task.truth_of_log(rows), task.given_in_log(rows)
    rise = error_rise(task.losses(known.truth, known.answers), task.losses(truth, answers))
    explained = _explained(task, known, features, truth, answers)
    since = rows["at"][rise.since]
    said = []
    if rise.significant and rise.share >= config.max_rise:
        said.append(
            f"errors are {rise.share:.0%} larger since {since:%Y-%m-%d %H:%M} UTC (mean loss "
            f"{rise.after:.4g}, {rise.before:.4g} on the hold-out; allowed: {config.max_rise:.0%})"
        )
    if explained.significant and explained.share >= config.explained:
        said.append(
            f"the window's own labels explain {explained.share:.0%} of what the errors vary "
            f"(alert at {config.explained:.0%}): the same rows have other labels than in training"
        )
    details = _results(rise, explained, since, rows.height)
    odd = error_of(rows) if said else None
    return Judged(
        found=(Finding("concept_drift", "; ".join(said), details),) if said else (),
        results={"concept_drift": {**details, "max_rise": config.max_rise, "alert_at": config.explained}},
        said=_said(rise, explained, config),
        examples={"concept_drift": worst_ids(rows["prediction_id"], odd)},
    )


def _explained(
    task: Task, known: HeldOut, features: pl.DataFrame, truth: Floats, answers: Answers
) -> Explained:
    features = features.select(known.features.columns)
    places = np.arange(features.height)
    if features.height > _MOST_ROWS:
        places = np.sort(np.random.default_rng(0).permutation(features.height)[:_MOST_ROWS])
    features, truth, answers = features[places], truth[places], answers[places]
    coded = feature_matrices(known.features, features, detailed=True)
    before = np.column_stack([coded.before, _numbers(known.answers)])
    now = np.column_stack([coded.now, _numbers(answers)])
    chosen = _classes(truth) if answers.ndim == 2 else None
    errors = [_errors(*pair, chosen) for pair in ((known.truth, known.answers), (truth, answers))]
    return explained_errors(before, errors[0], now, errors[1], list(coded.categories))


def _numbers(answers: Answers) -> Floats:
    return answers.max(axis=1) if answers.ndim == 2 else answers


def _classes(truth: Floats) -> npt.NDArray[np.int64]:
    """Return the numbers of the most frequent classes."""
    values, counts = np.unique(truth.astype(np.int64), return_counts=True)
    return values[np.argsort(-counts)][:_MOST_CLASSES]


def _errors(truth: Floats, answers: Answers, classes: npt.NDArray[np.int64] | None) -> Floats:
    if classes is None:
        return (truth - answers)[:, None]
    return np.asarray((truth[:, None] == classes) - answers[:, classes], dtype=np.float64)


def _results(rise: ErrorRise, explained: Explained, since: datetime, rows: int) -> dict[str, Any]:
    return {
        "rows": rows,
        "loss": rise.after,
        "loss_on_holdout": rise.before,
        "rise": rise.share if np.isfinite(rise.share) else None,
        "since": since.isoformat() if rise.significant else None,
        "statistic": rise.statistic,
        "chance": rise.limit,
        "explained": explained.share,
        "explained_t": explained.t,
    }


def _said(rise: ErrorRise, explained: Explained, config: ConceptDriftConfig) -> str:
    chance = "" if rise.significant else ", within chance"
    noise = "" if explained.significant else ", within chance"
    return (
        f"errors at most {max(rise.share, 0.0):.1%} larger than on the hold-out{chance}, alert at "
        f"{config.max_rise:.0%}; explained by the window's labels: {max(explained.share, 0.0):.1%}{noise}, "
        f"alert at {config.explained:.0%}"
    )
