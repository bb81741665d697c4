"""Makes one column of the reference and of the window comparable, and compares them. Pure."""

import math
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from tidemill.monitoring.drift.chance import beyond_chance, share_beyond_chance, unlikely
from tidemill.monitoring.drift.distances import (
    jensen_shannon,
    shuffled_jensen_shannon,
    shuffled_wasserstein,
    wasserstein,
)
from tidemill.monitoring.drift.list_values import Floats, element_matrices, is_list, list_distance, norms
from tidemill.monitoring.drift.units.recurring_numbers import factor_of_all
from tidemill.monitoring.drift.units.unit_change import multiplied, other_scale, other_size, resized

__all__ = [
    "COMMON",
    "FEW",
    "UNSEEN",
    "ColumnPair",
    "Method",
    "as_category",
    "as_comparable",
    "once_share",
]

Method = Literal["wasserstein", "jensenshannon"]

FEW = 20
"""Numbers with more distinct values are compared as numbers; at most this many categories are separate."""
# Jensen–Shannon's noise grows with the number of categories: 20 of them, at 500 rows, stay below 0.1.
UNSEEN = 0.1
"""Share of rows with new values, beyond what is expected, from which on a column is broken."""
_SORTED = 100_000
"""Fewer numbers are sorted sooner than threads are started to count the different ones."""
COMMON = 0.8
"""A column may be constant if more of the reference's rows have that value."""


class ColumnPair(NamedTuple):
    """A column's values in the reference and in the window, comparable, without missing values."""

    before: pl.Series | None
    """None if there is no such column."""
    now: pl.Series | None
    missing_before: float
    missing_now: float
    unreadable: str | None
    """Why one side could not be made comparable."""
    rows: tuple[int, int] = (0, 0)
    """Of both sides, with those whose value is missing."""
    elements: tuple[Floats, Floats] | None = None
    """Of lists, which are shown and counted by their norms: the elements of both sides."""

    @classmethod
    def of(cls, before: pl.Series | None, now: pl.Series | None) -> "ColumnPair":
        """Make both sides comparable."""
        found: list[pl.Series | None] = []
        shares, unreadable = list[float](), None
        for column in (before, now):
            values = None
            if column is not None:
                try:
                    values = as_comparable(column)
                except pl.exceptions.PolarsError:
                    unreadable = f"values of type {column.dtype} cannot be compared"
            known = values.drop_nulls() if values is not None and values.null_count() else values
            found.append(known)
            shares.append(values.null_count() / len(values) if values is not None and len(values) else 1.0)
        rows = [0 if column is None else len(column) for column in (before, now)]
        pair = cls(found[0], found[1], shares[0], shares[1], unreadable, (rows[0], rows[1]))
        if before is None or now is None or not (is_list(before) and is_list(now)):
            return pair
        lengths = [_length(column) for column in (before, now)]
        if None not in lengths and lengths[0] != lengths[1]:
            told = f"lists of {lengths[0]} numbers in the reference, of {lengths[1]} in the window"
            return pair._replace(unreadable=told)
        elements = element_matrices(before, now, lengths[0] or 0)
        return pair._replace(elements=elements) if all(map(len, elements)) else pair

    def method(self, few: int) -> tuple[Method | None, str | None]:
        """Return the method of comparison, or the reason why there is none."""
        if self.unreadable is not None:
            return None, self.unreadable
        if self.elements is not None:
            return "wasserstein", None
        named = (("the reference", self.before), ("the window", self.now))
        if absent := [side for side, column in named if column is None]:
            return None, f"not in {' and '.join(absent)}"
        assert self.before is not None
        assert self.now is not None
        if empty := [side for side, column in named if column is not None and column.is_empty()]:
            return None, f"no value in {' and '.join(empty)}"
        if self.before.dtype != self.now.dtype:
            return None, f"{_kind(self.before)} in the reference, {_kind(self.now)} in the window"
        if self.before.dtype == pl.Float64 and _has_more(self.before, few):
            return "wasserstein", None
        return "jensenshannon", None

    def distance(self, method: Method | None) -> float | None:
        """Return the distance by ``method``."""
        if method is None or self.before is None or self.now is None:
            return None
        if self.elements is not None:
            return list_distance(*self.elements)
        if method == "wasserstein":
            return wasserstein(self.before.to_numpy(), self.now.to_numpy())
        return jensen_shannon(as_category(self.before), as_category(self.now), FEW)

    def far(self, method: Method | None, value: float, columns: int) -> bool:
        """Return whether rows of one source are seldom as far apart as ``value``, the distance."""
        if self.elements is not None:
            return beyond_chance(list_distance, *self.elements, value, columns)
        before, now = self._sides
        if method == "wasserstein":
            return beyond_chance(wasserstein, *self._numbers, value, columns, at_once=shuffled_wasserstein)
        sides = as_category(before), as_category(now)
        at_once = partial(shuffled_jensen_shannon, most=FEW)
        return beyond_chance(_shares_apart, *sides, value, columns, at_once=at_once)

    @property
    def empty(self) -> bool:
        """Return whether a side has the column, and no value in it."""
        return any(side is not None and side.is_empty() for side in (self.before, self.now))

    def gone(self, columns: int) -> bool:
        """Return whether two samples of one source seldom differ so much in how many values they miss."""
        if not share_beyond_chance(self.missing_before, self.missing_now, self.rows, columns):
            return False
        return self.missing_now < 1 or unlikely(self.missing_before, self.rows[1], columns)

    def constant(self, columns: int) -> str | None:
        """Return a note if the window has a single value, which many rows of the reference have not."""
        before, now = self._sides
        if (
            before.is_empty() or len(now) < 2 or len(set(as_category(now.head(10)).to_list())) > 1
        ):  # mostly the first rows tell
            return None
        now = as_category(now)
        if now.n_unique() > 1:
            return None
        share = (as_category(before) == now[0]).sum() / len(before)
        if share > COMMON or not unlikely(share, len(now), columns):
            return None
        value = self._sides[1][0] if before.dtype == pl.Float64 else "one value"  # text may be personal
        return f"constant: {value} in every row"

    def unseen(self, columns: int) -> str | None:
        """Return a note if many rows of the window have values that the reference does not have."""
        before, now = (as_category(side) for side in self._sides)
        new = _new_share(before, now)
        excess = new - once_share(before)
        if excess < UNSEEN or not beyond_chance(_new_values, before, now, excess, columns):
            return None
        return f"{new:.1%} of the rows have new values"

    def rescaled(self, columns: int) -> str | None:
        """Return a note if the size of numbers has moved by a power of ten, as in another unit."""
        if self.elements is not None:
            return None
        factor = other_size(*self._numbers, columns)
        if factor is None:
            return None
        exact = factor_of_all(*self._numbers, factor)
        told = "by medians" if exact is None else f"its own numbers times {exact:.6g}"
        return f"typical size {factor:.2g} times that of the reference: {told}"

    def multiplied(self, threshold: float, columns: int) -> str | None:
        """Return a note if numbers are those of the reference times a factor, as in another unit."""
        found = None if self.elements is not None else multiplied(*self._numbers, threshold, columns)
        if found is None:
            return None
        if not found.unit:
            return f"sizes {found.factor:.3g} times those of the reference, of values that it has, too"
        return f"spread as in the reference times {found.factor:.3g}: another unit?"

    @property
    def resized(self) -> bool:
        """Return whether the typical size of numbers is another one, so that their unit may be."""
        return self.elements is None and resized(*self._numbers)

    def on_other_scale(self) -> str | None:
        """Return a note if numbers are temperatures in another unit; asked where they are far, or resized."""
        if self.elements is not None:
            return None
        name = other_scale(*self._numbers)
        return None if name is None else f"spread as in the reference in another unit: {name}?"

    @property
    def _numbers(self) -> tuple[Floats, Floats]:
        before, now = self._sides
        return before.to_numpy(), now.to_numpy()

    @property
    def _sides(self) -> tuple[pl.Series, pl.Series]:
        assert self.before is not None
        assert self.now is not None
        return self.before, self.now


