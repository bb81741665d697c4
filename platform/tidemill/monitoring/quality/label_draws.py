"""Draws the labels that rows may have, from what a reference with labels says of the model's answers. Pure.

For classes, the model's probabilities are calibrated on the reference (beta calibration: Kull, Silva Filho
and Flach, AISTATS 2017; of several classes each against the rest), and labels are drawn by them: the mean of
a metric is then that of confidence-based performance estimation (CBPE). For numbers, a second model learns
from features and answers how wide the errors are, and each row gets the error of a row of the reference with
a similar width, in proportion to the two; it stands in for direct loss estimation (DLE), for any metric.

Each draw resamples the reference, too, so that the spread of the draws holds both uncertainties: that of the
labels, and that of the calibration. The model of the errors is one of several, each of which learns from a
sample of the reference and gives widths to the rows outside of it (bagging: Breiman, Machine Learning 24,
1996). That they differ is most of what is not known of rows that have moved.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.monitoring.drift.feature_matrices import feature_matrices
from tidemill.threads import one_thread_to_compute

__all__ = ["ERROR_MODELS", "ErrorModels", "as_classes", "calibrated", "draw_chances", "draw_classes"]

Floats = npt.NDArray[np.float64]

_TINY = 1e-6
_STEPS, _LATER_STEPS = 25, 3
_RIDGE = 1.0  # rows' worth of belief that the probabilities are calibrated already
ERROR_MODELS = 8
"""How many models of the errors of numbers there are."""
_LEAST_WIDTH = 0.05  # of the median error: the width of a row whose error is next to nothing
_PART = 40  # an error is drawn from as large a part of the reference, on each side


def as_classes(answers: Floats) -> Floats:
    """Return probabilities of each class, shape (rows, classes); of two classes both."""
    return answers if answers.ndim == 2 else np.column_stack([1 - answers, answers])


def draw_classes(
    reference: Floats, truth: npt.NDArray[np.int64], window: Floats, draws: int, rng: np.random.Generator
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield, ``draws`` times, a number of a class for each row of the window, shape (rows,).

    Args:
        reference: probability of each class, shape (rows, classes), for rows the model was not fitted on.
        truth: number of the class of these rows.
        window: probability of each class, shape (rows, classes).
        draws: how many.
        rng: chance.
    """
    for chances in draw_chances(reference, truth, window, draws, rng):
        sums = np.cumsum(chances, axis=1)
        yield (rng.random((len(sums), 1)) * sums[:, -1:] > sums).sum(axis=1)


def draw_chances(
    reference: Floats,
    truth: npt.NDArray[np.int64],
    window: Floats,
    draws: int,
    rng: np.random.Generator,
    blocks: int | None = None,
) -> Iterator[Floats]:
    """Yield, ``draws`` times, how often each class comes true for such answers, shape (rows, classes).

    Args:
        reference: probability of each class, shape (rows, classes), for rows the model was not fitted on.
        truth: number of the class of these rows.
        window: probability of each class, shape (rows, classes).
        draws: how many samples of the reference are taken.
        rng: chance.
        blocks: how many parts, in the reference's order, are drawn whole; None: single rows.
    """
    classes = reference.shape[1]
    judged = range(1, 2) if classes == 2 else range(classes)  # of two classes one says all
    before, now = [_evidence(reference[:, k]) for k in judged], [_evidence(window[:, k]) for k in judged]
    is_true = [(truth == k).astype(np.float64) for k in judged]
    every = np.ones(len(truth))
    parts = len(truth) if blocks is None else blocks
    part = np.arange(len(truth)) * parts // len(truth)
    fitted = [_fitted(x, y, every, _START, _STEPS) for x, y in zip(before, is_true, strict=True)]
    for _ in range(draws):
        weights = np.bincount(rng.integers(parts, size=parts), minlength=parts).astype(float)[part]
        found = []
        for x, y, start, shown in zip(before, is_true, fitted, now, strict=True):
            found.append(_sigmoid(shown @ _fitted(x, y, weights, start, _LATER_STEPS)))
        yield np.column_stack([1 - found[0], found[0]] if classes == 2 else found)


def calibrated(reference: Floats, truth: npt.NDArray[np.int64], window: Floats) -> Floats:
    """Return how often such scores come true, by rows whose labels are known, shape (rows,).

    Args:
        reference: probabilities of the second of two classes, shape (rows,).
        truth: number of the class of these rows.
        window: probabilities as the model gives them.

    >>> truth = np.random.default_rng(0).random(5000) < 0.9
    >>> [round(float(each), 1) for each in calibrated(np.full(5000, 0.6), truth, np.array([0.6]))]
    [0.9]
    """
    fitted = _fitted(_evidence(reference), truth.astype(np.float64), np.ones(len(truth)), _START, _STEPS)
    return _sigmoid(_evidence(window) @ fitted)


