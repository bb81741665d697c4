"""Finds numbers of a column that are so far from all others that they are mistakes more often than not."""

import math

import polars as pl

__all__ = ["far_values"]

_FEWEST = 200
_SPANS = 10
"""So many times the span of the middle 98 % a value lies beyond it."""
_LOG_SPANS = 2
"""The same on a scale of logarithms, above the median: prices and incomes have long tails."""
_FEW = 0.001
"""Share of negative values up to which these are odd among positive ones."""


def far_values(column: pl.Series) -> list[float]:
    """Return the values that are far from all others, each once, the smallest first.

    >>> prices = pl.Series([100.0 + i for i in range(999)])
    >>> far_values(pl.concat([prices, pl.Series([999_999_999.0])])), far_values(prices)
    ([999999999.0], [])
    """
    values = column.alias("").cast(pl.Float64).drop_nulls().drop_nans()
    if len(values) < _FEWEST:
        return []
    low, high = _quantile(values, 0.01), _quantile(values, 0.99)
    if high <= low:
        return []
    top, bottom = high + _SPANS * (high - low), low - _SPANS * (high - low)
    if low >= 0:
        middle, tail = math.log1p(_quantile(values, 0.5)), math.log1p(high)
        top = max(top, math.expm1(min(tail + _LOG_SPANS * (tail - middle), 700)))
    far = (values > top) | (values < bottom)
    if low > 0 and (values < 0).sum() <= _FEW * len(values):
        far |= values < 0
    return [float(value) for value in values.filter(far).unique().sort()]


def _quantile(values: pl.Series, share: float) -> float:
    return float(values.quantile(share) or 0.0)
