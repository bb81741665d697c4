"""Which columns can be compared, by which distance, and what can be said of them without any. Pure.

How a column is compared, in this order:

==================================================  =================================================
the column                                          is
==================================================  =================================================
is not in the reference, or not in the window       not compared; has drifted (the schema changed)
has no value in the reference and none in the window  not compared; has not drifted
has no value in one of them                         not compared; has drifted
holds numbers in one and text in the other          not compared; has drifted
holds numbers, more than 20 different ones          Wasserstein distance in standard deviations
holds fewer different numbers, or text              Jensen–Shannon distance
==================================================  =================================================

In addition, a column that can be compared has drifted when its share of missing values moved by the threshold
for that: the distances look only at the values that are there. A column that is constant in the reference is
one with few different values: as long as the window holds the same value, its distance is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from tidemill.monitoring.monitor_config import DataDriftConfig

__all__ = ["OTHER", "Column", "ColumnDrift", "Comparison", "Method", "clean", "describe", "judge"]

Method = Literal["wasserstein", "jensenshannon"]

OTHER = "(other)"
"""Stands for all categories but the most frequent ones of the reference."""

_FEW = 20
# Jensen–Shannon's noise grows with the number of categories: 20 of them, at 500 rows, stay below 0.1.


@dataclass(frozen=True)
class Column:
    """What is known of a column before it is compared."""

    name: str
    method: Method | None
    """None: it cannot be compared; then ``drifted`` holds, and ``note`` says why."""
    threshold: float
    """For the distance."""
    drifted: bool
    """Whether it has drifted already, whatever the distance will be."""
    reference_mean: float | None
    current_mean: float | None
    reference_missing: float
    """Share of missing values, 0 to 1."""
    current_missing: float
    note: str | None


@dataclass(frozen=True)
class ColumnDrift:
    """How far one column has moved."""

    name: str
    method: str | None
    """``wasserstein`` or ``jensenshannon``; none when it could not be compared: see ``note``."""
    value: float | None
    """The distance."""
    threshold: float
    drifted: bool
    reference_mean: float | None
    """Of numbers; none for categories."""
    current_mean: float | None
    reference_missing: float
    """Share of missing values, 0 to 1."""
    current_missing: float
    note: str | None
    """What the distance does not say: why there is none, or that missing values are what drifted."""


@dataclass(frozen=True)
class Comparison:
    """What a report found."""

    columns: tuple[ColumnDrift, ...]
    prediction: ColumnDrift | None
    reference_rows: int
    """Rows there were."""
    current_rows: int
    reference_sampled: int
    """Rows that were compared; a seeded sample if fewer than there were."""
    current_sampled: int
    seed: int
    seconds: float

    @property
    def by_excess(self) -> tuple[ColumnDrift, ...]:
        """The columns, the one that moved furthest past its threshold first."""
        return tuple(sorted(self.columns, key=_excess, reverse=True))

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the columns that have drifted, in the order of `by_excess`."""
        return tuple(column.name for column in self.by_excess if column.drifted)

    @property
    def share(self) -> float:
        """Share of the columns that have drifted; 0 when there are none."""
        return len(self.drifted) / len(self.columns) if self.columns else 0.0


def _excess(column: ColumnDrift) -> tuple[bool, float]:
    return column.drifted, column.value / column.threshold if column.value is not None else float("inf")


