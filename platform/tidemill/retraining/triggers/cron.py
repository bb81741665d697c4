"""Finds the moments of a cron schedule. Imports no engine."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

__all__ = ["check_cron", "last_moment", "next_moment"]

_MINUTE = timedelta(minutes=1)


def check_cron(expression: str, zone: str) -> None:
    """Check a schedule of five fields, and the name of its time zone.

    Raises:
        ValueError: one of them is wrong.

    >>> check_cron("0 6 * * mon", "Europe/Berlin")
    >>> check_cron("0 6 * * moon", "UTC")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: '0 6 * * moon' is no cron schedule (Bad day-of-week): write minute, hour, day, month and ...
    """
    try:
        next(CronSim(expression, datetime(2024, 1, 1, tzinfo=_zone(zone))))
    except (CronSimError, StopIteration) as error:
        why = str(error) or "it has no moment"
        raise ValueError(
            f"{expression!r} is no cron schedule ({why}): write minute, hour, day, month and day of the "
            'week, as in "0 6 * * mon"'
        ) from error


def last_moment(expression: str, zone: str, now: datetime) -> datetime:
    """Return the latest moment of a schedule that is not after ``now``, in UTC.

    >>> sunday = datetime(2024, 3, 31, 12, tzinfo=UTC)  # clocks went forward at 01:00 UTC
    >>> last_moment("0 6 * * *", "Europe/Berlin", sunday).isoformat()
    '2024-03-31T04:00:00+00:00'
    >>> last_moment("30 11 * * sun", "UTC", sunday).isoformat()
    '2024-03-31T11:30:00+00:00'
    >>> back = datetime(2024, 10, 27, 1, 15, tzinfo=UTC)  # a quarter of an hour after clocks went back
    >>> last_moment("30 2 * * *", "Europe/Berlin", back).isoformat()
    '2024-10-27T00:30:00+00:00'
    """
    minute = now.astimezone(_zone(zone)).replace(second=0, microsecond=0)
    found = next(CronSim(expression, _after(minute), reverse=True))
    for later in CronSim(expression, found):  # a search backwards misses an hour that comes twice
        if later.astimezone(UTC) > now:
            break
        found = later
    return found.astimezone(UTC)


def next_moment(expression: str, zone: str, now: datetime) -> datetime:
    """Return the first moment of a schedule that is after ``now``, in UTC.

    >>> sunday = datetime(2024, 3, 31, 12, tzinfo=UTC)
    >>> next_moment("0 6 * * mon", "Europe/Berlin", sunday).isoformat()
    '2024-04-01T04:00:00+00:00'
    """
    return next(CronSim(expression, now.astimezone(_zone(zone)))).astimezone(UTC)


def _after(minute: datetime) -> datetime:
    """Return the minute that follows, so that a search backwards finds the one given."""
    return (minute.astimezone(UTC) + _MINUTE).astimezone(minute.tzinfo)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"there is no time zone {name!r}: write it as in Europe/Berlin") from error
