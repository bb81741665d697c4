"""Measures the distance of two samples: Wasserstein for numbers, Jensen–Shannon for categories. Pure.

Both are exact for the given samples at any scale of the numbers, from 1e-12 to 1e15.
"""

import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = [
    "jensen_shannon",
    "jensen_shannon_to_counts",
    "shuffled_jensen_shannon",
    "shuffled_wasserstein",
    "wasserstein",
    "wasserstein_to_counts",
]

Floats = npt.NDArray[np.float64]

_HUGE = 1e306  # differences of numbers above this can be infinite
_MANY = 50_000
_LARGE_EXPONENT = 1000  # a larger power of two is itself no number


def wasserstein(before: Floats, now: Floats) -> float:
    """Return the first Wasserstein distance, in standard deviations of ``before``.

    Args:
        before: finite numbers, not all the same.
        now: finite numbers, at least one.

    Returns:
        The distance, capped at the largest float.

    >>> before = np.array([0.0, 1.0, 2.0, 3.0])
    >>> round(float(wasserstein(before * 1e-6, before * 1e-6 + 3e-6) * before.std()), 9)
    3.0
    """
    return _wasserstein(np.sort(before), np.sort(now), None)


def wasserstein_to_counts(before: Floats, now: Floats, counts: npt.NDArray[np.int64]) -> float:
    """Return the same of numbers of which there are several each.

    >>> before, now = np.array([1.0, 2.0, 3.0]), np.array([2.0, 7.0])
    >>> far = wasserstein_to_counts(before, now, np.array([2, 1]))
    >>> bool(np.isclose(far, wasserstein(before, np.array([7.0, 2.0, 2.0]))))
    True
    """
    order = np.argsort(now)
    return _wasserstein(np.sort(before), now[order], np.cumsum(counts[order]))


