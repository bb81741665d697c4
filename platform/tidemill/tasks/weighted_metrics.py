"""Compute metrics under many weightings of the same rows at once, for bootstraps and for single values.

Each function takes the truth and the answers, and returns a `Measure`. They are equal to scikit-learn's
metrics with ``sample_weight``; rows are sorted once, not once a resample. A metric is NaN where it is
undefined.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = [
    "Floats",
    "Measure",
    "average_precision",
    "classification_cost",
    "f1",
    "mean_of",
    "mean_of_known",
    "r_squared",
    "recall_at_precision",
    "roc_auc",
    "roc_auc_one_against_rest",
    "root_mean_of",
    "weighted_median_of",
]

Floats = npt.NDArray[np.float64]

Measure = Callable[[Floats], Floats]
"""Takes weights, shape (resamples, rows); returns the metric under each, shape (resamples,)."""


def mean_of(values: Floats) -> Measure:
    """Return the measure of a mean over rows.

    >>> mean_of(np.array([1.0, 3.0]))(np.array([[1.0, 1.0], [0.0, 1.0]])).tolist()
    [2.0, 3.0]
    """
    return lambda weights: _divided(weights @ values, weights.sum(axis=1))


def mean_of_known(values: Floats) -> Measure:
    """Return the measure of a mean over the rows whose value is not NaN.

    >>> mean_of_known(np.array([1.0, np.nan, 3.0]))(np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 0.0]])).tolist()
    [2.0, nan]
    """
    known = ~np.isnan(values)
    mean = mean_of(values[known])
    return lambda weights: mean(weights[:, known])


def root_mean_of(squares: Floats) -> Measure:
    """Return the measure of minus the root of a mean over rows: the negative RMSE."""
    mean = mean_of(squares)
    return lambda weights: -np.sqrt(mean(weights))


def weighted_median_of(values: Floats) -> Measure:
    """Return the measure of minus the median over rows (the lower one, where two are in the middle)."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]

    def measure(weights: Floats) -> Floats:
        passed = np.cumsum(weights[:, order], axis=1)
        middle = (passed >= passed[:, -1:] / 2).argmax(axis=1)
        return np.asarray(-ranked[middle], dtype=np.float64)

    return measure


def r_squared(truth: Floats, answers: Floats) -> Measure:
    """Return the measure of the coefficient of determination."""
    errors, centred = (truth - answers) ** 2, truth - truth.mean()  # squares of large values lose digits
    squares = centred**2

    def measure(weights: Floats) -> Floats:
        total = weights.sum(axis=1)
        mean = _divided(weights @ centred, total)
        variance = _divided(weights @ squares, total) - mean**2
        return 1 - _divided(_divided(weights @ errors, total), np.where(variance > 1e-300, variance, 0.0))

    return measure


def roc_auc(truth: Floats, scores: Floats) -> Measure:
    """Return the measure of the area under the ROC curve.

    Args:
        truth: 0 or 1, shape (rows,).
        scores: higher for 1, shape (rows,).
    """

    def area(hits: Floats, misses: Floats) -> Floats:
        above = np.cumsum(hits, axis=1) - hits / 2  # positives ranked above; ties count half
        return _divided((misses * above).sum(axis=1), misses.sum(axis=1) * hits.sum(axis=1))

    return _ranking(truth, scores, area)


def average_precision(truth: Floats, scores: Floats) -> Measure:
    """Return the measure of the average precision; arguments of `roc_auc`."""

    def average(hits: Floats, misses: Floats) -> Floats:
        found = np.cumsum(hits, axis=1)
        value = _divided((_precision(hits, misses) * hits).sum(axis=1), found[:, -1])
        return np.where(misses.sum(axis=1) > 0, value, np.nan)  # with one class only there is no order

    return _ranking(truth, scores, average)


def recall_at_precision(truth: Floats, scores: Floats, precision: float) -> Measure:
    """Return the measure of the greatest recall of any threshold with at least that precision; 0 if none."""

    def best(hits: Floats, misses: Floats) -> Floats:
        found = np.cumsum(hits, axis=1)
        recall = _divided(found, found[:, -1:])
        enough = _precision(hits, misses) >= precision
        reached = np.where(enough, recall, 0.0).max(axis=1)
        return np.where(found[:, -1] > 0, reached, np.nan)

    return _ranking(truth, scores, best)


def f1(truth: Floats, chosen: Floats, classes: int, average: str) -> Measure:
    """Return the measure of F1.

    Args:
        truth: number of the true class, shape (rows,).
        chosen: number of the chosen class, shape (rows,).
        classes: how many there are.
        average: ``binary`` (of class 1), ``macro`` (classes equal) or ``weighted`` (by their rows). Classes
            that are neither true nor chosen anywhere do not count.
    """
    is_true = [truth == number for number in range(classes)]
    is_chosen = [chosen == number for number in range(classes)]

    def measure(weights: Floats) -> Floats:
        of_class, supports, present = [], [], []
        for true, choice in zip(is_true, is_chosen, strict=True):
            support, given = weights @ true, weights @ choice
            both = support + given
            of_class.append(np.where(both > 0, _divided(2 * (weights @ (true & choice)), both), 0.0))
            supports.append(support)
            present.append(both > 0)
        scores, support = np.array(of_class), np.array(supports)
        if average == "binary":
            return np.asarray(scores[1], dtype=np.float64)
        counted = support if average == "weighted" else np.array(present, dtype=np.float64)
        return _divided((scores * counted).sum(axis=0), counted.sum(axis=0))

    return measure


def roc_auc_one_against_rest(truth: Floats, probabilities: Floats) -> Measure:
    """Return the measure of the mean over classes of the area under the ROC curve of each against the rest.

    Args:
        truth: number of the true class, shape (rows,).
        probabilities: shape (rows, classes). Classes without a row, or with all, do not count.
    """
    areas = [
        roc_auc((truth == number).astype(np.float64), probabilities[:, number])
        for number in range(probabilities.shape[1])
    ]

    def measure(weights: Floats) -> Floats:
        found = np.array([area(weights) for area in areas])
        known = np.isfinite(found)
        return _divided(np.where(known, found, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64))

    return measure


def classification_cost(truth: Floats, probabilities: Floats, costs: Floats) -> Measure:
    """Return the measure of minus the mean cost, where each decision is the one with least expected cost.

    Args:
        truth: number of the true class, shape (rows,).
        probabilities: shape (rows, classes).
        costs: what deciding for the column costs where the row is true, shape (classes, classes).
    """
    decided = (probabilities @ costs).argmin(axis=1)
    return mean_of(-costs[truth.astype(np.int64), decided])


def _ranking(truth: Floats, scores: Floats, value: Callable[[Floats, Floats], Floats]) -> Measure:
    order = np.argsort(-scores, kind="stable")
    ranked, positive = scores[order], truth[order]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(ranked)) + 1])

    def measure(weights: Floats) -> Floats:
        ordered = weights[:, order]
        hits = np.add.reduceat(ordered * positive, starts, axis=1)
        misses = np.add.reduceat(ordered * (1 - positive), starts, axis=1)
        return value(hits, misses)

    return measure


def _precision(hits: Floats, misses: Floats) -> Floats:
    found = np.cumsum(hits, axis=1)
    seen = found + np.cumsum(misses, axis=1)
    return np.divide(found, seen, out=np.zeros_like(found), where=seen > 0)


def _divided(above: Floats, below: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample may lack a class: NaN, left out
        return np.asarray(np.where(below == 0, np.nan, above / below), dtype=np.float64)
