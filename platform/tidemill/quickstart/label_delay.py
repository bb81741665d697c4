"""Asks how long after its time the label of a row is known, where a column shows how long it may take."""

import math
from datetime import timedelta

import polars as pl

from tidemill.data.profiling.table_profile import TableProfile
from tidemill.quickstart.init_options import Ask
from tidemill.quickstart.time_and_key import TimeChoice, moments_of

__all__ = ["ask_labels_after"]

_MOST = 0.95
"""Share of the rows whose label is known by then."""
_AT_ONCE = "at once"


def ask_labels_after(profile: TableProfile, time: TimeChoice, ask: Ask) -> str | None:
    """Ask how long after its time a row's label is known, if another column has later moments.

    Without an answer labels are known at once.

    Returns:
        A duration as ``2d``; None: at once.
    """
    sample = profile.sample
    if not isinstance(sample.schema[time.column], pl.Datetime | pl.Date):
        return None
    begin = moments_of(time.column, sample.schema[time.column])
    waits = {}
    for column in profile.columns.values():
        if not column.is_moment or column.name == time.column:
            continue
        wait = (moments_of(column.name, column.dtype) - begin).dt.total_seconds()
        found = sample.select(later=(wait > 0).mean(), most=wait.quantile(_MOST, "higher")).row(0, named=True)
        if found["later"] is not None and found["later"] > 0.5:
            waits[_spelled(found["most"])] = column.name
    if not waits:
        return None
    shown = ", ".join(
        f"{column} is at most {wait} later in {_MOST:.0%} of the rows" for wait, column in waits.items()
    )
    answer = ask(f"how long after {time.column} is the label known? {shown}", (_AT_ONCE, *waits), _AT_ONCE)
    return None if answer == _AT_ONCE else answer


def _spelled(seconds: float) -> str:
    """Return a duration in days, or in hours if it is less than one.

    >>> _spelled(7000), _spelled(90_000)
    ('2h', '2d')
    """
    if seconds <= timedelta(hours=23).total_seconds():
        return f"{max(1, math.ceil(seconds / 3600))}h"
    return f"{math.ceil(seconds / 86400)}d"
