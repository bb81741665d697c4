"""Draws things by two figures, with those apart that no other one beats in both."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tidemill.dashboard.charts.axes import NumberScale, number_axis
from tidemill.dashboard.charts.svg import LEFT, RIGHT, element, picture, text

__all__ = ["FrontPoint", "front_scatter"]

_TOP, _BOTTOM, _HEIGHT = 30.0, 262.0, 308.0


@dataclass(frozen=True)
class FrontPoint:
    """A thing with its two figures."""

    name: str
    across: float
    up: float
    in_front: bool
    """Whether no other one is better in one figure and as good in all others."""


def front_scatter(title: str, across: str, up: str, points: Sequence[FrontPoint]) -> Markup:
    """Return the picture; none for fewer than two points.

    Args:
        title: what it shows.
        across: name of the figure from left to right.
        up: name of the other one.
        points: the things.

    >>> points = [FrontPoint("<a>", 0.7, 12.0, True), FrontPoint("b", 0.6, 14.0, False)]
    >>> drawn = front_scatter("Trials", "roc_auc", "mae", points)
    >>> drawn.count("<circle"), drawn.count("mark first"), "&lt;a&gt;: roc_auc 0.7, mae 12" in drawn
    (2, 1, True)
    """
    known = [one for one in points if math.isfinite(one.across) and math.isfinite(one.up)]
    if len(known) < 2:
        return Markup("")
    # The same scale lies on its side: from the left to the right instead of from below to above.
    side = NumberScale.around([one.across for one in known], RIGHT, LEFT)
    scale = NumberScale.around([one.up for one in known], _TOP, _BOTTOM)
    drawn = [
        *number_axis(scale, up),
        element("line", x1=LEFT, x2=RIGHT, y1=_BOTTOM, y2=_BOTTOM, class_="axis"),
    ]
    for place, (value, label) in enumerate(side.ticks()):
        kind = f"axis-text{' alternate' * (place % 2)}"
        drawn.append(text(label, side.y(value), _BOTTOM + 18, kind, "middle"))
    drawn.append(text(across, RIGHT, _BOTTOM + 38, "axis-text soft-text", "end"))
    drawn += [_drawn(one, side, scale, across, up) for one in sorted(known, key=lambda one: one.in_front)]
    return picture(title, _HEIGHT, drawn)


def _drawn(one: FrontPoint, side: NumberScale, scale: NumberScale, across: str, up: str) -> str:
    said = f"{one.name}: {across} {one.across:.4g}, {up} {one.up:.4g}"
    kind = "mark first" if one.in_front else "mark hollow second"
    shown = element("title", str(Markup.escape(said)))
    return element(
        "circle",
        shown,
        cx=side.y(one.across),
        cy=scale.y(one.up),
        r=6.0 if one.in_front else 4.0,
        class_=kind,
    )
