"""Finds the rows of candidate windows, and the moment of a change."""

from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.data.tables.column_names import literal_name
from tidemill.training.candidate_windows import Window

__all__ = ["change_point", "rows_in"]

_DAY = timedelta(days=1)
_SEASON = 8
"""A season is this part of its period, on either side of the moment."""
_SHORTEST = 14
"""Days that a change must be away from both ends of the rows: fewer days are weather."""


def rows_in(window: Window, rows: pl.DataFrame, time: str, change: datetime | None) -> pl.DataFrame | str:
    """Return the rows of a window, or why there is no such window.

    Args:
        window: which.
        rows: in order of time; nothing else is looked at.
        time: the column with their moments.
        change: since when the world is another one (`change_point`); None: no change was found.
    """
    if window.kind == "all" or rows.is_empty():
        return rows
    at, first, last = pl.col(literal_name(time)), rows[time][0], rows[time][-1]
    if window.kind == "since_change":
        return "no change was found in the rows" if change is None else rows.filter(at >= change)
    assert window.length is not None
    if window.kind == "last":
        start = last - window.length
        return (
            f"all rows are from the last {window.length / _DAY:g} days"
            if start <= first
            else rows.filter(at > start)
        )
    near = window.length / _SEASON
    if last - window.length + near < first:
        return f"the rows do not reach back to the season {window.length / _DAY:g} days before"
    since = (pl.lit(last) - at).dt.total_microseconds() % int(window.length / timedelta(microseconds=1))
    edge = int(near / timedelta(microseconds=1))
    whole = int(window.length / timedelta(microseconds=1))
    return rows.filter((since <= edge) | (since >= whole - edge))


def change_point(rows: pl.DataFrame, time: str, columns: tuple[str, ...]) -> datetime | None:
    """Return the start of the day since which the rows differ most from those before.

    Daily means of the columns that are numbers are compared, in units of how much they move from one day to
    the next, by the statistic of a CUSUM test summed over the columns. A day near an end does not count. It
    is a guess for a candidate window, which must then prove itself; it is no test.

    Args:
        rows: in order of time.
        time: the column with their moments.
        columns: the features and the label.

    >>> from datetime import UTC
    >>> start = datetime(2024, 1, 1, tzinfo=UTC)
    >>> x = [float(day >= 60) + day % 2 / 10 for day in range(100)]
    >>> days = pl.DataFrame({"at": [start + day * _DAY for day in range(100)], "x": x})
    >>> change_point(days, "at", ("x",)).isoformat()
    '2024-03-01T00:00:00+00:00'
    """
    numbers = [name for name in columns if rows.schema[name].is_numeric()]
    if not numbers or rows.is_empty():
        return None
    day = pl.col(literal_name(time)).dt.truncate("1d").alias("day of the rows")
    daily = (
        rows.group_by(day)
        .agg([pl.col(literal_name(name)).mean() for name in numbers])
        .sort(day.meta.output_name())
    )
    if daily.height < 2 * _SHORTEST + 1:
        return None
    values = daily.select(numbers).fill_null(strategy="forward").fill_null(strategy="backward").to_numpy()
    found = _greatest(np.asarray(values, dtype=np.float64))
    return None if found is None else daily["day of the rows"][found]


def _greatest(values: npt.NDArray[np.float64]) -> int | None:
    """Return at which row the means before and after differ most, summed over the columns."""
    spread = np.sqrt(np.nanmean(np.diff(values, axis=0) ** 2, axis=0) / 2)
    usable = np.isfinite(values).all(axis=0) & (spread > 0)
    if not usable.any():
        return None
    scaled = (values[:, usable] - values[:, usable].mean(axis=0)) / spread[usable]
    count = len(scaled)
    before = np.arange(1, count)
    sums = np.cumsum(scaled, axis=0)[:-1]
    statistic = (sums**2).sum(axis=1) / (before * (count - before))
    allowed = statistic[_SHORTEST - 1 : count - _SHORTEST]
    return int(np.argmax(allowed)) + _SHORTEST
