"""Tells whether chance alone may bring about the difference of two samples. Pure.

A distance says how far a column has moved, but a few rows move by chance alone: how far depends on their
number, and on how often and how far the values stray. So it is measured, by shuffling the rows of both
samples and measuring again (a permutation test). Of the shuffled distances only mean and variance are taken,
from which a gamma distribution gives the tail (Wilson and Hilferty, PNAS 17, 1931): far fewer shuffles are
needed than for a share of them, and few columns need any.
"""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["above_limit", "beyond_chance", "rare_deviation", "rareness", "share_beyond_chance", "unlikely"]

_ALARMS = 0.01
"""Share of windows in which chance alone may make any column of a project drift."""
_SHUFFLES = 40
_MORE_SHUFFLES = 160
"""Where the first leave it near the limit: of so few the spread is known to a tenth only."""
_CLEARLY = 2.0
_FEW = 100
_ENOUGH_ROWS = 2_000
_PLAIN = 10.0
"""A distance this many times the noise of one number's mean needs no shuffling."""
_NUMBERS_AT_ONCE = 20_000
"""Of several shuffles that are measured together: more leave the processor's cache."""

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
Sample = TypeVar("Sample", npt.NDArray[Any], pl.Series)


def beyond_chance(
    distance: Callable[[Sample, Sample], float],
    before: Sample,
    now: Sample,
    value: float,
    columns: int,
    at_once: Callable[[Any, Places, int], Floats] | None = None,
) -> bool:
    """Return whether two samples of one source are seldom as far apart as ``value``.

    Args:
        distance: of two samples.
        before: one sample.
        now: the other.
        value: their distance.
        columns: how many columns are compared; the more there are, the rarer the difference must be.
        at_once: gives the same distance for several shuffles: all rows, their places in each shuffle, shape
            (shuffles, rows), of which the first are ``now``'s, and how many these are. Quicker, if there is.

    >>> rows = np.random.default_rng(1).normal(size=1000)
    >>> apart = lambda one, other: abs(one.mean() - other.mean())
    >>> [beyond_chance(apart, rows, rows[:50] + by, by, 20) for by in (0.2, 1.0)]
    [False, True]
    """
    noise = math.sqrt(1 / len(before) + 1 / len(now))
    if min(len(before), len(now)) >= _ENOUGH_ROWS and value >= _PLAIN * noise and not _strays(before):
        return True
    draw = np.random.default_rng(len(now))
    most = max(_ENOUGH_ROWS, 4 * len(now))
    if len(before) > most:
        before = before[np.sort(draw.choice(len(before), most, replace=False))]
    rows: Any = pl.concat([before, now]) if isinstance(before, pl.Series) else np.concatenate([before, now])
    found, limit = list[float](), rare_deviation(columns)
    for shuffles in (_SHUFFLES, _MORE_SHUFFLES):
        size = max(_NUMBERS_AT_ONCE // len(rows), 1)
        for done in range(0, shuffles, size):
            places = np.array([draw.permutation(len(rows)) for _ in range(min(size, shuffles - done))])
            if at_once is not None:
                found += at_once(rows, places, len(now)).tolist()
            else:
                found += [distance(rows[each[len(now) :]], rows[each[: len(now)]]) for each in places]
        rare = rareness(value, np.array(found))
        if not limit <= rare < _CLEARLY * limit:
            break
    return rare >= limit


def _strays(sample: Any) -> bool:
    """Return whether few numbers hold most of the variance, so that means are far from normal."""
    if isinstance(sample, pl.Series) or sample.ndim > 1:
        return False
    most = float(np.abs(sample).max()) or 1.0  # squares of huge numbers are none
    squares = (sample / most - np.median(sample / most)) ** 2
    few = len(squares) // _FEW
    return bool(np.partition(squares, -few)[-few:].sum() > squares.sum() / 2)


def share_beyond_chance(before: float, now: float, rows: tuple[int, int], columns: int) -> bool:
    """Return whether the shares of two samples of one source are seldom so different.

    Args:
        before: a share, 0 to 1.
        now: that of the window.
        rows: of both.
        columns: how many columns are compared.

    >>> [share_beyond_chance(0.5, 0.7, rows, 20) for rows in ((1000, 20), (1000, 200))]
    [False, True]
    """
    whole = (before * rows[0] + now * rows[1]) / max(sum(rows), 1)
    spread = math.sqrt(whole * (1 - whole) * sum(1 / max(each, 1) for each in rows))
    return abs(now - before) >= rare_deviation(columns) * spread


def unlikely(share: float, rows: int, columns: int) -> bool:
    """Return whether as many rows in a row seldom all have what a share of the others has.

    >>> unlikely(0.6, 5, 20), unlikely(0.6, 100, 20)
    (False, True)
    """
    return bool(share**rows < _ALARMS / columns)


def above_limit(share: float, limit: float, rows: int, columns: int) -> bool:
    """Return whether a share of the rows is above a limit, and more than chance brings where it is at it.

    >>> above_limit(0.02, 0.01, 200, 1), above_limit(0.02, 0.01, 5000, 1)
    (False, True)
    """
    least = max(limit, 1 / max(rows, 1))
    return share - limit > rare_deviation(columns) * math.sqrt(least * (1 - least) / max(rows, 1))


def rare_deviation(columns: int) -> float:
    """Return how many standard deviations chance exceeds, in any of some columns, in one of 100 windows."""
    return NormalDist().inv_cdf(1 - _ALARMS / max(columns, 1))


def rareness(value: float, shuffled: npt.NDArray[np.float64]) -> float:
    """Return by how many standard deviations of a normal ``value`` is as rare among the shuffled.

    >>> draws = np.random.default_rng(0).gamma(2.0, size=2000)
    >>> [round(rareness(value, draws), 1) for value in (2.0, 7.4)]
    [0.2, 2.5]
    """
    mean, spread = float(shuffled.mean()), float(shuffled.std(ddof=1))
    if not spread:
        return math.inf if value > mean else 0.0
    if shuffled.min() < 0:
        return (value - mean) / spread
    shape = (mean / spread) ** 2
    normal = (value / mean) ** (1 / 3) - 1 + 1 / (9 * shape)
    return float(normal * 3 * math.sqrt(shape))
