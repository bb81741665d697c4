"""Finds the rows of segments, in a reference and in a window alike. Pure."""

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.monitoring.drift.column_pair import FEW, as_comparable
from tidemill.monitoring.slice_config import SliceDeclaration, Value, Wanted, tolerance

__all__ = ["Slice", "declared_slices", "rows_of", "segments_by", "unknown_columns"]

Mask = npt.NDArray[np.bool_]

_QUARTERS = (0.25, 0.5, 0.75)
_MOST_VALUES = 20
_PARTS_OF_A_QUARTER = 50
"""By one of them at most a cut between quarters moves when it is rounded."""


class Slice(NamedTuple):
    """The rows of a segment in two samples."""

    name: str
    before: Mask
    now: Mask


def declared_slices(
    declared: Sequence[SliceDeclaration], before: pl.DataFrame, now: pl.DataFrame
) -> list[Slice]:
    """Return the declared segments, without those on features that a side lacks.

    Args:
        declared: segments, or features by whose values segments are made.
        before: features of the reference, which decides what those values are.
        now: features of the window.

    >>> rows = pl.DataFrame({"origin": ["JFK", "EWR", "JFK"]})
    >>> [(one.name, one.now.tolist()) for one in declared_slices([SliceDeclaration(by="origin")], rows, rows)]
    [('origin JFK', [True, False, True]), ('origin EWR', [False, True, False])]
    """
    segments = list[SliceDeclaration]()
    for one in declared:
        if unknown_columns([one], before.columns) or unknown_columns([one], now.columns):
            continue
        segments += [one] if one.by is None else segments_by(one.by, before[one.by])
    return [Slice(one.title, rows_of(one, before), rows_of(one, now)) for one in segments]


def unknown_columns(declared: Sequence[SliceDeclaration], there: Collection[str]) -> list[str]:
    """Return the features that segments name and that are not ``there``, each once."""
    named = [name for one in declared for name in (one.where if one.by is None else [one.by])]
    return [name for name in dict.fromkeys(named) if name not in there]


def segments_by(name: str, values: pl.Series) -> list[SliceDeclaration]:
    """Return a segment for each value of a feature, the most frequent first; of many numbers, each quarter.

    Missing values make a segment of their own. Lists and moments make none.
    """
    if values.dtype.is_nested() or values.dtype.is_temporal():
        return []
    column = as_comparable(values)
    known = column.drop_nulls()
    if known.dtype == pl.Float64 and known.n_unique() > FEW:
        cuts = _rounded(sorted({known.quantile(share) or 0.0 for share in _QUARTERS}))
        ranges = [Wanted(at_least=low, below=high) for low, high in pairwise(cuts)]
        wanted = [Wanted(below=cuts[0]), *ranges, Wanted(at_least=cuts[-1])]
    else:
        counts = (
            known.alias("value").value_counts(name="rows").sort("rows", "value", descending=[True, False])
        )
        wanted = [Wanted(any_of=(value,)) for value in counts["value"].head(_MOST_VALUES)]
    if column.null_count():
        wanted.append(Wanted(any_of=(None,)))
    return [SliceDeclaration(where={name: one}) for one in wanted]


def rows_of(segment: SliceDeclaration, features: pl.DataFrame) -> Mask:
    """Return which rows belong to a segment, shape (rows,); it has the segment's features."""
    found: Mask = np.ones(features.height, dtype=np.bool_)
    for name, wanted in segment.where.items():
        column = as_comparable(features[name])
        if wanted.any_of is None:
            found &= _in_range(column, wanted)
        else:
            found &= np.any([_equal(column, value) for value in wanted.any_of], axis=0)
    return found


def _in_range(column: pl.Series, wanted: Wanted) -> Mask:
    if column.dtype != pl.Float64:
        return np.zeros(len(column), dtype=np.bool_)
    numbers = column.fill_null(float("nan")).to_numpy()
    low = -np.inf if wanted.at_least is None else wanted.at_least
    high = np.inf if wanted.below is None else wanted.below
    return np.asarray((numbers >= low) & (numbers < high))


def _equal(column: pl.Series, wanted: Value) -> Mask:
    if wanted is None:
        return column.is_null().to_numpy()
    if column.dtype == pl.Float64 and not isinstance(wanted, str):
        numbers = column.fill_null(float("nan")).to_numpy()
        return np.asarray(np.abs(numbers - float(wanted)) <= tolerance(float(wanted)))
    if column.dtype != pl.String:
        return np.zeros(len(column), dtype=np.bool_)
    text = str(wanted).lower() if isinstance(wanted, bool) else str(wanted)
    return np.asarray((column == text).fill_null(False).to_numpy())


def _rounded(cuts: Sequence[float]) -> list[float]:
    """Return cuts in few digits, each by far nearer to its place than to the next; whole ones stay."""
    apart = min((after - one for one, after in pairwise(cuts)), default=0.0) / _PARTS_OF_A_QUARTER
    return [cut if cut.is_integer() else _shortened(cut, apart) for cut in cuts]


def _shortened(value: float, by: float) -> float:
    texts = (f"{value:.{digits}g}" for digits in range(3, 17))
    return next((float(text) for text in texts if abs(float(text) - value) <= by), value)
