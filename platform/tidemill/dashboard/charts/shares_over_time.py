"""Draws how a window's rows were divided, window by window: by version, or by predicted class."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

from markupsafe import Markup

from tidemill.dashboard.charts.axes import NumberScale, TimeScale, number_axis, time_axis
from tidemill.dashboard.charts.heat_map import HeatColumn, widths
from tidemill.dashboard.charts.svg import LEFT, RIGHT, element, picture, shortened, text

__all__ = ["COLOURS", "Divided", "names_of_shares", "shares_over_time"]

_TOP, _BOTTOM, _HEIGHT = 30.0, 180.0, 226.0
COLOURS = 6
"""A seventh name has the colour of the first."""
_LATE = LEFT + 0.8 * (RIGHT - LEFT)
"""Behind it a name is written to the left, or it would leave the picture."""


@dataclass(frozen=True)
class Divided:
    """The rows of one window, by name."""

    at: datetime
    href: str
    counts: dict[str, float]


def names_of_shares(windows: Sequence[Divided]) -> list[str]:
    """Return the names in the order of their colours, and from below in each bar."""
    return list(dict.fromkeys(name for each in windows for name in each.counts))


def shares_over_time(
    title: str, unit: str, windows: Sequence[Divided], scale: TimeScale | None = None
) -> Markup:
    """Return the picture: stacked bars; each name stands at the first bar where its part is the largest."""
    if not windows:
        return Markup("")
    time = scale or TimeScale.around([each.at for each in windows])
    names = names_of_shares(windows)
    most = max(sum(each.counts.values()) for each in windows) or 1.0
    numbers = NumberScale(0.0, most * 1.12, _TOP, _BOTTOM)
    drawn = [*number_axis(numbers, unit), *time_axis(time, _BOTTOM)]
    columns = [HeatColumn(each.at, each.href) for each in windows]
    last, labels = None, list[str]()
    for each, wide in zip(windows, widths(columns, time), strict=True):
        drawn += _bar(each, names, numbers, time.x(each.at) - wide, wide)
        largest = max(each.counts, key=lambda name: each.counts[name], default=None)
        if largest is not None and largest != last:
            y = numbers.y(sum(each.counts.values())) - 5
            x, side = (
                (time.x(each.at), "end") if time.x(each.at) > _LATE else (time.x(each.at) - wide, "start")
            )
            labels.append(text(shortened(largest, 16), x, y, "axis-text", side))
            last = largest
    return picture(title, _HEIGHT, [*drawn, *labels])


def _bar(each: Divided, names: Sequence[str], numbers: NumberScale, x: float, wide: float) -> list[str]:
    drawn, below = [], 0.0
    for place, name in enumerate(names):
        part = each.counts.get(name, 0.0)
        if not part:
            continue
        top, bottom = numbers.y(below + part), numbers.y(below)
        below += part
        told = element("title", escape(f"{each.at:%Y-%m-%d %H:%M} UTC, {name}: {part:,.4g}"))
        square = element(
            "rect",
            x=x,
            y=top,
            width=wide,
            height=max(bottom - top - 0.5, 0.5),
            class_=f"part part-{place % COLOURS}",
        )
        drawn.append(element("g", told + square))
    return drawn
