"""Calculates when a monitor is due, and its time window. Pure.

A schedule is a grid: the whole multiples of ``every`` since Monday, 5 January 1970, 00:00 UTC, so that weekly
monitors run when a week ends. A late run still uses the window of its scheduled moment. Windows as long as
the schedule's step cover time exactly: each prediction is in one window. Longer ones slide: a window of
14 days that moves on by 7 has each prediction twice.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tidemill.clock import utc

__all__ = ["Window", "due_at", "last_due_time", "window_before"]

_ORIGIN = datetime(1970, 1, 5, tzinfo=UTC)


@dataclass(frozen=True)
class Window:
    """The moments from ``start`` up to, but not including, ``end``; both aware, in UTC."""

    start: datetime
    end: datetime

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    def earlier(self, by: timedelta) -> "Window":
        """Return the window of the same length that long before."""
        return Window(self.start - by, self.end - by)

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"


def window_before(now: datetime, length: timedelta) -> Window:
    """Return the window of ``length`` that ends at ``now``.

    >>> str(window_before(datetime(2013, 4, 15, tzinfo=UTC), timedelta(days=14)))
    '2013-04-01 00:00 to 2013-04-15 00:00 UTC'
    """
    end = utc(now)
    return Window(end - length, end)


def last_due_time(every: timedelta, now: datetime) -> datetime:
    """Return the latest moment of the grid that is not after ``now``.

    >>> last_due_time(timedelta(days=7), datetime(2013, 4, 17, 9, 30, tzinfo=UTC)).isoformat()
    '2013-04-15T00:00:00+00:00'
    """
    return _ORIGIN + (utc(now) - _ORIGIN) // every * every


def due_at(every: timedelta, last_run_at: datetime | None, now: datetime) -> datetime | None:
    """Return the moment for which a monitor must run at ``now``, or None when it is not due.

    Missed moments are skipped: only the latest window shows the current situation.

    Args:
        every: the monitor's step.
        last_run_at: event time of its last run; None if it never ran, and then it is due.
        now: event time.

    >>> week, monday = timedelta(days=7), datetime(2013, 4, 15, tzinfo=UTC)
    >>> due_at(week, last_run_at=monday, now=datetime(2013, 4, 21, 23, 59, tzinfo=UTC)) is None
    True
    >>> due_at(week, last_run_at=monday, now=datetime(2013, 4, 22, 0, 5, tzinfo=UTC)).isoformat()
    '2013-04-22T00:00:00+00:00'
    """
    due = last_due_time(every, now)
    return due if last_run_at is None or utc(last_run_at) < due else None
