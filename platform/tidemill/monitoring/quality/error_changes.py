"""Finds changes of a model's errors: since when they are larger, and whether features explain them. Pure.

The first is Page's cumulative sum (E. S. Page, Biometrika 41, 1954; Hinkley, Biometrika 58, 1971) of losses
in units of their spread on the hold-out. What chance brings is measured by drawing as many losses from the
hold-out. The second fits a model to the window's own errors, in parts that follow each other, and asks of
each part whether the model that learnt from the others says more about its errors than one that learnt from
the hold-out: that one knows what the version never got right.

Rows of one day resemble each other, so noise is measured on blocks of rows that follow each other.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tidemill.threads import one_thread_to_compute

__all__ = ["ErrorRise", "Explained", "clustering", "error_rise", "explained_errors", "foretold_errors"]

Floats = npt.NDArray[np.float64]

_DRAWS = 100
_BLOCKS = 20
_RARELY = 3.7
"""Standard deviations that the maximum of a sum exceeds once in two hundred windows (Gumbel)."""
_RARELY_T = 2.86
"""What Student's t with 19 degrees of freedom exceeds once in two hundred windows."""
_SLACK = 0.05
"""Rises of less than this, in standard deviations of a loss, do not add up."""
_FOLDS = 4
_LEAST_AFTER = 30


class ErrorRise(NamedTuple):
    """The losses of a window beside those on the hold-out."""

    before: float
    """Mean loss on the hold-out; the largest hundredth of its losses counts as the least of them."""
    after: float
    """Mean loss in the window, since the change."""
    since: int
    """Place of the first row after the change."""
    statistic: float
    limit: float
    """What chance seldom brings the statistic to."""

    @property
    def share(self) -> float:
        """Return by which share of that on the hold-out the loss is larger."""
        return self.after / self.before - 1 if self.before else math.inf

    @property
    def significant(self) -> bool:
        """Return whether chance seldom brings such a rise."""
        return self.statistic > self.limit


def error_rise(holdout: Floats, window: Floats) -> ErrorRise:
    """Return the rise of losses since the change that is most likely.

    Args:
        holdout: losses, shape (rows,).
        window: losses in the order of time.

    >>> draw = np.random.default_rng(0)
    >>> calm, then = draw.exponential(1.0, 900), draw.exponential(1.5, 400)
    >>> found = error_rise(draw.exponential(1.0, 2000), np.concatenate([calm, then]))
    >>> found.significant, abs(found.since - 900) < 100
    (True, True)
    """
    most = float(np.quantile(holdout, 0.99))
    holdout, window = np.minimum(holdout, most), np.minimum(window, most)
    mean = float(holdout.mean())
    spread = float(holdout.std()) or abs(mean) or 1.0
    steps = (window - mean) / spread
    drift, end = _page_hinkley(steps)
    rng = np.random.default_rng(len(window))
    noise = clustering(window)
    drawn = []
    for _ in range(_DRAWS):
        like = holdout[rng.integers(len(holdout), size=len(holdout))]  # the hold-out is a sample, too
        chance = (like[rng.integers(len(like), size=len(window))] - mean) / spread
        drawn.append(_page_hinkley(chance * noise)[0])
    limit = float(np.mean(drawn) + _RARELY * np.std(drawn, ddof=1))
    start = _change(steps[:end])
    return ErrorRise(mean, float(window[start:end].mean()), start, drift, limit)


def _page_hinkley(steps: Floats) -> tuple[float, int]:
    """Return the largest rise of the cumulative sum, and where it was reached."""
    sums = np.concatenate([[0.0], np.cumsum(steps - _SLACK)])
    rises = sums - np.minimum.accumulate(sums)
    end = int(rises.argmax())
    return float(rises[end]), max(end, 1)


def _change(steps: Floats) -> int:
    """Return from which row on the mean is most likely another than 0, as it is until then."""
    after = np.cumsum(steps[::-1])[::-1]
    rows = np.arange(len(steps), 0, -1)
    likely = np.where(after > 0, after**2 / rows, 0.0)[: max(len(steps) - _LEAST_AFTER, 0) + 1]
    return int(likely.argmax())


def clustering(values: Floats) -> float:
    """Return how many times larger sums' noise is than of independent rows; 1 or more.

    Both are taken from differences of neighbours, which a step between them hardly moves.
    """
    length = len(values) // _BLOCKS
    if length < 2:
        return 1.0
    means = values[: length * _BLOCKS].reshape(_BLOCKS, length).mean(axis=1)
    alone, together = np.mean(np.diff(values) ** 2), np.mean(np.diff(means) ** 2) * length
    return math.sqrt(max(1.0, together / alone)) if alone else 1.0


class Explained(NamedTuple):
    """How much of the errors a model of the features explains that was fitted on the window."""

    share: float
    """Of the errors' squares that a model fitted on the hold-out leaves."""
    t: float

    @property
    def significant(self) -> bool:
        """Return whether chance seldom brings that."""
        return self.t > _RARELY_T


def foretold_errors(holdout: Floats, errors: Floats, window: Floats, categories: list[int]) -> Floats:
    """Return what a model that learnt from the hold-out's errors says of the window's, shape (rows, answers).

    Args:
        holdout: features and answers as numbers, shape (rows, columns).
        errors: of the hold-out, label minus answer, shape (rows, answers): of classes one a class.
        window: features and answers of the window.
        categories: places of the columns that are categories.
    """
    with one_thread_to_compute():
        said = [
            _fitted(holdout, errors[:, one], categories).predict(window) for one in range(errors.shape[1])
        ]
    return np.column_stack(said)


def explained_errors(window: Floats, errors: Floats, foretold: Floats, categories: list[int]) -> Explained:
    """Return how much better the window's errors are foretold by its own rows than by the hold-out's.

    Args:
        window: features and answers as numbers, in the order of time, shape (rows, columns).
        errors: of the window, label minus answer, shape (rows, answers).
        foretold: what `foretold_errors` returned for these rows.
        categories: places of the columns that are categories.
    """
    rows = len(window)
    blocks = np.arange(rows) * _BLOCKS // rows
    gain, left = np.zeros(rows), np.zeros(rows)
    with one_thread_to_compute():
        for answer in range(errors.shape[1]):
            known, own = foretold[:, answer], np.zeros(rows)
            for fold in range(_FOLDS):
                apart = blocks % _FOLDS == fold
                model = _fitted(window[~apart], errors[~apart, answer], categories)
                own[apart] = model.predict(window[apart])
            left += (errors[:, answer] - known) ** 2
            gain += (errors[:, answer] - known) ** 2 - (errors[:, answer] - own) ** 2
    means = np.array([gain[blocks == block].mean() for block in range(_BLOCKS)])
    spread = float(means.std(ddof=1)) / math.sqrt(_BLOCKS)
    total = float(left.mean())
    return Explained(
        float(gain.mean()) / total if total else 0.0, float(means.mean()) / spread if spread else 0.0
    )


def _fitted(rows: Floats, errors: Floats, categories: list[int]) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor  # it takes a second to import

    model = HistGradientBoostingRegressor(
        max_iter=40, learning_rate=0.1, max_leaf_nodes=15, min_samples_leaf=30,
        l2_regularization=5.0, categorical_features=categories, random_state=0,
    )  # fmt: skip
    return model.fit(np.where(np.isnan(rows).all(axis=0), 0.0, rows), errors)  # it takes no empty column
