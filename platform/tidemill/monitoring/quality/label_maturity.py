"""Learns how long labels take, and says where those of a window's end are not all known. Pure."""

from datetime import datetime, timedelta

import polars as pl

from tidemill.plurals import said_days

__all__ = ["label_lag", "partial"]

_MOST_LABELS = 0.95
"""Labels of the last rows are waited for as long as this share of all labels took."""
_PARTLY = 0.05
"""A window is partial if labels take longer than this share of it."""
_ENOUGH = 50
"""Labels by which it is learned how long they take."""


def label_lag(at: pl.Series, label_at: pl.Series) -> timedelta:
    """Return within which time most labels become known.

    >>> at = pl.Series([datetime(2013, 4, 1)] * 3)
    >>> label_lag(at, at + timedelta(hours=2)), label_lag(at[:0], at[:0])
    (datetime.timedelta(seconds=7200), datetime.timedelta(0))
    """
    seconds = (label_at - at).dt.total_seconds().quantile(_MOST_LABELS)
    return timedelta(seconds=max(seconds or 0.0, 0.0))


def partial(labelled: pl.DataFrame, rows: int, start: datetime, end: datetime) -> str | None:
    """Return in words that labels of a window's last predictions are not all known; None if most are.

    How long labels take is learned from the first half of the window, whose slow ones had time to come.

    Args:
        labelled: predictions with ``at``, and ``label_at`` where it is known when they were labelled.
        rows: how many predictions the window has, labelled or not.
        start: of the window.
        end: of the window, until which labels were known.

    >>> start, hour = datetime(2013, 4, 1), timedelta(hours=1)
    >>> rows = pl.DataFrame({"at": [start + count * hour for count in range(120)]})
    >>> said = partial(rows.with_columns(label_at=pl.col("at") + 48 * hour), 168, start, start + 168 * hour)
    >>> print(said.partition(", ")[0])
    partial: most labels take up to 2 days
    >>> partial(rows.with_columns(label_at=pl.col("at") + hour), 168, start, start + 168 * hour)
    """
    if "label_at" not in labelled.columns or not _ENOUGH <= labelled.height < rows:
        return None
    first = labelled.filter(pl.col("at") < start + (end - start) / 2)
    known = first if first.height >= _ENOUGH else labelled
    lag = label_lag(known["at"], known["label_at"])
    if lag <= (end - start) * _PARTLY:
        return None
    since = max(end - lag, start)
    return (
        f"partial: most labels take up to {said_days(lag)}, "
        f"those of predictions since {since:%Y-%m-%d %H:%M} UTC are not all known"
    )
