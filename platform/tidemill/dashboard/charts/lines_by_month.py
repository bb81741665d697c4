"""Draws figures of several things by month as lines, each with a colour and dashes of its own."""

from collections.abc import Mapping, Sequence
from html import escape

from markupsafe import Markup

from tidemill.dashboard.charts.axes import NumberScale, number_axis
from tidemill.dashboard.charts.svg import LEFT, RIGHT, element, picture, text

__all__ = ["LOOKS", "line_key", "lines_by_month"]

LOOKS = 12
"""Six colours, each with two kinds of dashes; lines beyond that many look like the first ones again."""
_TOP, _BOTTOM, _HEIGHT = 30.0, 242.0, 288.0
_MOST_NAMES = 10


def lines_by_month(
    title: str, unit: str, months: Sequence[str], lines: Mapping[str, Sequence[float | None]]
) -> Markup:
    """Return the picture.

    Args:
        title: what it shows.
        unit: name of the axis of numbers.
        months: from left to right.
        lines: name → its figure of each month; None where there is none.

    >>> drawn = lines_by_month("AUC", "auc", ["2013-04", "2013-05"], {"<never>": [0.7, None]})
    >>> drawn.count("<path"), "&lt;never&gt;, 2013-04: 0.7" in drawn
    (1, True)
    """
    known = [value for values in lines.values() for value in values if value is not None]
    if not known or not months:
        return Markup("")
    scale = NumberScale.around(known, _TOP, _BOTTOM)
    step = (RIGHT - LEFT - 40) / max(len(months) - 1, 1)
    places = [LEFT + 20 + number * step for number in range(len(months))]
    drawn = [*number_axis(scale, unit)]
    every = -(-len(months) // _MOST_NAMES)
    drawn += [
        text(month, x, _BOTTOM + 20, f"axis-text{' alternate' * (place % 2)}", "middle")
        for place, (month, x) in enumerate(list(zip(months, places, strict=True))[::every])
    ]
    for number, (name, values) in enumerate(lines.items()):
        drawn += _line(name, months, places, values, scale, number % LOOKS)
    return picture(title, _HEIGHT, drawn)


def _line(
    name: str,
    months: Sequence[str],
    places: Sequence[float],
    values: Sequence[float | None],
    scale: NumberScale,
    look: int,
) -> list[str]:
    points, path, open_ = [], "", False
    for month, x, value in zip(months, places, values, strict=True):
        if value is None:
            open_ = False
            continue
        y = scale.y(value)
        path += f"{'L' if open_ else 'M'}{x:.1f} {y:.1f}"
        open_ = True
        told = element("title", escape(f"{name}, {month}: {value:.4g}"))
        points.append(element("g", told + element("circle", cx=x, cy=y, r=3.5, class_=f"dot-{look}")))
    return [element("path", d=path, class_=f"strand strand-{look}"), *points]


def line_key(place: int) -> Markup:
    """Return how the line at a place looks, for a key beside the picture."""
    return Markup(element("line", x1=0, x2=28, y1=7, y2=7, class_=f"strand strand-{place % LOOKS}"))
