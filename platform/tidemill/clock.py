"""Where "now" comes from: always passed in, so that history can be replayed through production code."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

__all__ = [
    "CLOCKS_APART",
    "FIRST_YEAR",
    "LAST_YEAR",
    "NUMBER",
    "Clock",
    "ReplayClock",
    "SystemClock",
    "is_number",
    "parse_duration",
    "parse_moment",
    "utc",
]

FIRST_YEAR, LAST_YEAR = 1900, 2200
"""Of moments: well inside what every engine can convert to UTC and count in nanoseconds."""

CLOCKS_APART = timedelta(minutes=5)
"""How far another machine's clock may be ahead: what it says of now is not taken for the future."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST = timedelta(days=3660)
NUMBER = r"^\s*[+-]?[0-9]+(\.[0-9]*)?\s*$"
"""Matches digits alone, which are no moment: they may be a date, seconds or milliseconds."""


def parse_duration(value: object) -> timedelta:
    """Read a duration such as ``14d``: a whole number and one of s, m, h, d, w.

    Raises:
        ValueError: it is not one, is zero or longer than ten years, or has no unit.

    >>> parse_duration("14d"), parse_duration("6h")
    (datetime.timedelta(days=14), datetime.timedelta(seconds=21600))
    """
    if isinstance(value, timedelta):
        duration = value
    else:
        match = re.fullmatch(r"([0-9]{1,6})([smhdw])", value) if isinstance(value, str) else None
        if match is None:
            raise ValueError(
                f"{value!r} is not a duration: write a whole number and s, m, h, d or w, as in 14d"
            )
        duration = timedelta(**{_UNITS[match[2]]: int(match[1])})
    if not timedelta(0) < duration <= _LONGEST:
        raise ValueError(f"{value!r} is out of range: a duration lies between 1s and {_LONGEST.days}d")
    return duration


def utc(moment: datetime) -> datetime:
    """Return ``moment`` in UTC; a naive moment is taken to be UTC already.

    >>> utc(datetime(2013, 4, 1)).isoformat()
    '2013-04-01T00:00:00+00:00'
    """
    if moment.tzinfo is UTC:
        return moment
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def parse_moment(text: str) -> datetime:
    """Read a moment in ISO 8601, in UTC unless it says otherwise.

    Raises:
        ValueError: it is not one, or UTC has no such year. Digits alone are refused: they may be a date,
            seconds or milliseconds.

    >>> parse_moment("2013-04-01T06:00+02:00").isoformat()
    '2013-04-01T04:00:00+00:00'
    """
    if is_number(text):
        raise ValueError(f"{text!r} is a number, not a moment such as 2013-04-01T06:00:00Z")
    try:
        return utc(datetime.fromisoformat(text.strip()))
    except OverflowError as error:
        raise ValueError(f"{text!r} is outside the years 1 to 9999") from error


def is_number(text: str) -> bool:
    """Return whether text is digits alone, perhaps with a sign and a fraction.

    >>> [is_number(text) for text in ("1387552500", "-1.5", "2013-04-01")]
    [True, True, False]
    """
    return re.match(NUMBER, text) is not None


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
