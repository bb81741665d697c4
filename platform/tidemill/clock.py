"""Where "now" comes from: always passed in, so that history can be replayed through production code."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "ReplayClock", "SystemClock", "utc"]


def utc(moment: datetime) -> datetime:
    """Return ``moment`` in UTC; a naive moment is taken to be UTC already.

    >>> utc(datetime(2013, 4, 1)).isoformat()
    '2013-04-01T00:00:00+00:00'
    """
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class Clock(Protocol):
    """Anything that can tell the time as an aware UTC datetime."""

    def now(self) -> datetime:
        """Return the current moment, aware, in UTC."""


@dataclass(frozen=True)
class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the current moment, aware, in UTC."""
        return datetime.now(UTC)


@dataclass
class ReplayClock:
    """A clock that history moves: it only ever goes forward.

    >>> clock = ReplayClock(datetime(2013, 4, 1, tzinfo=UTC))
    >>> clock.advance_to(datetime(2013, 4, 2, tzinfo=UTC))
    >>> clock.now().isoformat()
    '2013-04-02T00:00:00+00:00'
    """

    moment: datetime

    def now(self) -> datetime:
        """Return the replayed moment, aware, in UTC."""
        return utc(self.moment)

    def advance_to(self, moment: datetime) -> None:
        """Move to ``moment``.

        Raises:
            ValueError: ``moment`` lies before the current one.
        """
        if utc(moment) < self.now():
            raise ValueError(f"a replay never goes back: {moment.isoformat()} < {self.moment.isoformat()}")
        self.moment = utc(moment)
