"""Finds that the numbers of a column are in another unit. Pure.

Two signs count. Their typical size has moved by a power of ten, and further than the reference's own sizes
lie apart. Or all are multiplied by one factor, as inches for centimetres: that moves a column by less than a
season may, where numbers lie around zero or stray so far that their standard deviation says little. But it
leaves the shape as it was: divided by the factor, the numbers are distributed as in the reference, which what
grows by itself seldom is; and no sum that all have gained, as summer degrees, fits better. All are compared
by the largest difference of the shares up to a value (Kolmogorov and Smirnov), which far tails do not move.

Numbers that recur, such as hundredths or degrees, tell more: where few of the window's are known from the
reference, and nearly all are once that is multiplied by the factor of two units, these are the units, however
far such a column moves by itself, and whatever the season has done to its shape. And where they are as well
known as ever, and no factor explains them, the world has moved, as light summer winds do; that is told, too.

Shares, between 0 and 1, have no unit, and double by themselves: as long as they stay there, their shape tells
nothing.
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tidemill.monitoring.drift.chance import beyond_chance, rare_deviation
from tidemill.monitoring.drift.units.recurring_numbers import KNOWN, Recurring

__all__ = [
    "LEAST_MOVE",
    "Multiplied",
    "multiplied",
    "other_scale",
    "other_size",
    "resized",
    "sizes",
    "usual_size",
]

Floats = npt.NDArray[np.float64]

_POWER = 1.0
"""A power of ten: unless values stray further by themselves, a size that moved by it is another unit's."""
LEAST_MOVE = math.log10(1.5)
"""A power of ten. Smaller ones are as often a change of the world; units that are confused lie further."""
_UNITS = (1.609344, 1.8, 1.852, 1.943844, 2.20462, 2.23694, 2.54, 3.28084, 3.6, 3.785412, 4.1868, 4.546)
"""Kilometres a mile, °F a °C, …: tried beside what fits, because numbers on a grid need the exact factor."""
_SCALES = {"°F for °C": (1.8, 32.0), "°C for °F": (1 / 1.8, -32 / 1.8)}
"""Units with another zero: factor and sum."""
_CLEARER = 1.5
_NEAR = math.log10(1.15)
_REST, _MOST_REST = 0.3, 0.5
"""The share of the difference that may be left once the factor is taken out; with chance, up to the other."""
_MOST_MOVED = 300.0
_GLANCE = 5_000
"""Rows of a large window that are looked at first; what is plain in them needs no look at all."""


def other_size(before: Floats, now: Floats, columns: int) -> float | None:
    """Return how many times as large the typical size is, if it has moved by a power of ten; else None.

    Args:
        before: finite numbers of the reference.
        now: those of the window.
        columns: how many columns are compared: the more, the rarer must a difference be that counts.

    >>> rows = np.random.default_rng(0).normal(7, size=1000)
    >>> other_size(rows, rows[:500] * 2, 20), round(other_size(rows, rows[:500] * 1000, 20), -2)
    (None, 1000.0)
    """
    old = np.sort(sizes(before))
    if not len(old):
        return None
    limit = _size_limit(old)
    if _plainly_below(old, now, limit):
        return None
    new = sizes(now)
    moved = float(np.median(new) - np.median(old)) if len(new) else 0.0
    if abs(moved) < limit or not beyond_chance(_sizes_apart, old, new, abs(moved), columns):
        return None
    return _times(moved)


def resized(before: Floats, now: Floats) -> bool:
    """Return whether the typical size is another one, so that the unit may be.

    >>> resized(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.5])), resized(np.array([1.0]), np.array([9.0]))
    (False, True)
    """
    return abs(_moved(np.sort(sizes(before)), now)) >= LEAST_MOVE


class Multiplied(NamedTuple):
    """By what all numbers of a window were multiplied, or seem to be."""

    factor: float
    """1.5 or more, or 1 / 1.5 or less."""
    unit: bool
    """Whether they are in another unit: they are not the reference's own."""


def multiplied(before: Floats, now: Floats, threshold: float, columns: int) -> Multiplied | None:
    """Return by what all numbers were multiplied; None if by nothing.

    Args:
        before: finite numbers of the reference.
        now: those of the window.
        threshold: the distance from which on a column has drifted, in standard deviations: of the numbers, or
            of their logarithms. Less is usual.
        columns: as for `other_size`.

    >>> draw = np.random.default_rng(0)
    >>> before, now = draw.normal(size=5000), draw.normal(size=500)
    >>> [multiplied(before, values, 0.5, 20) for values in (now, now + 1, now**3)]
    [None, None, None]
    >>> multiplied(before.round(2), now.round(2) * 2.54, 0.5, 20)
    Multiplied(factor=2.54, unit=True)
    """
    old = np.sort(sizes(before))
    moved = _moved(old, now)
    if abs(moved) < LEAST_MOVE or len(old) < 2:
        return None
    shares = _are_shares(before, now)
    before, now = np.sort(before[before != 0]), np.sort(now[now != 0])
    recurring = Recurring.of(before)
    if recurring.are_new(now):
        known = {each: recurring.known(now, each) for unit in _UNITS for each in (unit, 1 / unit)}
        best = max(known, key=lambda factor: known[factor])
        if known[best] >= KNOWN:
            return Multiplied(best, True)
    if shares or abs(moved) < _usual_move(old, threshold):
        return None
    factor = _fitting(before, now, moved, columns)
    return None if factor is None else Multiplied(factor, not recurring.are_usual(now, moved))


