"""Makes numbers of the features of two samples, for models that tell something of them. Pure."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.monitoring.drift.column_pair import as_comparable
from tidemill.monitoring.drift.list_values import is_list

__all__ = ["FeatureMatrices", "feature_matrices"]

Floats = npt.NDArray[np.float64]

_MOST_CODES = 254  # categories that scikit-learn's histograms take
_MOST_ELEMENTS = 32


class FeatureMatrices(NamedTuple):
    """The features of two samples as numbers, NaN where there is none."""

    before: Floats
    """Shape (rows, columns)."""
    now: Floats
    names: tuple[str, ...]
    """The feature that each column tells of."""
    categories: tuple[int, ...]
    """Places of the columns that are numbers of categories."""


def feature_matrices(before: pl.DataFrame, now: pl.DataFrame, detailed: bool = False) -> FeatureMatrices:
    """Return the features that both samples have as numbers.

    Text becomes the number of its category, the most frequent first; a list its norm. Moments are left out:
    those of a later window are all later.

    Args:
        before: features of one sample.
        now: those of the other.
        detailed: whether some elements of lists are columns, too, evenly spread, and categories of ``now``
            alone have a number together; otherwise they count as missing.

    >>> before = pl.DataFrame({"carrier": ["AA", "AA", "UA"], "wind": [1.0, None, 3.0]})
    >>> feature_matrices(before, before[:1]).before.tolist()
    [[0.0, 1.0], [0.0, nan], [1.0, 3.0]]
    """
    sides: tuple[list[Floats], list[Floats]] = [], []
    names, categories = list[str](), list[int]()
    for name in before.columns:
        if name not in now.columns or before[name].dtype.is_temporal():
            continue
        pair = [as_comparable(side[name]) for side in (before, now)]
        of_words = any(column.dtype == pl.String for column in pair)
        if of_words:
            pair = _coded(pair[0], pair[1], detailed)
        pairs = [pair]
        if detailed and is_list(before[name]) and is_list(now[name]):
            pairs += _elements(before[name], now[name])
        for columns in pairs:
            if all(column.null_count() == len(column) for column in columns):
                continue  # scikit-learn's histograms do not take it
            if of_words:
                categories.append(len(names))
            names.append(name)
            for side, column in zip(sides, columns, strict=True):
                side.append(column.cast(pl.Float64).fill_null(float("nan")).to_numpy())
    made = [
        np.column_stack(side) if side else np.empty((rows, 0))
        for side, rows in zip(sides, (before.height, now.height), strict=True)
    ]
    return FeatureMatrices(made[0], made[1], tuple(names), tuple(categories))


def _coded(before: pl.Series, now: pl.Series, detailed: bool) -> list[pl.Series]:
    words = [column.cast(pl.String).to_frame("word") for column in (before, now)]
    common = words[0].drop_nulls().group_by("word").len("rows").sort("rows", "word", descending=[True, False])
    codes = common.head(_MOST_CODES).select("word").with_row_index("code")
    found = [side.join(codes, on="word", how="left", maintain_order="left") for side in words]
    unknown = pl.lit(codes.height if detailed else None, pl.UInt32)
    number = pl.coalesce("code", pl.when(pl.col("word").is_not_null()).then(unknown))
    return [side.select(number.alias("code")).to_series() for side in found]


def _elements(before: pl.Series, now: pl.Series) -> list[list[pl.Series]]:
    lists = [side.arr.to_list() if isinstance(side.dtype, pl.Array) else side for side in (before, now)]
    longest = lists[0].list.len().max()
    length = longest if isinstance(longest, int) else 0
    places = range(0, length, max(1, -(-length // _MOST_ELEMENTS)))
    return [[side.list.get(place, null_on_oob=True) for side in lists] for place in places]
