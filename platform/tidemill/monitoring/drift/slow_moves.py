"""Tells numbers that grew bit by bit from numbers in another unit, by the windows before. Pure.

What grows in step, as prices do, keeps its shape, and so looks like a column in another unit (`unit_change`).
But who changes a unit does so between two rows: windows before it have the reference's size, those after it
the new one, and one at most has rows of both. What the world makes larger passes through the sizes between.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.monitoring.drift.column_pair import as_comparable
from tidemill.monitoring.drift.drift_columns import ColumnDrift
from tidemill.monitoring.drift.units.unit_change import sizes

__all__ = ["WINDOWS_BACK", "grew", "moved_slowly"]

Floats = npt.NDArray[np.float64]

WINDOWS_BACK = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""How far back the windows lie: near for what grows in weeks, far for what takes a year."""
_OTHER_SIZE, _UNIT = ("typical size", "spread as in the reference times"), ": another unit?"
_STAYED = 1 / 6
"""The share of the way, at either end of it, that counts as having stayed there."""
_BETWEEN = 3
"""Windows between the sizes; a changed unit has one, and chance seldom adds two."""
_LEAST_NUMBERS = 50
_ERRORS = 2.0
"""Standard errors of the difference of two medians, further than which chance seldom brings it."""


def moved_slowly(
    column: ColumnDrift, before: pl.Series, now: pl.Series, earlier: Callable[[int], pl.Series | None]
) -> ColumnDrift:
    """Return a column that seems to be in another unit as one that grew, if the windows before say so.

    It stays broken, as it is far from what the model knows, and is not at fault.

    Args:
        column: what came of comparing it.
        before: its values in the reference.
        now: those in the window.
        earlier: returns those of the window that lies so many lengths of it before; None if it has none.
    """
    if column.broken is None or not column.broken.startswith(_OTHER_SIZE):
        return column
    if not grew(_numbers(before), _numbers(now), (_numbers(earlier(each)) for each in WINDOWS_BACK)):
        return column
    told = f"moved bit by bit: {column.broken.removesuffix(_UNIT)}"
    return replace(column, broken=told, note=told)


def grew(before: Floats, now: Floats, earlier: Iterable[Floats]) -> bool:
    """Return whether numbers came to their size over several windows, which those in another unit do not.

    Args:
        before: finite numbers of the reference.
        now: those of the window, whose typical size is another one.
        earlier: those of the windows before, the latest first; they are asked for until one has the
            reference's size.

    >>> draw = np.random.default_rng(0)
    >>> old = draw.lognormal(size=5000)
    >>> grew(old, 2 * draw.lognormal(size=2000), [1.1**k * draw.lognormal(size=2000) for k in (6, 4, 3, 2)])
    True
    >>> grew(old, 2 * draw.lognormal(size=2000), [k * draw.lognormal(size=2000) for k in (2, 2, 1.5, 1)])
    False
    """
    first, last, between = sizes(before), sizes(now), 0
    way = float(np.median(last) - np.median(first))
    for powers in map(sizes, earlier):
        if len(powers) < _LEAST_NUMBERS:
            continue
        gone = float(np.median(powers) - np.median(first)) / way
        if gone <= _STAYED:
            break
        errors = min(gone / _error(first, powers), (1 - gone) / _error(last, powers)) * abs(way)
        between += gone < 1 - _STAYED and errors > _ERRORS
    return between >= _BETWEEN


def _error(one: Floats, other: Floats) -> float:
    """Return the standard error of the difference of two medians, as that of normal numbers."""
    return max(1.2533 * math.sqrt(one.var() / len(one) + other.var() / len(other)), 1e-12)


def _numbers(column: pl.Series | None) -> Floats:
    """Return the finite numbers of a column; none of one that holds text."""
    found = None if column is None else as_comparable(column).drop_nulls()
    return np.empty(0) if found is None or found.dtype != pl.Float64 else found.to_numpy()