def other_scale(before: Floats, now: Floats) -> str | None:
    """Return which temperatures numbers are for which, if those of the reference are so in the other unit.

    Asked only about numbers that are far away, or of another size. No sum alone and no factor alone may fit
    nearly as well.

    >>> draw = np.random.default_rng(0)
    >>> before, now = draw.normal(20, 5, 5000), draw.normal(20, 5, 500)
    >>> other_scale(before, now * 1.8 + 32), other_scale(before, now + 48), other_scale(before, now * 3.4)
    ('°F for °C', None, None)
    """
    before, now = np.sort(before), np.sort(now)
    recurring = Recurring.of(before)
    if recurring.are_new(now):
        for name, (factor, plus) in _SCALES.items():
            if recurring.known(now, factor, plus) >= KNOWN:
                return name
    middles = float(np.median(before)), float(np.median(now))
    others = [before + (middles[1] - middles[0])]
    if middles[0] and middles[1] / middles[0] > 0:
        others.append(before * (middles[1] / middles[0]))
    least = min(_apart(other, now) for other in others)
    allowed = min(_REST * _apart(before, now), _by_chance(len(before), len(now), 1), least / _CLEARER)
    for name, (factor, plus) in _SCALES.items():
        if _apart(before * factor + plus, now) <= allowed:
            return name
    return None


def usual_size(before: Floats) -> float | None:
    """Return the typical power of ten of numbers; None if all are zero.

    While that of a window is less than `LEAST_MOVE` away, nothing here finds another unit.

    >>> usual_size(np.array([0.0, 100.0, 100.0])), usual_size(np.array([0.0]))
    (2.0, None)
    """
    found = sizes(before)
    return float(np.median(found)) if len(found) else None


def sizes(numbers: Floats) -> Floats:
    """Return the powers of ten of numbers, without zeros."""
    found: Floats = np.log10(np.abs(numbers[numbers != 0]))
    return found


def _times(moved: float) -> float:
    """Return the factor of a moved power of ten, as far as there are such numbers."""
    return float(10.0 ** min(max(moved, -_MOST_MOVED), _MOST_MOVED))


def _size_limit(old: Floats) -> float:
    """Return by how much a size must move to be another unit's, given those of the reference in order."""
    low, high = (old[int(share * (len(old) - 1))] for share in (0.16, 0.84))
    return max(_POWER, float(high - low))  # twice the standard deviation of a normal


def _usual_move(old: Floats, threshold: float) -> float:
    """Return how far a size may move by the threshold, given those of the reference in order.

    The spread is that of most sizes: sums that should be 0 and are 1e-15, such as the north of an east wind,
    lie many powers of ten below the others.
    """
    low, high = (old[int(share * (len(old) - 1))] for share in (0.16, 0.84))
    return threshold * min(float(old.std()), float(high - low) / 2)


def _moved(old: Floats, now: Floats) -> float:
    """Return by which power of ten the typical size has moved from the reference's, which are in order."""
    if not len(old) or _plainly_below(old, now, LEAST_MOVE):
        return 0.0
    new = sizes(now)
    return float(np.median(new) - np.median(old)) if len(new) else 0.0


def _fitting(before: Floats, now: Floats, moved: float, columns: int) -> float | None:
    """Return the factor by which the reference's numbers are distributed as the window's; None if by none."""
    apart = _apart(before, now)
    if apart < _by_chance(len(before), len(now), columns):
        return None
    near = [each for unit in _UNITS for each in (unit, 1 / unit) if abs(math.log10(each) - moved) < _NEAR]
    with np.errstate(over="ignore"):  # beyond all numbers, they are apart
        rest = {factor: _apart(before * factor, now) for factor in (_times(moved), *near)}
    best = min(rest, key=lambda factor: rest[factor])
    allowed = max(_REST * apart, min(_MOST_REST * apart, _by_chance(len(before), len(now), 1)))
    shifted = _apart(before + float(np.median(now) - np.median(before)), now)
    return best if rest[best] <= min(allowed, shifted) else None


def _plainly_below(old: Floats, now: Floats, limit: float) -> bool:
    """Return whether a part of a large window shows that its size has moved by far less than a limit."""
    if len(now) <= 2 * _GLANCE:
        return False
    some = sizes(np.random.default_rng(0).choice(now, _GLANCE))
    return len(some) > _GLANCE / 2 and bool(abs(np.median(some) - old[len(old) // 2]) < limit / 2)


def _are_shares(before: Floats, now: Floats) -> bool:
    return all(bool(side.min() >= 0 and side.max() <= 1) for side in (before, now))


def _sizes_apart(before: Floats, now: Floats) -> float:
    return abs(float(np.median(now) - np.median(before)))


def _apart(before: Floats, now: Floats) -> float:
    """Return the largest difference of the shares up to a value, of sorted numbers."""
    values = np.concatenate([before, now])
    shares = [np.searchsorted(side, values, side="right") / len(side) for side in (before, now)]
    return float(np.abs(shares[0] - shares[1]).max())


def _by_chance(before: int, now: int, columns: int) -> float:
    """Return what that difference of so many numbers seldom exceeds (Kolmogorov's distribution)."""
    tail = 1 - NormalDist().cdf(rare_deviation(columns))
    return math.sqrt(math.log(2 / tail) / 2 * (1 / before + 1 / now))
