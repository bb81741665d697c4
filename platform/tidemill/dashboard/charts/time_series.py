"""Draws figures over time with their intervals, limits, and what happened meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

from markupsafe import Markup

from tidemill.dashboard.charts.axes import NumberScale, TimeScale, number_axis, time_axis
from tidemill.dashboard.charts.svg import LEFT, RIGHT, element, picture, text

__all__ = ["Happened", "Limit", "TimePoint", "TimeSeries", "event_mark", "point_mark", "time_series"]

_TOP, _BOTTOM, _HEIGHT = 62.0, 242.0, 288.0
_TOP_ALONE = 30.0
"""Where nothing is marked above."""
_LANES = {"promotion": 10.0, "data": 27.0, "alert": 44.0}
"""Heights of the marks of what happened: what happens at once is seen side by side."""
_NAMES = ("first", "second", "third")


@dataclass(frozen=True)
class TimePoint:
    """A figure of one window."""

    at: datetime
    """End of the window."""
    value: float | None
    low: float | None = None
    high: float | None = None
    doubt: str | None = None
    """Why the figure does not count as the others do; it is drawn hollow."""


@dataclass(frozen=True)
class TimeSeries:
    """Figures of one kind, in order of time."""

    name: str
    points: Sequence[TimePoint]


@dataclass(frozen=True)
class Limit:
    """A level that a figure is compared with."""

    name: str
    value: float


@dataclass(frozen=True)
class Happened:
    """Something that happened at a moment, to be marked on the axis."""

    at: datetime
    kind: str
    """``promotion``, ``data`` or ``alert``."""
    what: str
    href: str | None = None


def time_series(
    title: str,
    unit: str,
    series: Sequence[TimeSeries],
    events: Sequence[Happened] = (),
    limits: Sequence[Limit] = (),
    scale: TimeScale | None = None,
) -> Markup:
    """Return the picture.

    Args:
        title: what it shows.
        unit: name of the axis of numbers.
        series: at most three.
        events: marked above.
        limits: drawn across.
        scale: of time; by default around the points.
    """
    known = [point for each in series for point in each.points if point.value is not None]
    moments = [point.at for point in known] or [each.at for each in events]
    if not moments:
        return Markup("")
    time = scale or TimeScale.around(moments)
    ends = [end for point in known for end in (point.value, point.low, point.high) if end is not None]
    top = _TOP if events else _TOP_ALONE
    numbers = NumberScale.around([*ends, *(each.value for each in limits)], top, _BOTTOM)
    drawn = [*number_axis(numbers, unit), *time_axis(time, _BOTTOM)]
    drawn += [part for each in events for part in _event(each, time)]
    for limit in limits:
        y = numbers.y(limit.value)
        drawn.append(element("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="limit"))
    for place, each in enumerate(series):
        drawn += _line(each, time, numbers, _NAMES[place], 3.0 * place)
    for limit in limits:  # over the lines, with a rim that keeps them apart
        y = numbers.y(limit.value) - 5
        drawn.append(text(limit.name, RIGHT, y, "axis-text soft-text limit-name", "end"))
    return picture(title, _HEIGHT, drawn)


def _line(series: TimeSeries, time: TimeScale, numbers: NumberScale, name: str, aside: float) -> list[str]:
    """Return one series, a little aside, so that intervals of two do not hide each other."""
    drawn, path = [], list[str]()
    for point in series.points:
        if point.value is None:
            path.append("M")
            continue
        x, y = time.x(point.at) + aside, numbers.y(point.value)
        path.append(f"{'L' if path and path[-1] != 'M' else 'M'}{x:.1f} {y:.1f}")
        mark = []
        if point.low is not None and point.high is not None:
            low, high = numbers.y(point.low), numbers.y(point.high)
            mark.append(element("line", x1=x, x2=x, y1=low, y2=high, class_=f"interval {name}"))
        mark.append(point_mark(name, x, y, hollow=point.doubt is not None))
        told = f"{series.name}, {point.at:%Y-%m-%d %H:%M} UTC: {_figure(point)}"
        told += f" ({point.doubt})" if point.doubt else ""
        drawn.append(element("g", element("title", escape(told)) + "".join(mark)))
    whole = "".join(part for part in path if part != "M")
    line = [element("path", d=whole, class_=f"line {name}")] if whole else []
    return [*line, *drawn]


def _figure(point: TimePoint) -> str:
    ends = f" ({point.low:.4g} to {point.high:.4g})" if None not in (point.low, point.high) else ""
    return f"{point.value:.4g}{ends}"


def point_mark(name: str, x: float, y: float, *, hollow: bool = False) -> str:
    """Return a series' mark: each has a shape of its own, not only a colour."""
    look = f"mark {name}{' hollow' if hollow else ''}"
    if name == "first":
        return element("circle", cx=x, cy=y, r=4.5, class_=look)
    if name == "second":
        return element("rect", x=x - 4, y=y - 4, width=8.0, height=8.0, class_=look)
    return element("path", d=f"M{x:.1f} {y - 5:.1f}l5.5 9.5h-11z", class_=look)


def event_mark(kind: str, x: float, y: float) -> str:
    """Return the mark of what happened: a triangle, a diamond, or a circle with an exclamation mark."""
    if kind == "promotion":
        return element("path", d=f"M{x:.1f} {y - 7:.1f}l7 13h-14z", class_="event promotion")
    if kind == "data":
        return element("path", d=f"M{x:.1f} {y - 7:.1f}l7 7l-7 7l-7 -7z", class_="event data")
    sign = text("!", x, y + 4, "event-sign", "middle")
    return element("circle", cx=x, cy=y, r=7.0, class_="event alert") + sign


def _event(event: Happened, time: TimeScale) -> list[str]:
    if not time.start <= event.at <= time.end:
        return []
    x = time.x(event.at)
    told = element("title", escape(f"{event.at:%Y-%m-%d %H:%M} UTC: {event.what}"))
    line = element("line", x1=x, x2=x, y1=_LANES[event.kind], y2=_BOTTOM, class_=f"event-line {event.kind}")
    return [line, element("g", told + event_mark(event.kind, x, _LANES[event.kind]))]
