"""Sums up a window's answers and those of the reference in a few numbers, for pictures over time. Pure."""

from typing import Any

import numpy as np
import polars as pl

from tidemill.monitoring.drift.answer_drift import categories_of
from tidemill.prediction_log.reading.window_sketch import ColumnSketch
from tidemill.tasks.task import Task
from tidemill.training.tracking.reference_rows import ReferenceRows

__all__ = ["known_quantiles", "quantiles_of", "summary_of"]

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_CLASSES = 8
_COMMON = 20
"""A class is named if so many rows have it: rare text may be about one person."""
_OTHER = "others"


def summary_of(task: Task, reference: ReferenceRows, own: pl.DataFrame) -> dict[str, Any]:
    """Return quantiles of the scores and shares of the classes, before and now, where there are some.

    Args:
        task: what is predicted.
        reference: what the answers are compared with.
        own: the version's predictions, with ``score`` and ``answer``.
    """
    now, before = quantiles_of(own["score"]), quantiles_of(reference.scores)
    found: dict[str, Any] = {"quantiles_now": now, "quantiles_before": before}
    sides = categories_of(task, reference.answers), categories_of(task, own["answer"])
    for name, classes in zip(("classes_before", "classes_now"), sides, strict=True):
        if classes is not None:
            found[name] = _shares(classes)
    return {name: each for name, each in found.items() if each}


def known_quantiles(reference: ReferenceRows, sketch: ColumnSketch | None) -> dict[str, Any]:
    """Return quantiles of the scores, those of the window by the blocks of its sketch."""
    now = None if sketch is None else quantiles_of(sketch.values["mean"], sketch.values["count"])
    found = {"quantiles_now": now, "quantiles_before": quantiles_of(reference.scores)}
    return {name: each for name, each in found.items() if each}


def quantiles_of(values: pl.Series, counts: pl.Series | None = None) -> dict[str, float] | None:
    """Return quantiles by their names; None where there is no number.

    Args:
        values: numbers.
        counts: how often there is each; default: once.

    >>> quantiles_of(pl.Series([1.0, 2.0, 3.0]))
    {'0.05': 1.0, '0.25': 1.0, '0.5': 2.0, '0.75': 3.0, '0.95': 3.0}
    >>> quantiles_of(pl.Series([1.0, 2.0]), pl.Series([1, 99]))["0.05"]
    2.0
    """
    numbers = values.cast(pl.Float64).to_numpy()
    weights = np.ones(len(numbers)) if counts is None else counts.cast(pl.Float64).to_numpy()
    known = np.isfinite(numbers) & (weights > 0)
    if not known.any():
        return None
    order = np.argsort(numbers[known], kind="stable")
    reached = np.cumsum(weights[known][order])
    places = np.searchsorted(reached, np.array(_QUANTILES) * reached[-1])
    found = numbers[known][order][places]
    return {f"{share:g}": float(value) for share, value in zip(_QUANTILES, found, strict=True)}


def _shares(classes: pl.Series) -> dict[str, float]:
    """Return the shares of the most frequent classes, and of all others together."""
    counts = classes.value_counts(sort=True)
    named = {name: count for name, count in counts.head(_CLASSES).iter_rows() if count >= _COMMON}
    rest = len(classes) - sum(named.values())
    shares = {str(name): count / len(classes) for name, count in sorted(named.items())}
    return shares | ({_OTHER: rest / len(classes)} if rest else {})
