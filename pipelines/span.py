"""Reads the months that a pipeline run uses, and the moment up to which data is known."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from tidemill import DataError, utc

__all__ = ["NEW_YORK", "YEAR", "Span", "read_span"]

NEW_YORK = ZoneInfo("America/New_York")
"""Schedules, and the days that lateness is counted by, are in the airports' own time."""
YEAR = 2013
"""The data set holds the flights of this year."""

_MONTH = re.compile(r"^(\d{4})-(0[1-9]|1[0-2])$")


@dataclass(frozen=True)
class Span:
    """The months to train on, both included, and the moment after which nothing is known.

    Features look further back than the training: what is served must not depend on where a training begins.
    """

    first: date
    """First day of the first month that is trained on."""
    end: date
    """The day after the last month."""
    as_of: datetime
    """Aware, in UTC."""


def read_span(params: Mapping[str, Any]) -> Span:
    """Read ``data.first_month``, ``data.last_month`` and ``data.as_of`` from the content of ``params.yaml``.

    Without ``data.as_of`` everything is known up to the end of the last month, and nothing later.

    Raises:
        DataError: a month is missing, unreadable, outside the data or in the wrong order, or ``as_of`` lies
            before the first month.

    >>> span = read_span({"data": {"first_month": "2013-01", "last_month": "2013-03", "as_of": None}})
    >>> span.end.isoformat(), span.as_of.isoformat()
    ('2013-04-01', '2013-04-01T04:00:00+00:00')
    """
    data = params.get("data") or {}
    first, last = _month(data, "first_month"), _month(data, "last_month")
    if first > last:
        raise DataError(
            f"params.yaml: data.first_month {first:%Y-%m} is after data.last_month {last:%Y-%m}",
            hint="name the earlier month first",
        )
    end = date(last.year + last.month // 12, last.month % 12 + 1, 1)
    as_of = _moment(data.get("as_of"), default=_midnight(end))
    if as_of <= _midnight(first):
        raise DataError(
            f"params.yaml: at data.as_of {as_of.isoformat()} nothing of {first:%Y-%m} is known yet",
            hint="choose a later moment, or null for the end of the last month",
        )
    return Span(first, end, as_of)


def _month(data: Mapping[str, Any], name: str) -> date:
    value = data.get(name)
    match = _MONTH.match(str(value))
    if match is None:
        raise DataError(
            f"params.yaml: data.{name} is {value!r}, not a month",
            hint=f"write it as YYYY-MM, for example {YEAR}-01",
        )
    if int(match[1]) != YEAR:
        raise DataError(
            f"params.yaml: data.{name} {value} is outside the data, which has {YEAR}-01 to {YEAR}-12",
            hint=f"choose a month of {YEAR}",
        )
    return date(int(match[1]), int(match[2]), 1)


def _moment(value: Any, default: datetime) -> datetime:
    if value is None:
        return default
    try:
        moment = value if isinstance(value, date) else datetime.fromisoformat(str(value))
    except ValueError as error:
        raise DataError(
            f"params.yaml: data.as_of is {value!r}, not a moment",
            hint=f"write it in ISO 8601, for example {YEAR}-07-01T04:00:00+00:00, or null",
        ) from error
    return utc(moment if isinstance(moment, datetime) else datetime.combine(moment, time()))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), NEW_YORK).astimezone(UTC)
