"""When a schedule of batch scoring is due: plain rules over its times and its records. Imports little."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from tidemill.clock import utc

__all__ = ["DEATHS", "ORIGIN", "DueSlot", "RecordedSlot", "SlotTimes", "Times", "due", "last_slot"]

ORIGIN = datetime(1970, 1, 5, tzinfo=UTC)
"""A Monday, of which slots are counted."""
DEATHS = 10
"""How often a slot whose process was killed is resumed; each time it continues where it was."""


class Times(Protocol):
    """The times of a schedule, and its rules for slots that were missed or failed.

    `tidemill.scoring.schedules.schedule_rules.Schedule` describes each.
    """

    @property
    def every(self) -> timedelta:
        """The interval."""

    @property
    def at(self) -> timedelta:
        """Offset of the slots from whole multiples of the interval."""

    @property
    def missed(self) -> str:
        """``latest``, ``all`` or ``none``."""

    @property
    def grace(self) -> timedelta:
        """With ``missed: none``: how late a slot may begin."""

    @property
    def tries(self) -> int:
        """How often a failing slot is tried."""

    @property
    def retry_after(self) -> timedelta:
        """How long to wait before the next try."""


@dataclass(frozen=True)
class SlotTimes:
    """The times of a schedule by themselves."""

    name: str
    every: timedelta
    at: timedelta = timedelta(0)
    missed: str = "latest"
    grace: timedelta = timedelta(hours=1)
    tries: int = 3
    retry_after: timedelta = timedelta(minutes=10)


@dataclass(frozen=True)
class RecordedSlot:
    """The record of a slot."""

    status: str
    tries: int
    at: datetime
    """Event time of the last try."""


@dataclass(frozen=True)
class DueSlot:
    """A slot that is due."""

    slot: datetime
    skipped: tuple[datetime, ...] = ()
    """Earlier slots that are given up."""


def last_slot(schedule: Times, now: datetime) -> datetime:
    """Return the latest slot that is not after ``now``.

    >>> schedule = SlotTimes("a", every=timedelta(days=1), at=timedelta(hours=4))
    >>> last_slot(schedule, datetime(2013, 4, 2, 3, 59, tzinfo=UTC)).isoformat()
    '2013-04-01T04:00:00+00:00'
    """
    origin = ORIGIN + schedule.at
    return origin + (utc(now) - origin) // schedule.every * schedule.every


def due(schedule: Times, past: Mapping[datetime, RecordedSlot], now: datetime) -> DueSlot | None:
    """Return the slot that is due, if any: one at a time, unfinished ones first.

    A schedule without any record begins with its latest slot: it has missed nothing.

    Args:
        schedule: its times, and its rule for missed slots.
        past: the records by slot.
        now: event time.

    >>> schedule = SlotTimes("a", every=timedelta(days=1))
    >>> day = [datetime(2013, 4, n, tzinfo=UTC) for n in range(1, 6)]
    >>> found = due(schedule, {day[0]: RecordedSlot("done", 1, day[0])}, day[4])
    >>> found.slot == day[4], len(found.skipped)
    (True, 3)
    """
    slots = sorted(past)
    for slot in slots:
        record = past[slot]
        again = record.tries < schedule.tries and now - record.at >= schedule.retry_after
        killed = record.status == "running" and record.tries < schedule.tries + DEATHS
        if killed or (record.status == "failed" and again):
            return DueSlot(slot)
    latest = last_slot(schedule, now)
    known = next((slot for slot in reversed(slots) if slot <= latest), None)  # later ones were run by hand
    if known is None:
        open_slots = [latest]
    else:
        count = max(0, (latest - known) // schedule.every)
        open_slots = [latest - step * schedule.every for step in range(count - 1, -1, -1)]
    if not open_slots:
        return None
    if schedule.missed == "all":
        return DueSlot(open_slots[0])
    if schedule.missed == "none" and now - latest > schedule.grace:
        return None  # the next slot in time gives these up
    return DueSlot(latest, tuple(open_slots[:-1]))
