"""Finds by what numbers that recur, such as hundredths or degrees, were multiplied: each tells. Pure."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["KNOWN", "Recurring", "factor_of_all"]

Floats = npt.NDArray[np.float64]

_RECUR = 0.3
"""Numbers of which fewer are in the reference twice say nothing by being known."""
_NEW, KNOWN = 0.5, 0.8
"""Of the numbers that could be known: how many are at most, in another unit, and at least, in the same."""
_LEAST_KNOWN = 10
_ROUNDING = 1e-6
_MOST_POWER = 300.0
_LARGE_UNITS = (12.0, 24.0, 25.4, 30.48, 60.0, 1440.0, 3600.0, 86400.0)
"""Inches a foot, hours a day, …: tried beside the powers of ten."""


class Recurring(NamedTuple):
    """The numbers of a reference, to tell which of a window are known."""

    values: Floats
    """Different ones, in order."""
    share: float
    """Of the rows whose number there is twice or more: about as many of another sample's are known."""

    @classmethod
    def of(cls, before: Floats) -> "Recurring":
        """Return the numbers of a reference."""
        values, counts = np.unique(before, return_counts=True)
        return cls(values, 1 - float((counts == 1).sum()) / max(len(before), 1))

    def known(self, now: Floats, factor: float = 1.0, plus: float = 0.0) -> float:
        """Return how many numbers are known once the reference's are changed, of those that could be."""
        with np.errstate(over="ignore"):  # beyond all numbers, none is known
            values = self.values * factor + plus
        above = np.clip(np.searchsorted(values, now), 1, len(values) - 1)
        off = np.minimum(np.abs(values[above] - now), np.abs(values[above - 1] - now))
        return float((off <= _ROUNDING * np.abs(now)).mean()) / self.share

    def are_new(self, now: Floats) -> bool:
        """Return whether numbers would be known, and are not."""
        return self._tell(now) and self.known(now) <= _NEW

    def are_usual(self, now: Floats, moved: float) -> bool:
        """Return whether numbers are as well known as ever, and worse if their size has moved by a factor.

        Of whole numbers, a whole factor makes others that may be known, too.
        """
        if not self._tell(now) or (known := self.known(now)) < KNOWN:
            return False
        whole = 10.0 ** min(abs(moved), _MOST_POWER)
        factors = [float(each) for each in (math.floor(whole), math.ceil(whole)) if each > 1]
        return all(self.known(now, each) < known for each in factors)

    def _tell(self, now: Floats) -> bool:
        return self.share >= _RECUR and len(self.values) > 1 and len(now) >= _LEAST_KNOWN


def factor_of_all(before: Floats, now: Floats, about: float) -> float | None:
    """Return by what all numbers of a window were multiplied; None if they do not tell.

    A season moves the typical size, too: that tells about how much it was, and each number tells it exactly.

    Args:
        before: finite numbers of the reference.
        now: those of the window.
        about: how many times as large their typical size is.

    >>> draw = np.random.default_rng(0)
    >>> before, now = draw.gamma(2, 5, 5000).round(1), draw.gamma(2, 3, 500).round(1) * 100
    >>> factor_of_all(before, now, 60.0)
    100.0
    >>> factor_of_all(draw.normal(size=5000), draw.normal(size=500) * 100, 100.0)
    """
    before, now = before[before != 0], now[now != 0]
    recurring = Recurring.of(before)
    if not recurring.are_new(now):
        return None
    power = math.log10(about)
    tens = [10.0**each for each in (math.floor(power), math.ceil(power)) if each and abs(each) < _MOST_POWER]
    units = [each for unit in _LARGE_UNITS for each in (unit, 1 / unit)]
    near = [each for each in units if abs(math.log10(each) - power) < 1]
    known = {factor: recurring.known(now, factor) for factor in (*tens, *near)}
    best = max(known, key=lambda factor: known[factor], default=None)
    return best if best is not None and known[best] >= KNOWN else None
