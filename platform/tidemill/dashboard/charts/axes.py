"""Scales and labels of axes: numbers at round steps, time in UTC."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tidemill.dashboard.charts.svg import LEFT, RIGHT, element, text

__all__ = ["NumberScale", "TimeScale", "number_axis", "time_axis"]

_STEPS = tuple(
    timedelta(seconds=seconds)
    for seconds in (1, 5, 15, 60, 300, 900, 3600, 10800, 21600, 43200, 86400, 172800, 604800, 1209600)
)
_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)
_DAY = timedelta(days=1)
_MOST = 7


@dataclass(frozen=True)
class TimeScale:
    """Places moments between `LEFT` and `RIGHT`."""

    start: datetime
    end: datetime

    @classmethod
    def around(cls, moments: Sequence[datetime]) -> "TimeScale":
        """Return a scale with a little room on both sides; of a single moment, a day."""
        first, last = min(moments), max(moments)
        room = max((last - first) / 40, timedelta(hours=12) if first == last else timedelta(0))
        return cls(first - room, last + room)

    def x(self, at: datetime) -> float:
        """Return the place of a moment; those outside stand at the edge.

        >>> day = datetime(2013, 4, 1, tzinfo=UTC)
        >>> TimeScale(day, day + timedelta(days=2)).x(day + timedelta(days=1))
        429.0
        """
        share = (at - self.start) / (self.end - self.start)
        return LEFT + min(max(share, 0.0), 1.0) * (RIGHT - LEFT)

    def ticks(self) -> list[tuple[datetime, str]]:
        """Return at most seven round moments and what is written there.

        >>> day = datetime(2013, 4, 1, tzinfo=UTC)
        >>> [label for _, label in TimeScale(day, day + timedelta(days=4)).ticks()]
        ['1 Apr', '2 Apr', '3 Apr', '4 Apr', '5 Apr']
        >>> [label for _, label in TimeScale(day, day + timedelta(days=120)).ticks()]
        ['Apr 2013', 'May 2013', 'Jun 2013', 'Jul 2013']
        """
        for step in _STEPS:
            if (self.end - self.start) / step <= _MOST - 1:
                form = "%H:%M:%S" if step < timedelta(minutes=1) else "%H:%M"
                return [(at, _label(at, form if step < _DAY else None)) for at in self._grid(step)]
        return [(at, f"{at:%b %Y}") for at in self._months()]

    @property
    def caption(self) -> str:
        """What is written below the axis: the years, or the day."""
        first, last = self.start.astimezone(UTC), self.end.astimezone(UTC)
        if last - first < _DAY:
            return f"{first:%Y-%m-%d}, UTC"
        return f"{first:%Y}, UTC" if first.year == last.year else f"{first:%Y} to {last:%Y}, UTC"

    def _grid(self, step: timedelta) -> Iterator[datetime]:
        at = _MONDAY - (_MONDAY - self.start.astimezone(UTC)) // step * step
        while at <= self.end:
            if at >= self.start:
                yield at
            at += step

    def _months(self) -> Iterator[datetime]:
        months = (self.end - self.start).days / 30
        step = next((each for each in (1, 2, 3, 6, 12, 24, 60) if months / each <= _MOST - 1), 120)
        first = self.start.astimezone(UTC)
        place = first.year * 12 + first.month - 1
        for number in range(place - place % step, place + math.ceil(months) + step + 1, step):
            at = datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)
            if self.start <= at <= self.end:
                yield at


def _label(at: datetime, form: str | None) -> str:
    midnight = at.hour == at.minute == at.second == 0
    return f"{at.day} {at:%b}" if form is None or midnight else f"{at:{form}}"


@dataclass(frozen=True)
class NumberScale:
    """Places numbers between two heights, the greater ones above."""

    low: float
    high: float
    top: float
    bottom: float

    @classmethod
    def around(cls, numbers: Sequence[float], top: float, bottom: float) -> "NumberScale":
        """Return a scale with a little room above and below the numbers that are finite."""
        known = [each for each in numbers if math.isfinite(each)] or [0.0, 1.0]
        low, high = min(known), max(known)
        room = 0.08 * (high - low) or abs(high) * 0.1 or 1.0
        return cls(0.0 if 0 <= low < room else low - room, high + room, top, bottom)

    def y(self, number: float) -> float:
        """Return the height of a number; those outside stand at the edge.

        >>> NumberScale(0.0, 1.0, 10.0, 110.0).y(0.25)
        85.0
        """
        share = (number - self.low) / (self.high - self.low)
        return self.bottom - min(max(share, 0.0), 1.0) * (self.bottom - self.top)

    def ticks(self) -> list[tuple[float, str]]:
        """Return about four round numbers and what is written there.

        >>> [label for _, label in NumberScale(0.69, 0.76, 0.0, 1.0).ticks()]
        ['0.70', '0.72', '0.74', '0.76']
        """
        rough = (self.high - self.low) / 4
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [(place * step, f"{place * step:,.{digits}f}") for place in range(first, last + 1)]


def time_axis(scale: TimeScale, y: float) -> list[str]:
    """Return the axis of time below a picture; ``y``: its height."""
    drawn = [element("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="axis")]
    for place, (at, label) in enumerate(scale.ticks()):
        x = scale.x(at)
        drawn.append(element("line", x1=x, x2=x, y1=y, y2=y + 5, class_="axis"))
        drawn.append(text(label, x, y + 18, "axis-text alternate" if place % 2 else "axis-text", "middle"))
    drawn.append(text(scale.caption, RIGHT, y + 38, "axis-text soft-text", "end"))
    return drawn


def number_axis(scale: NumberScale, name: str) -> list[str]:
    """Return the axis of numbers at the left, with thin lines across."""
    drawn = [text(name, 0, scale.top - 10, "axis-text soft-text")]
    for number, label in scale.ticks():
        y = scale.y(number)
        drawn.append(element("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="grid"))
        drawn.append(text(label, LEFT - 8, y + 4, "axis-text", "end"))
    return drawn
