"""Makes one column of the reference and of the window comparable, and compares them. Pure."""

from typing import Literal, NamedTuple

import polars as pl

from tidemill.monitoring.drift.distances import jensen_shannon, wasserstein
from tidemill.monitoring.drift.list_values import Floats, element_matrix, is_list, list_distance, norms

__all__ = ["FEW", "ColumnPair", "Method", "as_comparable"]

Method = Literal["wasserstein", "jensenshannon"]

FEW = 20
"""Numbers with more distinct values are compared as numbers; at most this many categories are separate."""
# Jensen–Shannon's noise grows with the number of categories: 20 of them, at 500 rows, stay below 0.1.
_UNSEEN = 0.1
_COMMON = 0.5


class ColumnPair(NamedTuple):
    """A column's values in the reference and in the window, comparable, without missing values."""

    before: pl.Series | None
    """None if there is no such column."""
    now: pl.Series | None
    missing_before: float
    missing_now: float
    unreadable: str | None
    """Why one side could not be made comparable."""
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
            found.append(None if values is None else values.drop_nulls())
            shares.append(values.null_count() / len(values) if values is not None and len(values) else 1.0)
        pair = cls(found[0], found[1], shares[0], shares[1], unreadable)
        if before is None or now is None or not (is_list(before) and is_list(now)):
            return pair
        lengths = [_length(column) for column in (before, now)]
        if None not in lengths and lengths[0] != lengths[1]:
            told = f"lists of {lengths[0]} numbers in the reference, of {lengths[1]} in the window"
            return pair._replace(unreadable=told)
        sides = [element_matrix(column, lengths[0] or 0) for column in (before, now)]
        return pair._replace(elements=(sides[0], sides[1]))

    def method(self, few: int) -> tuple[Method | None, str | None]:
        """Return the method of comparison, or the reason why there is none."""
        if self.unreadable is not None:
            return None, self.unreadable
        named = (("the reference", self.before), ("the window", self.now))
        if absent := [side for side, column in named if column is None]:
            return None, f"not in {' and '.join(absent)}"
        assert self.before is not None
        assert self.now is not None
        if empty := [side for side, column in named if column is not None and column.is_empty()]:
            return None, f"no value in {' and '.join(empty)}"
        if self.before.dtype != self.now.dtype:
            return None, f"{_kind(self.before)} in the reference, {_kind(self.now)} in the window"
        if self.elements is not None or (self.before.dtype == pl.Float64 and self.before.n_unique() > few):
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
        return jensen_shannon(_as_category(self.before), _as_category(self.now), FEW)

    def constant(self) -> str | None:
        """Return a note if the window has a single value, which at most half of the reference's rows have."""
        assert self.before is not None
        assert self.now is not None
        now = _as_category(self.now)
        if len(now) < 2 or now.n_unique() > 1:
            return None
        share = (_as_category(self.before) == now[0]).sum() / len(self.before)
        value = self.now[0] if self.now.dtype == pl.Float64 else "one value"  # text may be personal
        return f"constant: {value} in every row" if share <= _COMMON else None

    def unseen(self) -> str | None:
        """Return a note if many rows of the window have values that the reference does not have."""
        assert self.before is not None
        assert self.now is not None
        before, now = _as_category(self.before), _as_category(self.now)
        once = int(before.is_unique().sum()) / len(before)
        new = (~now.is_in(before.unique().implode())).sum() / len(now)
        return f"{new:.1%} of the rows have new values".replace("%", " %") if new >= once + _UNSEEN else None


def as_comparable(column: pl.Series) -> pl.Series:
    """Return numbers as floats, null where they are not finite; lists as their norms; anything else as text.

    Raises:
        PolarsError: the values cannot be converted to text.

    >>> as_comparable(pl.Series([1, None])).to_list(), as_comparable(pl.Series([float("nan"), 2])).to_list()
    ([1.0, None], [None, 2.0])
    """
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        numbers = column.cast(pl.Float64)
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


def _as_category(column: pl.Series) -> pl.Series:
    """Return fractional numbers in the precision in which an online store may keep them."""
    if column.dtype != pl.Float64:
        return column
    whole = column == column.round(0)
    return column.zip_with(whole, column.cast(pl.Float32).cast(pl.Float64))


def _kind(column: pl.Series) -> str:
    return "numbers" if column.dtype == pl.Float64 else "text"
