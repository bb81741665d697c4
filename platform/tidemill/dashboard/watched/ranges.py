"""Reads the range of time that a page is asked for."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Annotated

from fastapi import Query

from tidemill.errors import UsageError

__all__ = ["First", "Last", "Range", "range_of"]

First = Annotated[str | None, Query(alias="from", description="First day, such as 2013-04-01, in UTC.")]
Last = Annotated[str | None, Query(alias="to", description="Last day, such as 2013-06-30, in UTC.")]


@dataclass(frozen=True)
class Range:
    """The days that were asked for; None: no limit on that side."""

    first: str | None
    last: str | None

    @property
    def start(self) -> datetime | None:
        """Return the first moment."""
        return None if self.first is None else datetime.combine(date.fromisoformat(self.first), time.min, UTC)

    @property
    def end(self) -> datetime | None:
        """Return the last moment."""
        return None if self.last is None else datetime.combine(date.fromisoformat(self.last), time.max, UTC)


def range_of(first: str | None, last: str | None) -> Range:
    """Return the range.

    Raises:
        UsageError: one is no day, or the last is before the first.

    >>> range_of("2013-04-01", "")
    Range(first='2013-04-01', last=None)
    """
    found = Range(_day("from", first), _day("to", last))
    if found.first and found.last and found.last < found.first:
        raise UsageError(
            f"the range ends on {found.last}, before it begins on {found.first}", hint="exchange the two days"
        )
    return found


def _day(name: str, given: str | None) -> str | None:
    if not given:
        return None
    try:
        return date.fromisoformat(given).isoformat()
    except ValueError as error:
        raise UsageError(f"{name} is no day: {given[:40]!r}", hint="write it as in 2013-04-01") from error
