"""Measures the drift of a version's answers from those on its reference, by task."""

import json
from dataclasses import replace

import polars as pl

from tidemill.monitoring.drift.drift_columns import (
    Comparison,
    compare_categories,
    compare_lists,
    compare_scores,
)
from tidemill.monitoring.kind_sections import PredictionDriftConfig
from tidemill.tasks.task import Task
from tidemill.training.tracking.reference_rows import ReferenceRows

__all__ = ["categories_of", "compare_answers", "values_of"]


def compare_answers(
    comparison: Comparison,
    task: Task,
    config: PredictionDriftConfig,
    reference: ReferenceRows,
    own: pl.DataFrame,
) -> Comparison:
    """Return a comparison with the drift of the scores, and of the predicted classes where there are some.

    Answers that are lists of numbers are compared as lists (`list_values`); of objects of numbers, such as
    quantiles by name, the values in the order of the names are.

    Args:
        comparison: of the features.
        task: what is predicted.
        config: thresholds.
        reference: of the version; one of an earlier release has no answers, only scores.
        own: the version's predictions in the window, with ``score`` and ``answer``.
    """
    before, now = categories_of(task, reference.answers), categories_of(task, own["answer"])
    scores, classes = None, None
    if _has_numbers(reference.scores) or _has_numbers(own["score"]):
        scores = compare_scores(reference.scores, own["score"], config.threshold)
    elif before is None and (lists := _as_lists(reference.answers)) is not None:
        scores = compare_lists(lists, _as_lists(own["answer"]), config.threshold)
    if before is not None and now is not None:
        classes = compare_categories(before, now, config.categorical)
    return replace(comparison, prediction=scores, categories=classes)


def values_of(scores: pl.Series, answers: pl.Series | None) -> pl.Series:
    """Return the scores; of answers without scores that are lists or objects of numbers, the lists."""
    lists = None if _has_numbers(scores) else _as_lists(answers)
    return scores if lists is None else lists


def categories_of(task: Task, answers: pl.Series | None) -> pl.Series | None:
    """Return the category of each logged answer as text; None where answers are no categories."""
    if answers is None or answers.null_count() == len(answers):
        return None
    known = answers.drop_nulls()
    return task.categories(task.answers_of_log(pl.Series([None] * len(known), dtype=pl.Float64), known))


def _as_lists(answers: pl.Series | None) -> pl.Series | None:
    """Return the logged answers that are lists or objects of numbers, as lists; None if there are none."""
    if answers is None:
        return None
    found = [_numbers(json.loads(text)) if text else None for text in answers]
    return pl.Series("answer", found, pl.List(pl.Float64)) if any(found) else None


def _numbers(answer: object) -> list[float] | None:
    values = [answer[name] for name in sorted(answer)] if isinstance(answer, dict) else answer
    if not isinstance(values, list) or not all(isinstance(one, int | float) for one in values):
        return None
    return [float(one) for one in values]


def _has_numbers(scores: pl.Series) -> bool:
    return bool(scores.is_finite().any())
