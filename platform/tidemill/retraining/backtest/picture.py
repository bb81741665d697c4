"""Draws a backtest as SVG: the metric of each strategy by month, and its promotions."""

from collections.abc import Mapping, Sequence
from html import escape
from math import isfinite

from tidemill.plurals import counted
from tidemill.retraining.backtest.play import Played

__all__ = ["as_svg"]

_WIDTH, _HEIGHT, _LEFT, _TOP, _LINE = 860, 420, 64, 36, 22
_COLOURS = ("#0f766e", "#b45309", "#6d28d9", "#be123c", "#1d4ed8", "#4d7c0f")
_GREY = {"never": "#6b7280", "always": "#9ca3af", "oracle": "#d1d5db"}


def as_svg(title: str, played: Sequence[Played]) -> str:
    """Return the picture.

    >>> line = Played("never", (), (("2013-04", 0.7), ("2013-05", 0.6)), 0.0)
    >>> as_svg("AUC", [line]).count("<polyline")
    1
    """
    names = [name for name, _ in played[0].periods] if played else []
    values = [value for each in played for _, value in each.periods if isfinite(value)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    spread = (high - low) or 1.0
    across = (_WIDTH - _LEFT - 200) / max(len(names) - 1, 1)
    bottom = _HEIGHT - 48

    def point(number: int, value: float) -> tuple[float, float]:
        return _LEFT + number * across, bottom - (value - low) / spread * (bottom - _TOP - 12)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>',
    ]
    for number, name in enumerate(names):
        x, _ = point(number, low)
        parts.append(f'<text x="{x:.1f}" y="{bottom + 24}" text-anchor="middle">{escape(name)}</text>')
    for value in (low, (low + high) / 2, high):
        _, y = point(0, value)
        parts.append(f'<text x="{_LEFT - 12}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    colours = _colours(played)
    for row, each in enumerate(played):
        colour = colours[each.name]
        points = [point(n, value) for n, (_, value) in enumerate(each.periods) if isfinite(value)]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = _TOP + row * _LINE
        told = f"{each.name}: {each.mean:.4g}, {counted(len(each.turns), 'turn')}"
        parts.append(f'<text x="{_WIDTH - 190}" y="{y + 10}" fill="{colour}">{escape(told)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _colours(played: Sequence[Played]) -> Mapping[str, str]:
    others = [each.name for each in played if each.name not in _GREY]
    return _GREY | {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(others)}