class _ErrorModel(NamedTuple):
    """One model of the errors, and the rows of the reference that it did not learn from."""

    model: Any
    errors: Floats
    """Of these rows, in units of their widths, in the order of these."""
    widths: Floats


class ErrorModels:
    """What a reference says of the errors of numbers: models of how wide they are, each fitted once."""

    def __init__(self, features: pl.DataFrame, truth: Floats, answers: Floats) -> None:
        """Take the reference.

        Args:
            features: of rows that the model was not fitted on.
            truth: labels of these rows.
            answers: what the model said of them.
        """
        self._features, self._answers, self._errors = features, answers, truth - answers
        self._sizes = np.abs(self._errors)
        self._least = max(_LEAST_WIDTH * float(np.median(self._sizes)), np.finfo(np.float64).tiny)
        self._fitted: dict[object, list[_ErrorModel]] = {}
        """By the columns that the features were made."""

    def draw(
        self, window: pl.DataFrame, window_answers: Floats, draws: int, rng: np.random.Generator
    ) -> Iterator[Floats]:
        """Yield, ``draws`` times, a label for each row of the window, shape (rows,).

        Args:
            window: features, with the reference's columns.
            window_answers: what the model said.
            draws: how many.
            rng: chance.
        """
        coded = feature_matrices(self._features, window)
        of_answers = self._answers[:, None], window_answers[:, None]
        sides = zip((coded.before, coded.now), of_answers, strict=True)
        before, now = (np.hstack(side) for side in sides) if coded.names else of_answers
        fitted = self._fitted.setdefault((coded.names, coded.categories), [])
        for number in range(ERROR_MODELS):
            if number == len(fitted):
                fitted.append(self._fit(before, list(coded.categories), rng))
            model, errors, widths = fitted[number]
            wanted = self._widths(model, now)
            drawn = _resampled(errors, widths, wanted, rng)
            for _ in range(number, draws, ERROR_MODELS):
                yield window_answers + wanted * next(drawn)

    def _fit(self, rows: Floats, categories: list[int], rng: np.random.Generator) -> _ErrorModel:
        from sklearn.ensemble import HistGradientBoostingRegressor  # it takes a second to import

        model = HistGradientBoostingRegressor(
            max_iter=60, learning_rate=0.07, categorical_features=categories, random_state=0
        )
        sample = rng.integers(len(rows), size=len(rows))
        outside = np.setdiff1d(np.arange(len(rows)), sample)
        with one_thread_to_compute():
            drawn = rows[sample]  # its binning takes no column without a value
            model.fit(np.where(np.isnan(drawn).all(axis=0), 0.0, drawn), self._sizes[sample])
        widths = self._widths(model, rows[outside])
        order = np.argsort(widths)
        return _ErrorModel(model, self._errors[outside][order] / widths[order], widths[order])

    def _widths(self, model: Any, rows: Floats) -> Floats:
        with one_thread_to_compute():
            return np.maximum(np.asarray(model.predict(rows), dtype=np.float64), self._least)


def _resampled(errors: Floats, widths: Floats, wanted: Floats, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield errors in units of their widths, each drawn from rows whose width is near a wanted one.

    Args:
        errors: in units of their widths, in order of these.
        widths: in order.
        wanted: the width of each row of the window.
        rng: chance.
    """
    rows, near = len(errors), max(len(errors) // _PART, 1)
    while True:
        sample = np.sort(rng.integers(rows, size=rows))
        middle = np.searchsorted(widths[sample], wanted)
        middle = np.clip(middle, min(near, rows // 2), max(rows - 1 - near, rows // 2))
        place = np.clip(middle + rng.integers(-near, near + 1, size=len(wanted)), 0, rows - 1)
        yield errors[sample[place]]


_START = np.array([1.0, 1.0, 0.0])
"""Beta calibration that changes nothing."""


def _evidence(probability: Floats) -> Floats:
    """Return ln p, -ln (1 - p) and 1, shape (rows, 3), column by column in memory, as sums go over rows."""
    clipped = np.clip(probability, _TINY, 1 - _TINY)
    return np.stack([np.log(clipped), -np.log1p(-clipped), np.ones(len(clipped))]).T


def _fitted(x: Floats, y: Floats, weights: Floats, start: Floats, steps: int) -> Floats:
    """Return the coefficients of a logistic regression, near `_START`, by Newton's method."""
    found = start
    for _ in range(steps):
        chance = _sigmoid(x @ found)
        slope = x.T @ (weights * (y - chance)) - _RIDGE * (found - _START)
        bend = (x.T * (weights * chance * (1 - chance))) @ x + _RIDGE * np.eye(3)
        step = np.clip(np.linalg.solve(bend, slope), -2, 2)
        found = found + step
        if np.abs(step).max() < 1e-6:
            break
    return found


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -500, 500))), dtype=np.float64)
