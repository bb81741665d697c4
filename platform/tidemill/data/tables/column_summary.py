"""Says how the values of a column are spread, and how far two columns are apart. Imports no engine.

A summary is kept for good, so it names no one's value: a category or a quantile stands for ten rows or more.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from tidemill.digits import number

__all__ = ["FEWEST", "LEVELS", "ColumnSummary", "Distance", "distance", "said"]

FEWEST: Final = 10
"""Rows that a category or a quantile stands for, at least."""
LEVELS: Final = 50
"""Quantiles that are kept, at most: each is the middle of an equal share of the rows."""


@dataclass(frozen=True)
class ColumnSummary:
    """How the values of a column are spread. NaN counts as null."""

    dtype: str
    rows: int
    nulls: int
    mean: float | None = None
    std: float | None = None
    quantiles: Sequence[float] = ()
    """Of numbers, and of moments in seconds since 1970; increasing."""
    moments: bool = False
    """Whether the numbers are moments."""
    distinct: int | None = None
    """Values of text, without null; estimated from 5 million rows on."""
    categories: Mapping[str, int] = field(default_factory=dict)
    """Rows of the commonest texts or truth values."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Distance:
    """How far the values of two columns are apart."""

    value: float
    measure: Literal["wasserstein", "jensen_shannon"]
    """In standard deviations of the first; from 0 for the same to 1 for nothing in common."""

    def __str__(self) -> str:
        unit = " standard deviations" if self.measure == "wasserstein" else " (Jensen–Shannon)"
        return number(self.value, 2) + unit


def distance(before: ColumnSummary, now: ColumnSummary) -> Distance | None:
    """Return how far two columns are apart; None where their summaries cannot tell.

    >>> before = ColumnSummary("Int64", 40, 0, mean=2.5, std=1.0, quantiles=[1.0, 2.0, 3.0, 4.0])
    >>> now = ColumnSummary("Int64", 40, 0, mean=3.0, std=1.0, quantiles=[1.5, 2.5, 3.5, 4.5])
    >>> str(distance(before, now))
    '0.5 standard deviations'
    >>> rare = [ColumnSummary("Int8", 100, 0, mean, 0.4, quantiles=[0.0] * 10) for mean in (0.1, 0.2)]
    >>> str(distance(*rare))
    '0.25 standard deviations'
    >>> sides = [ColumnSummary("String", 20, 0, categories={name: 20}) for name in ("a", "b")]
    >>> distance(*sides).value, distance(sides[0], sides[0]).value
    (1.0, 0.0)
    """
    if before.quantiles and now.quantiles:
        if not before.std:
            return Distance(0.0, "wasserstein") if before.quantiles == now.quantiles else None
        size = max(len(before.quantiles), len(now.quantiles))
        levels = [(place + 0.5) / size for place in range(size)]
        apart = sum(abs(_at(before.quantiles, level) - _at(now.quantiles, level)) for level in levels) / size
        if before.mean is not None and now.mean is not None:
            apart = max(
                apart, abs(before.mean - now.mean)
            )  # it is never less; of 0 and 1 quantiles tell little
        return Distance(apart / before.std, "wasserstein")
    if before.categories and now.categories:
        return Distance(_jensen_shannon(_shares(before), _shares(now)), "jensen_shannon")
    return None


def said(column: ColumnSummary) -> str:
    """Return a summary in words.

    >>> said(ColumnSummary("Float64", 40, 10, mean=2.5, std=1.0, quantiles=[1.0, 2.0, 3.0, 4.0]))
    'Float64; 25 % empty; mean 2.5, sd 1; 5 % 1, half 2.5, 95 % 4'
    >>> said(ColumnSummary("String", 30, 0, distinct=2, categories={"UA": 20, "AA": 10}))
    'String; 2 values: UA 67 %, AA 33 %'
    """
    parts = [column.dtype]
    if column.nulls:
        parts.append(f"{number(100 * column.nulls / column.rows, 3)} % empty")
    if column.mean is not None and column.std is not None and not column.moments:
        parts.append(f"mean {number(column.mean, 4)}, sd {number(column.std, 3)}")
    if column.quantiles:
        low, half, high = (_shown(column, _at(column.quantiles, level)) for level in (0.05, 0.5, 0.95))
        parts.append(f"5 % {low}, half {half}, 95 % {high}")
    known = column.rows - column.nulls
    commonest = sorted(column.categories.items(), key=lambda one: (-one[1], one[0]))[:3]
    if shares := ", ".join(f"{name} {number(100 * rows / known, 2)} %" for name, rows in commonest):
        parts.append(f"{column.distinct:,} values: {shares}" if column.distinct is not None else shares)
    elif column.distinct is not None:
        parts.append(f"{column.distinct:,} values")
    return "; ".join(parts)


def _shown(column: ColumnSummary, value: float) -> str:
    if not column.moments:
        return number(value, 4)
    return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M}"


def _at(quantiles: Sequence[float], level: float) -> float:
    """Return the value at a level from 0 to 1, between the two kept quantiles around it."""
    place = min(max(level * len(quantiles) - 0.5, 0.0), len(quantiles) - 1.0)
    low = math.floor(place)
    high = min(low + 1, len(quantiles) - 1)
    return quantiles[low] + (place - low) * (quantiles[high] - quantiles[low])


def _shares(column: ColumnSummary) -> dict[str | None, float]:
    """Return the share of each category, and under None of all others."""
    known = column.rows - column.nulls
    found: dict[str | None, float] = {name: rows / known for name, rows in column.categories.items()}
    return {**found, None: max(0.0, 1 - sum(found.values()))}


def _jensen_shannon(before: Mapping[str | None, float], now: Mapping[str | None, float]) -> float:
    divergence = 0.0
    for name in before.keys() | now.keys():
        one, other = before.get(name, 0.0), now.get(name, 0.0)
        middle = (one + other) / 2
        divergence += sum(part * math.log2(part / middle) / 2 for part in (one, other) if part > 0)
    return math.sqrt(max(divergence, 0.0))
