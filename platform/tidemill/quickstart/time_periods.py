"""Chooses the last days of a table that judge versions, and those before them that trials are compared by."""

from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.data.tables.column_names import literal_name
from tidemill.quickstart.time_and_key import moments_of

__all__ = ["FEWEST", "MOST", "SHARE", "Periods", "choose_periods"]

SHARE = 0.15
"""Of the rows: about so many judge versions, and as many others trials."""
FEWEST, MOST = 0.05, 0.35
"""Shares of the rows that a period may have, where time has no days with about `SHARE`."""
_ENOUGH_TO_TRAIN = 0.3
_TRIED = 50
"""So many lengths are tried, those nearest to `SHARE` first."""
_DAY = timedelta(days=1)


class Periods(NamedTuple):
    """The lengths of the latest periods, and how many rows each has."""

    validation_days: int
    validation_rows: int
    holdout_days: int
    holdout_rows: int


class _Cells(NamedTuple):
    """Rows by their age in days at the end of the table, the latest first."""

    age: npt.NDArray[np.int64]
    """Rows of a cell belong to the last so many days."""
    known: npt.NDArray[np.int64]
    """Their labels were known so many days before the end."""
    rows: npt.NDArray[np.int64]
    low: npt.NDArray[np.float64]
    """The ranks of their least and their greatest labels."""
    high: npt.NDArray[np.float64]
    oldest: float
    """Age of the first row."""

    def learnable(self, inside: npt.NDArray[np.bool_]) -> bool:
        """Return whether the rows of some cells have more than one label."""
        return bool(inside.any() and self.low[inside].min() < self.high[inside].max())

    def ends(self, last: int) -> npt.NDArray[np.int64]:
        """Return where a period that begins ``last`` days before the end may end, in days before the end.

        It is in the middle between days with rows, so that batches that come a little later change nothing.
        """
        days = np.unique(self.age[self.age > last])
        return np.asarray(days[:-1] + np.diff(days) // 2, dtype=np.int64)


def choose_periods(
    table: pl.LazyFrame, time: str, target: str, delay: timedelta, now: datetime
) -> Periods | None:
    """Choose the periods so that each has about `SHARE` of the rows, however these are spread over time.

    Args:
        table: with its moments read.
        time: the column with them.
        target: the column to predict.
        delay: labels are known so long after their time.
        now: later labels are not known yet.

    Returns:
        None if no number of days leaves rows with different labels on each side.
    """
    cells = _cells(table, time, target, delay, now)
    total = int(cells.rows.sum())
    for held in _nearest(cells, total, 0, np.ones(len(cells.rows), dtype=np.bool_)):
        in_holdout = cells.age <= held
        for end in _nearest(cells, total, held, cells.known >= held):
            in_validation = (cells.age > held) & (cells.age <= end) & (cells.known >= held)
            in_train = (cells.age > end) & (cells.known >= end)
            sizes = [int(cells.rows[inside].sum()) for inside in (in_train, in_validation, in_holdout)]
            if cells.oldest < end + 1 or sizes[0] < _ENOUGH_TO_TRAIN * total:
                continue
            if all(cells.learnable(inside) for inside in (in_train, in_validation, in_holdout)):
                return Periods(end - held, sizes[1], held, sizes[2])
    return None


def _nearest(cells: _Cells, total: int, last: int, usable: npt.NDArray[np.bool_]) -> list[int]:
    """Return the ends of a period by how near to `SHARE` its rows come; those far from it are left out."""
    ends = cells.ends(last)
    inside = usable & (cells.age > last)
    order = np.argsort(cells.age[inside], kind="stable")
    passed = np.concatenate([[0], np.cumsum(cells.rows[inside][order])])
    shares = passed[np.searchsorted(cells.age[inside][order], ends, side="right")] / max(total, 1)
    able = (shares >= FEWEST) & (shares <= MOST)
    ranked = np.argsort(np.abs(shares[able] - SHARE), kind="stable")[:_TRIED]
    return [int(end) for end in ends[able][ranked]]


def _cells(table: pl.LazyFrame, time: str, target: str, delay: timedelta, now: datetime) -> _Cells:
    schema = table.collect_schema()
    label = pl.col(literal_name(target))
    if not schema[target].is_numeric():
        label = label.cast(pl.String)
    rows = table.select(at=moments_of(time, schema[time]), label=label).filter(
        pl.col("at").is_not_null(), pl.col("at") + delay <= now, pl.col("label").is_not_null()
    )
    if schema[target].is_float():
        rows = rows.filter(pl.col("label").is_finite())
    newest, oldest = (
        rows.select(pl.col("at").max(), low=pl.col("at").min()).collect(engine="streaming").row(0)
    )
    if newest is None:
        nothing, no_rank = np.empty(0, dtype=np.int64), np.empty(0)
        return _Cells(nothing, nothing, nothing, no_rank, no_rank, 0.0)
    end = newest.replace(microsecond=0) + timedelta(seconds=1)  # as training splits
    age, day = pl.lit(end) - pl.col("at"), _DAY // timedelta(microseconds=1)
    found = (
        rows.group_by(
            age=-(-age.dt.total_microseconds() // day),
            known=(age - delay).dt.total_microseconds() // day,
        )
        .agg(pl.len().alias("rows"), low=pl.col("label").min(), high=pl.col("label").max())
        .sort("age", "known")
        .collect(engine="streaming")
    )
    age_days, known_days, rows_in = (found[name].cast(pl.Int64).to_numpy() for name in found.columns[:3])
    ranks = pl.concat([found["low"], found["high"]]).rank("dense").cast(pl.Float64).to_numpy()
    low, high = ranks[: found.height], ranks[found.height :]
    return _Cells(age_days, known_days, rows_in, low, high, (end - oldest) / _DAY)
