"""Measures the distance of two samples: Wasserstein for numbers, Jensen–Shannon for categories. Pure.

Both are exact for the given samples at any scale of the numbers, from 1e-12 to 1e15.
"""

import sys

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["jensen_shannon", "wasserstein"]

Floats = npt.NDArray[np.float64]

_HUGE = 1e306  # differences of numbers above this can be infinite


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
    if max(np.abs(before).max(), np.abs(now).max()) > _HUGE:
        before, now = before / 4, now / 4
    # The centre is one of the numbers: subtracting it from others close to it is exact.
    centre = np.sort(before)[len(before) // 2]
    left = np.sort(before - centre)
    exponent = np.frexp(max(-left[0], left[-1]))[1]
    left = np.ldexp(left, -exponent)
    with np.errstate(over="ignore"):
        right = np.ldexp(np.sort(now - centre), -exponent)
        if not np.isfinite(right).all():
            return sys.float_info.max
        values = np.sort(np.concatenate([left, right]))
        share_left = np.searchsorted(left, values[:-1], side="right") / len(left)
        share_right = np.searchsorted(right, values[:-1], side="right") / len(right)
        distance = float(np.sum(np.abs(share_left - share_right) * np.diff(values)) / left.std())
    return min(distance, sys.float_info.max)


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
    counts = before.alias("value").value_counts(name="n").sort("n", "value", descending=[True, False])
    kept = counts["value"].head(most)
    left = _shares(counts, kept)
    right = _shares(now.alias("value").value_counts(name="n"), kept)
    middle = (left + right) / 2
    divergence = (_entropy(left, middle) + _entropy(right, middle)) / 2
    return float(np.sqrt(max(divergence, 0.0)))


def _shares(counts: pl.DataFrame, kept: pl.Series) -> Floats:
    """Return the share of each value of ``kept``, then the share of all others."""
    found = pl.DataFrame({"value": kept}).join(counts, on="value", how="left", maintain_order="left")
    numbers = found["n"].fill_null(0).to_numpy().astype(np.float64)
    total = float(counts["n"].sum())
    return np.append(numbers, total - numbers.sum()) / total


def _entropy(shares: Floats, of: Floats) -> float:
    there = shares > 0
    return float(np.sum(shares[there] * np.log(shares[there] / of[there])))
