"""Compute the confidence interval of a metric or a gain by a bootstrap over days, vectorised."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tidemill.tasks.task import Answers, Task

__all__ = ["LASTING_DAYS", "Interval", "gain_interval", "lasting_gain", "mean_interval", "metric_interval"]

_RESAMPLES = 400
_CHUNK = 4_000_000  # weights at once: 32 MB
_FEW_BLOCKS = 7
LASTING_DAYS = 30
"""The days to come that `lasting_gain` is about."""


@dataclass(frozen=True)
class Interval:
    """The 90 % confidence interval of a metric, or of a gain in it."""

    low: float
    high: float


def gain_interval(
    task: Task,
    truth: npt.ArrayLike,
    candidate: Answers,
    champion: Answers,
    blocks: npt.ArrayLike,
    seed: int = 0,
) -> Interval | None:
    """Return the 90 % confidence interval of the candidate's gain over the champion.

    Both score the same resampled rows, so what is hard for both cancels out. Whole blocks (days) are drawn,
    since the rows of a day have much in common; with fewer than seven blocks single rows are.

    Args:
        task: its ``metric`` is what is gained.
        truth: labels as the task means them, shape (rows,).
        candidate: its answers, one a row.
        champion: its answers, one a row.
        blocks: the block of each row, shape (rows,), any sortable values.
        seed: the same seed brings the same interval.

    Returns:
        None if the metric is undefined on these rows.

    >>> from tidemill.tasks.binary import Binary
    >>> truth, days = np.tile([0, 1], 500), np.arange(1000) // 100
    >>> interval = gain_interval(Binary("roc_auc"), truth, truth * 0.5, np.full(1000, 0.5), days)
    >>> interval.low, interval.high
    (0.5, 0.5)
    """
    known = np.asarray(truth)
    if not len(known):
        return None
    mine, theirs = (task.measure(task.metric, known, answers) for answers in (candidate, champion))
    return _ends([mine(weights) - theirs(weights) for weights in _resamples(len(known), blocks, seed)])


def lasting_gain(
    task: Task,
    truth: npt.ArrayLike,
    candidate: Answers,
    champion: Answers,
    days: npt.ArrayLike,
    seed: int = 0,
) -> float | None:
    """Return what the gain of the 30 days to come exceeds in 19 of 20 cases, if the world stays as it is.

    `gain_interval` is about the mean gain, which no month shows: what the days to come show has noise of its
    own beside that of the days looked at. For n days it is that of the mean times the root of 1 + n / 30, the
    variance of a prediction. Runs of days are drawn, as each day resembles the next one, the cube root of n
    long, and at least seven of them; the bound is Student's for so few.

    Args:
        task: its ``metric`` is what is gained.
        truth: labels as the task means them, shape (rows,).
        candidate: its answers, one a row.
        champion: its answers, one a row.
        days: the day of each row, shape (rows,), any sortable values.
        seed: the same seed brings the same bound.

    Returns:
        None with fewer than seven days, or if the metric is undefined on these rows.

    >>> from tidemill.tasks.binary import Binary
    >>> draw, days = np.random.default_rng(0), np.arange(1400) // 100
    >>> truth, noise = np.tile([0, 1], 700), draw.normal(size=(2, 1400))
    >>> mine, theirs = truth + noise[0], truth + 1.3 * noise[1]
    >>> bound, low = lasting_gain(task := Binary("roc_auc"), truth, mine, theirs, days), gain_interval(
    ...     task, truth, mine, theirs, days).low
    >>> 0 < bound < low
    True
    """
    from scipy.special import stdtrit  # type: ignore[import-untyped]  # here: its import takes a while

    known, (names, day) = np.asarray(truth), np.unique(np.asarray(days), return_inverse=True)
    if len(names) < _FEW_BLOCKS:
        return None
    runs = day // min(int(len(names) ** (1 / 3) + 1e-9), len(names) // _FEW_BLOCKS)
    count = int(runs.max()) + 1
    mine, theirs = (task.measure(task.metric, known, answers) for answers in (candidate, champion))
    once = np.ones((1, len(known)))
    gain = float((mine(once) - theirs(once))[0])
    drawn = np.concatenate(
        [mine(weights) - theirs(weights) for weights in _resamples(len(known), runs, seed)]
    )
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn) or not np.isfinite(gain):
        return None
    of_mean = float(drawn.std()) * np.sqrt(count / (count - 1))
    return gain - float(stdtrit(count - 1, 0.95) * of_mean * np.sqrt(1 + len(names) / LASTING_DAYS))


def metric_interval(
    task: Task, truth: npt.ArrayLike, answers: Answers, blocks: npt.ArrayLike, seed: int = 0
) -> Interval | None:
    """Return the 90 % confidence interval of the task's metric; arguments as for `gain_interval`.

    >>> from tidemill.tasks.regression import Regression
    >>> truth, days = np.tile([0.0, 2.0], 500), np.arange(1000) // 100
    >>> interval = metric_interval(Regression("neg_mae"), truth, truth + 0.5, days)
    >>> interval.low, interval.high
    (-0.5, -0.5)
    """
    known = np.asarray(truth)
    if not len(known):
        return None
    measure = task.measure(task.metric, known, answers)
    return _ends([measure(weights) for weights in _resamples(len(known), blocks, seed)])


def mean_interval(
    values: npt.NDArray[np.float64],
    blocks: npt.ArrayLike,
    seed: int = 0,
    before: npt.NDArray[np.float64] | None = None,
) -> Interval | None:
    """Return the 90 % confidence interval of the mean of values, or of what it has more than another's.

    Args:
        values: one a row; those that are not finite do not count.
        blocks: as for `gain_interval`.
        seed: the same seed brings the same interval.
        before: the other values of the same rows.

    >>> values, days = np.tile([1.0, 3.0, np.nan], 100), np.arange(300) // 30
    >>> mean_interval(values, days), mean_interval(values, days, before=values - 0.5)
    (Interval(low=2.0, high=2.0), Interval(low=0.5, high=0.5))
    """
    if not len(values):
        return None
    theirs = None if before is None else _mean_of(before)
    mine, draws = _mean_of(values), _resamples(len(values), blocks, seed)
    return _ends([mine(one) - (0.0 if theirs is None else theirs(one)) for one in draws])


def _mean_of(values: npt.NDArray[np.float64]) -> Callable[[npt.NDArray[np.float64]], Any]:
    """Return a function of weights of rows that gives the mean, over the values that are finite."""
    counts = np.isfinite(values)
    known, weight = np.where(counts, values, 0.0), counts.astype(np.float64)

    def mean(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        total = weights @ weight
        found: npt.NDArray[np.float64] = np.divide(
            weights @ known, total, out=np.full(len(weights), np.nan), where=total > 0
        )
        return found

    return mean


def _resamples(rows: int, blocks: npt.ArrayLike, seed: int) -> Iterator[npt.NDArray[np.float64]]:
    """Yield the weights of rows in resamples, shape (resamples, rows), in pieces that fit into memory."""
    names, block = np.unique(np.asarray(blocks), return_inverse=True)
    if len(names) < _FEW_BLOCKS:
        block = np.arange(rows)
    drawn, count = np.random.default_rng(seed), int(block.max()) + 1
    step = max(1, _CHUNK // max(rows, count))
    for start in range(0, _RESAMPLES, step):
        size = min(step, _RESAMPLES - start)
        yield drawn.multinomial(count, np.full(count, 1 / count), size=size).astype(np.float64)[:, block]


def _ends(values: Sequence[npt.NDArray[np.float64]]) -> Interval | None:
    found = np.concatenate(values)
    found = found[np.isfinite(found)]
    if not len(found):
        return None
    low, high = np.quantile(found, [0.05, 0.95])
    return Interval(float(low), float(high))
