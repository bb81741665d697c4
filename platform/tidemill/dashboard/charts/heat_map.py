"""Draws how far features are from the reference in each window."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from itertools import pairwise

from markupsafe import Markup

from tidemill.dashboard.charts.axes import TimeScale, time_axis
from tidemill.dashboard.charts.svg import LEFT, element, picture, shortened, text

__all__ = ["HEAT", "HeatCell", "HeatColumn", "HeatRow", "heat_map", "heat_names", "widths"]

_TOP, _ROW = 8.0, 20.0
HEAT = ((0.5, "below half of the threshold"), (1.0, "below"), (2.0, "up to twice"), (4.0, "up to four times"))
"""Ends of the classes of colour, in thresholds; the last class is beyond."""


@dataclass(frozen=True)
class HeatCell:
    """One feature in one window."""

    ratio: float | None
    """Distance in thresholds; None if it could not be compared."""
    drifted: bool
    broken: bool
    said: str
    """The figures in words."""


@dataclass(frozen=True)
class HeatRow:
    """One feature; its cells are in the order of the columns, None where it was not measured."""

    name: str
    cells: Sequence[HeatCell | None]


@dataclass(frozen=True)
class HeatColumn:
    """One window."""

    at: datetime
    href: str


def heat_map(
    title: str, columns: Sequence[HeatColumn], rows: Sequence[HeatRow], scale: TimeScale | None = None
) -> Markup:
    """Return the picture: each window is a link. Drifted cells have a dot, broken ones a cross."""
    if not columns or not rows:
        return Markup("")
    time = scale or TimeScale.around([each.at for each in columns])
    bottom = _TOP + _ROW * len(rows)
    drawn = _names(rows)
    for place, (column, wide) in enumerate(zip(columns, widths(columns, time), strict=True)):
        cells = [row.cells[place] for row in rows]
        drawn.append(_column(column, rows, cells, time.x(column.at) - wide, wide))
    return picture(title, bottom + 48, [*drawn, *time_axis(time, bottom + 2)], links=True)


def heat_names(rows: Sequence[HeatRow]) -> Markup:
    """Return the names of the features alone: they stay where they are while the windows are scrolled."""
    height = _TOP + _ROW * len(rows)
    ground = element("rect", width=LEFT - 4, height=height, class_="heat-ground")
    return Markup(  # the names went through html.escape
        element(
            "svg",
            ground + "".join(_names(rows)),
            viewBox=f"0 0 {LEFT:g} {height:g}",
            class_="chart heat-names",
            aria_hidden="true",
        )
    )


def _names(rows: Sequence[HeatRow]) -> list[str]:
    return [
        text(shortened(row.name, 20), LEFT - 8, _TOP + _ROW * place + 14, "axis-text", "end")
        for place, row in enumerate(rows)
    ]


def widths(columns: Sequence[HeatColumn], time: TimeScale) -> list[float]:
    """Return how wide each window is drawn: as far as to the one before, and no wider than is usual."""
    places = [time.x(each.at) for each in columns]
    gaps = [after - before for before, after in pairwise(places)]
    usual = sorted(gaps)[len(gaps) // 2] if gaps else 24.0
    room = [places[0] - LEFT, *gaps]
    return [max(min(gap, usual, 60.0) - 1, 1.0) for gap in room]


def _column(
    column: HeatColumn, rows: Sequence[HeatRow], cells: Sequence[HeatCell | None], x: float, wide: float
) -> str:
    drawn = [
        _cell(row.name, column.at, cell, x, _TOP + _ROW * place, wide)
        for place, (row, cell) in enumerate(zip(rows, cells, strict=True))
        if cell is not None
    ]
    name = f"window to {column.at:%Y-%m-%d %H:%M} UTC"
    return element("a", "".join(drawn) or element("g"), href=column.href, aria_label=name)


def _cell(name: str, at: datetime, cell: HeatCell, x: float, y: float, wide: float) -> str:
    told = element("title", escape(f"{name}, {at:%Y-%m-%d %H:%M} UTC: {cell.said}"))
    square = element("rect", x=x, y=y, width=wide, height=_ROW - 1, class_=f"heat heat-{_class(cell.ratio)}")
    middle, high = x + wide / 2, y + _ROW / 2
    sign = ""
    if cell.broken:
        sign = element(
            "path",
            d=f"M{middle - 4:.1f} {high - 4:.1f}l8 8m0 -8l-8 8",
            class_=f"heat-sign heat-sign-{_class(cell.ratio)}",
        )
    elif cell.drifted:
        sign = element("circle", cx=middle, cy=high, r=2.5, class_=f"heat-dot heat-sign-{_class(cell.ratio)}")
    return element("g", told + square + sign)


def _class(ratio: float | None) -> str:
    if ratio is None:
        return "none"
    return str(next((place for place, (end, _) in enumerate(HEAT) if ratio < end), len(HEAT)))