def shuffled_wasserstein(rows: Floats, places: npt.NDArray[np.intp], right: int) -> Floats:
    """Return the same, up to rounding, of several splits of finite numbers; 0 where the left are all one.

    Args:
        rows: the numbers, sorted once for all splits.
        places: their order in each split, shape (splits, rows).
        right: so many of the first are the split's right side, the others its left one.

    >>> rows, places = np.array([5.0, 1.0, 3.0]), np.array([[0, 1, 2], [2, 0, 1]])
    >>> shuffled_wasserstein(rows, places, 1).tolist() == [wasserstein(rows[1:], rows[:1]), 1.0]
    True
    """
    order = np.argsort(rows)
    values = rows[order] / 4 if np.abs(rows).max() > _HUGE else rows[order]
    values = values - values[len(values) // 2]
    values = _scaled(values, -int(np.frexp(np.abs(values).max())[1]))
    on_right = np.zeros(places.shape, dtype=bool)
    np.put_along_axis(on_right, places[:, :right], True, axis=1)
    on_right = on_right[:, order]
    up_to = np.cumsum(on_right[:, :-1], axis=1)
    left = places.shape[1] - right
    shares = up_to / right - (np.arange(1, len(values)) - up_to) / left
    area = np.abs(shares) @ np.diff(values)
    spread = np.broadcast_to(values, on_right.shape)[~on_right].reshape(len(places), left).std(axis=1)
    return np.asarray(np.divide(area, spread, out=np.zeros(len(places)), where=spread > 0))


def _wasserstein(left: Floats, right: Floats, up_to: npt.NDArray[np.int64] | None) -> float:
    """Return the distance of sorted numbers; ``up_to`` counts those on the right up to each."""
    if max(-left[0], left[-1], -right[0], right[-1]) > _HUGE:
        left, right = left / 4, right / 4
    # The centre is one of the numbers: subtracting it from others close to it is exact.
    centre = left[len(left) // 2]
    left = left - centre
    exponent = int(np.frexp(max(-left[0], left[-1]))[1])
    left = _scaled(left, -exponent)
    with np.errstate(over="ignore", invalid="ignore"):
        right = _scaled(right - centre, -exponent)
        if not np.isfinite(right[[0, -1]]).all():
            return sys.float_info.max
        many = up_to is None and len(left) + len(right) > _MANY
        area = _area_by_sums(left, right) if many else None
        if area is None or not np.isfinite(area):  # the sum of huge numbers
            area = _area_between(left, right, up_to)
        distance = float(area / left.std())
    return min(distance, sys.float_info.max)


def _scaled(numbers: Floats, exponent: int) -> Floats:
    """Return numbers times a power of two, which is exact."""
    if abs(exponent) > _LARGE_EXPONENT:
        return np.asarray(np.ldexp(numbers, exponent))
    return numbers * 2.0**exponent  # far quicker


def _area_between(left: Floats, right: Floats, up_to: npt.NDArray[np.int64] | None) -> float:
    """Return the area between the distributions of two sorted samples."""
    values = np.concatenate([left, right])
    order = np.argsort(values, kind="stable")  # merges what is in order already
    values = values[order]
    up_to_left = np.cumsum(order < len(left))[:-1]
    places = np.arange(1, len(values)) - up_to_left
    share_right = places / len(right) if up_to is None else np.append(0, up_to)[places] / up_to[-1]
    return float(np.sum(np.abs(up_to_left / len(left) - share_right) * np.diff(values)))


def _area_by_sums(left: Floats, right: Floats) -> float:
    """Return the same, up to rounding, from the values of the smaller sample and sums of the larger one.

    Between two neighbours in the smaller sample its share does not change. That of the larger one is lower up
    to the value that as large a share lies below, and higher from there on; the areas below it are known from
    the sums of its values up to each.
    """
    fewer, more = (left, right) if len(left) < len(right) else (right, left)
    size, share = len(more), np.arange(1, len(fewer)) / len(fewer)
    equal = more[np.minimum((share * size).astype(np.intp), size - 1)]
    values = np.empty(2 * len(fewer) - 1)
    values[::2], values[1::2] = fewer, np.clip(equal, fewer[:-1], fewer[1:])
    places = np.searchsorted(more, values, side="right")
    below = (places * values - _sums_up_to(more, places)) / size
    start, middle, end = values[:-2:2], values[1::2], values[2::2]
    between = share * (2 * middle - start - end) + below[:-2:2] + below[2::2] - 2 * below[1::2]
    after = float(np.sum(more[places[-1] :] - fewer[-1])) / size
    return max(float(below[0] + np.sum(between)) + after, 0.0)


def _sums_up_to(numbers: Floats, places: npt.NDArray[np.intp]) -> Floats:
    """Return the sum of the numbers before each place; places are in order."""
    starts = np.concatenate([[0], places[:-1]])
    sums = np.add.reduceat(np.append(numbers, 0.0), starts)  # of an empty span it returns one number
    last = numbers[places[-2] : places[-1]].sum() if len(places) > 1 else numbers[: places[-1]].sum()
    sums[-1] = last
    return np.cumsum(np.where(starts < places, sums, 0.0))


def jensen_shannon(before: pl.Series, now: pl.Series, most: int) -> float:
    """Return the Jensen–Shannon distance of the shares of each value, 0 to 0.83 (natural logarithm).

    Args:
        before: values, none of them null.
        now: likewise.
        most: this many of the most frequent values of ``before`` are separate; all others are one category.

    >>> jensen_shannon(pl.Series(["a", "a", "b"]), pl.Series(["b", "a", "a"]), 20)
    0.0
    >>> round(jensen_shannon(pl.Series(["a"]), pl.Series(["b"]), 20), 2)
    0.83
    """
    return jensen_shannon_to_counts(before, now.alias("value").value_counts(name="n"), most)


def jensen_shannon_to_counts(before: pl.Series, now: pl.DataFrame, most: int) -> float:
    """Return the same of values in a column ``value``, and in ``n`` how often each is there."""
    counts = before.alias("value").value_counts(name="n").sort("n", "value", descending=[True, False])
    kept = counts["value"].head(most)
    return _divergence(_shares(counts, kept), _shares(now, kept))


def shuffled_jensen_shannon(rows: pl.Series, places: npt.NDArray[np.intp], right: int, most: int) -> Floats:
    """Return the same of several splits of values, none of them null.

    Args:
        rows: the values, numbered once for all splits.
        places: their order in each split, shape (splits, rows).
        right: so many of the first are the split's right side, the others its left one.
        most: as for `jensen_shannon`, of the left side.

    >>> rows, places = pl.Series(["a", "b", "b"]), np.array([[0, 1, 2], [2, 0, 1]])
    >>> found = shuffled_jensen_shannon(rows, places, 1, 20)
    >>> found.tolist() == [jensen_shannon(rows[1:], rows[:1], 20), jensen_shannon(rows[:2], rows[2:], 20)]
    True
    """
    codes = rows.rank("dense").to_numpy().astype(np.intp) - 1
    kinds, found = int(codes.max()) + 1, []
    for place in places:
        now, before = (np.bincount(codes[side], minlength=kinds) for side in (place[:right], place[right:]))
        kept = np.argsort(-before, kind="stable")[:most]
        kept = kept[before[kept] > 0]
        found.append(_divergence(_shares_of(before[kept], len(rows) - right), _shares_of(now[kept], right)))
    return np.array(found)


def _shares(counts: pl.DataFrame, kept: pl.Series) -> Floats:
    """Return the share of each value of ``kept``, then the share of all others."""
    found = pl.DataFrame({"value": kept}).join(counts, on="value", how="left", maintain_order="left")
    return _shares_of(found["n"].fill_null(0).to_numpy(), float(counts["n"].sum()))


def _shares_of(numbers: npt.NDArray[Any], total: float) -> Floats:
    """Return the share of each number in a total, then that of the rest."""
    return np.append(numbers, total - numbers.sum()) / total


def _divergence(left: Floats, right: Floats) -> float:
    """Return the square root of the Jensen–Shannon divergence of shares."""
    middle = (left + right) / 2
    divergence = (_entropy(left, middle) + _entropy(right, middle)) / 2
    return float(np.sqrt(max(divergence, 0.0)))


def _entropy(shares: Floats, of: Floats) -> float:
    there = shares > 0
    return float(np.sum(shares[there] * np.log(shares[there] / of[there])))