def clean(
    reference: pl.DataFrame, current: pl.DataFrame, names: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Bring both frames to comparable values: numbers as finite floats, anything else as text.

    Categories beyond the 20 most frequent ones of the reference become ``(other)``. That also keeps text that
    somebody sent in a request out of the reports.

    Args:
        reference: rows of any number, with some of the columns ``names``.
        current: likewise.
        names: the columns to keep, where they exist.

    >>> old, new = pl.DataFrame({"a": [1, None], "b": ["x", "y"]}), pl.DataFrame({"a": [True], "b": ["z"]})
    >>> [frame.rows() for frame in clean(old, new, ["a", "b"])]
    [[(1.0, 'x'), (None, 'y')], [(1.0, '(other)')]]
    """
    left, right = _typed(reference, names), _typed(current, names)
    for name, dtype in left.schema.items():
        if dtype == pl.String:
            counts = (
                left[name]
                .drop_nulls()
                .value_counts(sort=True, name="n")
                .sort("n", name, descending=[True, False])
            )
            kept = counts[name].head(_FEW).to_list()
            left = left.with_columns(_folded(name, kept))
            if right.schema.get(name) == pl.String:
                right = right.with_columns(_folded(name, kept))
    return left, right


def _typed(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    columns = []
    for name in names:
        dtype = frame.schema.get(name)
        if dtype is None:
            continue
        if dtype.is_numeric() or dtype == pl.Boolean:
            number = pl.col(name).cast(pl.Float64)
            columns.append(pl.when(number.is_finite()).then(number).alias(name))
        elif dtype == pl.Null:
            columns.append(pl.col(name))
        else:
            columns.append(pl.col(name).cast(pl.String))
    return frame.select(columns)


def _folded(name: str, kept: Sequence[str]) -> pl.Expr:
    column = pl.col(name)
    # Evidently writes values into the report's <script> as they are: no value may close it.
    safe = column.str.replace_all("<", "‹", literal=True)
    return (
        pl.when(column.is_null())
        .then(None)
        .when(column.is_in(kept))
        .then(safe)
        .otherwise(pl.lit(OTHER))
        .alias(name)
    )


def describe(reference: pl.DataFrame, current: pl.DataFrame, name: str, config: DataDriftConfig) -> Column:
    """Describe the column ``name`` of two cleaned frames (see `clean`).

    >>> old, new = pl.DataFrame({"a": [1.0, 2.0]}), pl.DataFrame({"a": [2.0, None]})
    >>> column = describe(old, new, "a", DataDriftConfig())
    >>> column.method, column.drifted, column.note
    ('jensenshannon', True, 'missing: 0.0 % before, 50.0 % now')
    """
    before, now = reference.get_column(name, default=None), current.get_column(name, default=None)
    missing_before, missing_now = _missing(before), _missing(now)
    method, note = _method(before, now)
    drifted = method is None and not missing_before == missing_now == 1.0
    if method is not None and abs(missing_now - missing_before) >= config.missing:
        drifted, note = (
            True,
            f"missing: {missing_before:.1%} before, {missing_now:.1%} now".replace("%", " %"),
        )
    default = config.numerical if method == "wasserstein" else config.categorical
    return Column(
        name=name,
        method=method,
        threshold=config.thresholds.get(name, default),
        drifted=drifted,
        reference_mean=_mean(before),
        current_mean=_mean(now),
        reference_missing=missing_before,
        current_missing=missing_now,
        note=note,
    )


def _method(before: pl.Series | None, now: pl.Series | None) -> tuple[Method | None, str | None]:
    if before is None or now is None:
        missing_in = " and ".join(
            side for side, column in (("the reference", before), ("the window", now)) if column is None
        )
        return None, f"not in {missing_in}"
    empty = [side for side, column in (("the reference", before), ("the window", now)) if column.count() == 0]
    if empty:
        return None, f"no value in {' and '.join(empty)}"
    if before.dtype != now.dtype:
        return None, f"{_kind(before)} in the reference, {_kind(now)} in the window"
    if before.dtype == pl.Float64 and before.drop_nulls().n_unique() > _FEW:
        return "wasserstein", None
    return "jensenshannon", None


def _kind(column: pl.Series) -> str:
    return "numbers" if column.dtype == pl.Float64 else "text"


def _missing(column: pl.Series | None) -> float:
    return 1.0 if column is None or len(column) == 0 else column.null_count() / len(column)


def _mean(column: pl.Series | None) -> float | None:
    mean = column.mean() if column is not None and column.dtype == pl.Float64 else None
    return float(mean) if isinstance(mean, (int, float)) else None


def judge(column: Column, value: float | None) -> ColumnDrift:
    """Judge a column by its distance.

    Args:
        column: see `describe`.
        value: the distance by the column's method; none for a column without.

    >>> column = Column("wind", "wasserstein", 0.1, False, 8.0, 9.5, 0.0, 0.0, None)
    >>> judge(column, 0.1).drifted, judge(column, 0.09).drifted
    (True, False)
    """
    note = column.note
    if column.method is not None and value is None:
        note = note or "the distance is undefined"
    return ColumnDrift(
        name=column.name,
        method=column.method,
        value=value,
        threshold=column.threshold,
        drifted=column.drifted or (value is not None and value >= column.threshold),
        reference_mean=column.reference_mean,
        current_mean=column.current_mean,
        reference_missing=column.reference_missing,
        current_missing=column.current_missing,
        note=note,
    )
