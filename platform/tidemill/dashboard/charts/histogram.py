"""Draws a distribution in the reference beside the current one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from tidemill.dashboard.charts.axes import NumberScale, number_axis
from tidemill.dashboard.charts.svg import LEFT, RIGHT, element, picture, shortened, text

__all__ = ["Bins", "histogram"]

_TOP, _BOTTOM = 30.0, 190.0
_RANGE = re.compile(r"-?[\d.,e+-]+ to -?[\d.,e+-]+")
_ROW = 26.0


@dataclass(frozen=True)
class Bins:
    """Shares of rows by bin, before and now."""

    name: str
    bins: Sequence[str]
    before: Sequence[float]
    """In the reference, 0 to 1."""
    now: Sequence[float]
    """In the window."""


def histogram(shown: Bins) -> Markup:
    """Return the picture: of numbers as columns, of categories as bars with their names.

    The reference is drawn as an outline, the window as a filled bar.
    """
    title = f"Distribution of {shown.name}: reference (outline) beside the window (filled)"
    numbers = [name for name in shown.bins if name != "missing"]
    if len(numbers) > 2 and all(map(_RANGE.fullmatch, numbers)):
        return picture(title, _BOTTOM + 48, _columns(shown))
    return picture(title, 30 + _ROW * len(shown.bins), _bars(shown))


def _columns(shown: Bins) -> list[str]:
    most = max((*shown.before, *shown.now, 0.01))
    scale = NumberScale(0.0, 105 * most, _TOP, _BOTTOM)
    drawn = number_axis(scale, "% of the rows")
    wide = (RIGHT - LEFT) / len(shown.bins)
    for place, (name, before, now) in enumerate(zip(shown.bins, shown.before, shown.now, strict=True)):
        x = LEFT + place * wide
        bar = element(
            "rect",
            x=x + wide * 0.2,
            y=scale.y(100 * now),
            width=wide * 0.6,
            height=_BOTTOM - scale.y(100 * now),
            class_="bar now",
        )
        outline = element(
            "rect",
            x=x + wide * 0.06,
            y=scale.y(100 * before),
            width=wide * 0.88,
            height=_BOTTOM - scale.y(100 * before),
            class_="bar before",
        )
        drawn.append(element("g", _told(name, before, now) + bar + outline))
    drawn.append(element("line", x1=LEFT, x2=RIGHT, y1=_BOTTOM, y2=_BOTTOM, class_="axis"))
    return [*drawn, *_edges(shown.bins, wide)]


def _edges(bins: Sequence[str], wide: float) -> list[str]:
    """Return the ends of bins as labels: the first, one in the middle, the last; and the missing ones."""
    numbers = [name for name in bins if name != "missing"]
    edges = [name.partition(" to ")[0] for name in numbers] + [numbers[-1].partition(" to ")[2]]
    shown = {0: "start", len(edges) // 2: "middle", len(edges) - 1: "end"}
    drawn = [
        text(edges[place], LEFT + place * wide, _BOTTOM + 20, "axis-text", how)
        for place, how in shown.items()
    ]
    if len(numbers) < len(bins):
        drawn.append(text("missing", RIGHT, _BOTTOM + 42, "axis-text", "end"))
    return drawn


def _bars(shown: Bins) -> list[str]:
    most = max((*shown.before, *shown.now, 0.01))
    room = RIGHT - LEFT - 70
    drawn = []
    for place, (name, before, now) in enumerate(zip(shown.bins, shown.before, shown.now, strict=True)):
        y = 10 + place * _ROW
        bar = element("rect", x=LEFT, y=y + 4, width=room * now / most, height=_ROW - 12, class_="bar now")
        outline = element(
            "rect", x=LEFT, y=y, width=room * before / most, height=_ROW - 4, class_="bar before"
        )
        label = text(shortened(name, 20), LEFT - 8, y + 16, "axis-text", "end")
        number = text(f"{100 * now:.3g} %", LEFT + room * max(now, before) / most + 8, y + 16, "axis-text")
        drawn.append(element("g", _told(name, before, now) + bar + outline + label + number))
    return drawn


def _told(name: str, before: float, now: float) -> str:
    return element("title", escape(f"{name}: {100 * before:.3g} % in the reference, {100 * now:.3g} % now"))