def _has_more(numbers: pl.Series, few: int) -> bool:
    """Return whether there are more than a few different numbers; mostly the first rows tell."""
    if len(np.unique(numbers.head(4 * few).to_numpy())) > few:
        return True
    if len(numbers) > _SORTED:
        return numbers.n_unique() > few
    return bool((np.diff(np.sort(numbers.to_numpy())) != 0).sum() >= few)


def _shares_apart(before: pl.Series, now: pl.Series) -> float:
    return jensen_shannon(before, now, FEW)


def once_share(before: pl.Series) -> float:
    """Return about how many rows of another sample of the source have new values (I. J. Good)."""
    return int(before.is_unique().sum()) / len(before)


def _new_share(before: pl.Series, now: pl.Series) -> float:
    return int((~now.is_in(before.unique().implode())).sum()) / len(now)


def _new_values(before: pl.Series, now: pl.Series) -> float:
    return _new_share(before, now) - once_share(before)


def as_comparable(column: pl.Series) -> pl.Series:
    """Return numbers as floats, null where they are not finite; lists as their norms; anything else as text.

    Raises:
        PolarsError: the values cannot be converted to text.

    >>> as_comparable(pl.Series([1, None])).to_list(), as_comparable(pl.Series([float("nan"), 2])).to_list()
    ([1.0, None], [None, 2.0])
    """
    column = column.alias("value")  # methods of a series with a name like ^score$ read it as a pattern
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        numbers = column.cast(pl.Float64)
        if math.isfinite(numbers.sum()):  # quicker, where all are finite
            return numbers
        return numbers.set(~numbers.is_finite().fill_null(False), None)
    if is_list(column):
        return norms(column)
    return column if column.dtype == pl.Null else column.cast(pl.String)


def _length(column: pl.Series) -> int | None:
    """Return the most frequent length of a column's lists; None where there is none."""
    if isinstance(column.dtype, pl.Array):
        return column.dtype.size
    lengths = column.drop_nulls().list.len().alias("length").value_counts(sort=True)
    return None if lengths.is_empty() else int(lengths["length"][0])


def as_category(column: pl.Series) -> pl.Series:
    """Return fractional numbers in the precision in which an online store may keep them."""
    if column.dtype != pl.Float64:
        return column
    whole = column == column.round(0)
    return column.zip_with(whole, column.cast(pl.Float32).cast(pl.Float64))


def _kind(column: pl.Series) -> str:
    return "numbers" if column.dtype == pl.Float64 else "text"
