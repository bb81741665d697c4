"""Draws figures of the last minutes as lines over time, as SVG."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from markupsafe import Markup

__all__ = ["rate_lines"]

_WIDE, _HIGH, _LEFT, _LOW, _TOP = 400, 130, 46, 24, 10


def rate_lines(title: str, at: Sequence[datetime], values: Sequence[float | None]) -> Markup:
    """Return a line of values over time, with its greatest value and the moments at its ends.

    >>> now = datetime(2013, 4, 1, tzinfo=UTC)
    >>> "<b>" in rate_lines("<b>", [now, now], [1.0, 2.0])
    False
    """
    known = [value for value in values if value is not None]
    top = max(known, default=0.0) or 1.0
    span = (at[-1] - at[0]).total_seconds() or 1.0 if at else 1.0
    pieces: list[list[str]] = [[]]
    for moment, value in zip(at, values, strict=True):
        if value is None:
            pieces.append([])
            continue
        x = _LEFT + (_WIDE - _LEFT - 8) * (moment - at[0]).total_seconds() / span
        y = _TOP + (_HIGH - _TOP - _LOW) * (1 - value / top)
        pieces[-1].append(f"{x:.1f},{y:.1f}")
    floor = _HIGH - _LOW
    lines = "".join(f'<polyline class="rate-line" points="{" ".join(one)}"/>' for one in pieces if one)
    ends = (
        f'<text x="{_LEFT}" y="{_HIGH - 6}">{at[0].astimezone(UTC):%H:%M}</text>'
        f'<text x="{_WIDE - 8}" y="{_HIGH - 6}" text-anchor="end">{at[-1].astimezone(UTC):%H:%M} UTC</text>'
        if at
        else ""
    )
    return Markup(
        f'<svg class="rates" viewBox="0 0 {_WIDE} {_HIGH}" role="img"><title>{escape(title)}</title>'
        f'<line class="rate-axis" x1="{_LEFT}" y1="{floor}" x2="{_WIDE - 8}" y2="{floor}"/>'
        f'<text x="{_LEFT - 6}" y="{_TOP + 6}" text-anchor="end">{escape(_short(top))}</text>'
        f'<text x="{_LEFT - 6}" y="{floor}" text-anchor="end">0</text>'
        f"{lines}{ends}</svg>"
    )


def _short(value: float) -> str:
    """Return a number in few characters.

    >>> _short(12345.0), _short(0.0123)
    ('12,345', '0.0123')
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
