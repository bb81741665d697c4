"""Measures the drift of a version's answers from those on its reference, by task."""

from dataclasses import replace

import polars as pl

from tidemill.monitoring.drift.drift_columns import Comparison, compare_categories, compare_scores
from tidemill.monitoring.monitor_config import PredictionDriftConfig
from tidemill.tasks.task import Task
from tidemill.training.tracking.reference_rows import ReferenceRows

__all__ = ["categories_of", "compare_answers"]


def compare_answers(
    comparison: Comparison,
    task: Task,
    config: PredictionDriftConfig,
    reference: ReferenceRows,
    own: pl.DataFrame,
) -> Comparison:
    """Return a comparison with the drift of the scores, and of the predicted classes where there are some.

    Args:
        comparison: of the features.
        task: what is predicted.
        config: thresholds.
        reference: of the version; one of an earlier release has no answers, only scores.
        own: the version's predictions in the window, with ``score`` and ``answer``.
    """
    before, now = categories_of(task, reference.answers), categories_of(task, own["answer"])
    scores = None
    if _has_numbers(reference.scores) or _has_numbers(own["score"]):
        scores = compare_scores(reference.scores, own["score"], config.threshold)
    classes = None
    if before is not None and now is not None:
        classes = compare_categories(before, now, config.categorical)
    return replace(comparison, prediction=scores, categories=classes)


def categories_of(task: Task, answers: pl.Series | None) -> pl.Series | None:
    """Return the category of each logged answer as text; None where answers are no categories."""
    if answers is None or answers.null_count() == len(answers):
        return None
    known = answers.drop_nulls()
    return task.categories(task.answers_of_log(pl.Series([None] * len(known), dtype=pl.Float64), known))


def _has_numbers(scores: pl.Series) -> bool:
    return bool(scores.is_finite().any())
