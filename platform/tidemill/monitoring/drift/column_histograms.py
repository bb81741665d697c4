"""Counts a column of the reference and of the window in the same few bins, for pictures. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from tidemill.monitoring.drift.column_pair import ColumnPair
from tidemill.monitoring.drift.drift_columns import Comparison

__all__ = ["bins_of", "histograms_of"]

_COLUMNS = 5
_BINS = 16
_CATEGORIES = 8
_COMMON = 20
"""A category is named if so many rows of the reference have it: rare text may be about one person."""
_OTHER = "others"


def histograms_of(
    comparison: Comparison, reference: pl.DataFrame, current: pl.DataFrame
) -> dict[str, dict[str, Any]]:
    """Return, for the columns that have moved most, the shares of rows in each bin before and now.

    Args:
        comparison: which columns have moved.
        reference: the features of the training set.
        current: the features of the window.
    """
    moved = [each.name for each in comparison.by_excess if each.drifted][:_COLUMNS]
    both = [name for name in moved if name in reference.columns and name in current.columns]
    found = {name: bins_of(reference[name].alias("before"), current[name].alias("now")) for name in both}
    return {name: bins for name, bins in found.items() if bins is not None}


def bins_of(before: pl.Series, now: pl.Series) -> dict[str, Any] | None:
    """Return names of bins and the shares of the rows in them; None if the sides cannot be compared.

    The last bin has the missing values, if there are any. Numbers beyond the 1st and the 99th percentile of
    both sides are in the outer bins.

    >>> wind = pl.Series(range(100))
    >>> bins = bins_of(wind, wind + 50)
    >>> len(bins["bins"]), round(sum(bins["now"]), 6), bins["now"][0]
    (16, 1.0, 0.0)
    """
    pair = ColumnPair.of(before, now)
    known, seen = pair.before, pair.now
    if pair.unreadable is not None or known is None or seen is None:
        return None
    if not len(known) or not len(seen) or known.dtype != seen.dtype:
        return None
    numbers = known.dtype == pl.Float64 and known.n_unique() > _CATEGORIES
    names, counts = _of_numbers(known, seen) if numbers else _of_categories(known, seen)
    missing = pair.missing_before, pair.missing_now
    shares = [
        [float(count) / max(sum(each), 1) * (1 - gone) for count in each]
        for each, gone in zip(counts, missing, strict=True)
    ]
    if max(missing) > 0:
        names = [*names, "missing"]
        shares = [[*each, gone] for each, gone in zip(shares, missing, strict=True)]
    return {"bins": names, "before": shares[0], "now": shares[1]}


def _of_numbers(before: pl.Series, now: pl.Series) -> tuple[list[str], list[Sequence[int]]]:
    sides = [before.to_numpy(), now.to_numpy()]
    ends = [np.quantile(side, (0.01, 0.99)) for side in sides]
    edges = np.linspace(min(end[0] for end in ends), max(end[1] for end in ends), _BINS + 1)
    counts = [np.histogram(np.clip(side, edges[0], edges[-1]), edges)[0].tolist() for side in sides]
    return [f"{a:.4g} to {b:.4g}" for a, b in pairwise(edges)], counts


def _of_categories(before: pl.Series, now: pl.Series) -> tuple[list[str], list[Sequence[int]]]:
    sides = [side.cast(pl.String) for side in (before, now)]
    tallies = [dict(side.value_counts().iter_rows()) for side in sides]
    common = sorted((name for name in tallies[0] if tallies[0][name] >= _COMMON), key=tallies[0].__getitem__)
    named = common[::-1][:_CATEGORIES]
    counts = [[tally.get(name, 0) for name in named] for tally in tallies]
    rest = [len(side) - sum(each) for side, each in zip(sides, counts, strict=True)]
    return [*named, _OTHER], [[*each, more] for each, more in zip(counts, rest, strict=True)]
