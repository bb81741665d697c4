"""Makes the slices among which a search looks for those where a model does worst. Pure.

They are chosen without a look at what is tested, the difference between the reference and the window:
single features by their values or quarters, then pairs of the features that tell most of the loss in both
samples together. So the test of the worst one need only allow for how many there are.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.monitoring.drift.column_pair import as_comparable
from tidemill.monitoring.slices.slice_rows import Slice, rows_of, segments_by

__all__ = ["searched_slices"]

Floats = npt.NDArray[np.float64]

_MOST = 400
_PAIRED = 6
"""Features of which pairs are made."""


def searched_slices(
    before: pl.DataFrame, now: pl.DataFrame, losses: tuple[Floats, Floats], least: int, most: int = _MOST
) -> list[Slice]:
    """Return slices by one feature, then by two, with at least so many rows on both sides.

    Args:
        before: features of the reference.
        now: features of the window.
        losses: of the rows of both.
        least: rows that a slice has on each side; the other rows must be as many.
        most: how many slices at most.
    """
    single = dict[str, list[Slice]]()
    for name in before.columns:
        values = _together(before[name], now[name])
        segments = [] if values is None else segments_by(name, values)
        made = [Slice(one.title, rows_of(one, before), rows_of(one, now)) for one in segments]
        single[name] = [one for one in made if _is_large(one, least)]
    found = [one for slices in single.values() for one in slices]
    told = {name: _told(slices, losses) for name, slices in single.items() if slices}
    chosen = sorted(told, key=lambda name: (-told[name], name))[:_PAIRED]
    for one, other in combinations(chosen, 2):
        found += _crossed(single[one], single[other], least)
    return found[:most]


def _together(before: pl.Series, now: pl.Series) -> pl.Series | None:
    """Return the values of both; None where they are lists, moments, or text here and numbers there."""
    if any(side.dtype.is_nested() or side.dtype.is_temporal() for side in (before, now)):
        return None
    sides = [as_comparable(side).alias("values") for side in (before, now)]
    known = {side.dtype for side in sides} - {pl.Null}
    return None if len(known) != 1 else pl.concat([side.cast(*known) for side in sides])


def _crossed(ones: Sequence[Slice], others: Sequence[Slice], least: int) -> list[Slice]:
    made = [
        Slice(f"{one.name}, {other.name}", one.before & other.before, one.now & other.now)
        for one in ones
        for other in others
    ]
    return [one for one in made if _is_large(one, least)]


def _is_large(one: Slice, least: int) -> bool:
    sides = one.before, one.now
    return all(least <= side.sum() <= len(side) - least for side in sides)


def _told(slices: Sequence[Slice], losses: tuple[Floats, Floats]) -> float:
    """Return how much of the loss's variance a feature's slices tell, in both samples together."""
    every = np.concatenate(losses)
    told = 0.0
    for one in slices:
        inside = every[np.concatenate([one.before, one.now])]
        told += len(inside) * float(inside.mean() - every.mean()) ** 2
    return told / len(every)
