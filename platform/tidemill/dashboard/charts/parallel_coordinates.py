"""Draws things as lines through the values of their properties: parallel coordinates, as SVG."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Coordinate", "draw_coordinates"]

_STEP, _HEIGHT, _TOP, _LEFT = 130, 260, 46, 70
_MOST_WORDS = 12
_LOGARITHMIC = 100.0
"""Ratio of the greatest to the least value from which on an axis is logarithmic."""


@dataclass(frozen=True)
class Coordinate:
    """One line: its name, and its value on each axis that it has one on."""

    name: str
    values: Mapping[str, object]


@dataclass(frozen=True)
class _Axis:
    name: str
    places: Mapping[str, float]
    """Of each value as text: from 0 (below) to 1."""
    low: str
    high: str


def draw_coordinates(
    title: str, axes: Sequence[str], lines: Sequence[Coordinate], *, least_is_best: bool = False
) -> str:
    """Return the SVG.

    Args:
        title: of the picture, for those who cannot see it.
        axes: names of the properties; one with a single value is left out. Lines are ranked by the last one.
        lines: the things, in any order.
        least_is_best: whether the best one has the least value on the last axis.

    >>> lines = [Coordinate("a", {"depth": "3", "auc": 0.7}), Coordinate("b", {"depth": "5", "auc": 0.8})]
    >>> drawn = draw_coordinates("Trials", ["depth", "auc"], lines)
    >>> drawn.count("<polyline"), "<title>Trials</title>" in drawn
    (2, True)
    """
    made = [axis for name in axes if (axis := _axis(name, lines)) is not None]
    width = 2 * _LEFT + max(len(made) - 1, 0) * _STEP
    parts = [
        f'<svg role="img" class="coordinates" viewBox="0 0 {width} {_HEIGHT + _TOP + 30}" '
        f'width="{width}" height="{_HEIGHT + _TOP + 30}"><title>{escape(title)}</title>'
    ]
    ranked = sorted(lines, key=lambda line: _place(made[-1], line) or 0.0) if made else []
    ranked = ranked[::-1] if least_is_best else ranked
    for number, line in enumerate(ranked):
        best = number == len(ranked) - 1
        upper = number >= len(ranked) * 0.75
        kind = "best" if best else "upper" if upper else "lower"
        parts.append(_line(line, made, kind))
    for number, axis in enumerate(made):
        x = _LEFT + number * _STEP
        parts += [
            f'<line class="axis" x1="{x}" y1="{_TOP}" x2="{x}" y2="{_TOP + _HEIGHT}"/>',
            _text(axis.name, x, 16, "axis-name"),
            _text(axis.high, x, _TOP - 12, "value"),
            _text(axis.low, x, _TOP + _HEIGHT + 20, "value"),
        ]
    return "".join([*parts, "</svg>"])


def _text(text: str, x: int, y: int, kind: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}" text-anchor="middle">{escape(_cut(text, 18))}</text>'


def _line(line: Coordinate, axes: Sequence[_Axis], kind: str) -> str:
    points = [
        f"{_LEFT + number * _STEP},{_TOP + _HEIGHT * (1 - place):.1f}"
        for number, axis in enumerate(axes)
        if (place := _place(axis, line)) is not None
    ]
    return (
        f'<polyline class="{kind}" points="{" ".join(points)}"><title>{escape(line.name)}</title></polyline>'
    )


def _place(axis: _Axis, line: Coordinate) -> float | None:
    value = line.values.get(axis.name)
    return None if value is None else axis.places.get(str(value))


def _axis(name: str, lines: Sequence[Coordinate]) -> _Axis | None:
    given = list(dict.fromkeys(str(line.values[name]) for line in lines if line.values.get(name) is not None))
    if len(given) < 2:
        return None
    numbers = {text: number for text in given if (number := _number(text)) is not None}
    if len(numbers) == len(given):
        low, high = min(numbers, key=numbers.__getitem__), max(numbers, key=numbers.__getitem__)
        scaled = _scaled(numbers)
        return None if scaled is None else _Axis(name, scaled, _short(numbers[low]), _short(numbers[high]))
    words = sorted(given)
    if len(words) > _MOST_WORDS:
        return None  # such as names: each has its own
    places = {word: number / (len(words) - 1) for number, word in enumerate(words)}
    return _Axis(name, places, words[0], words[-1])


def _scaled(numbers: Mapping[str, float]) -> dict[str, float] | None:
    low, high = min(numbers.values()), max(numbers.values())
    if low == high:
        return None
    if low > 0 and high / low >= _LOGARITHMIC:
        span = math.log(high / low)
        return {text: math.log(number / low) / span for text, number in numbers.items()}
    return {text: (number - low) / (high - low) for text, number in numbers.items()}


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _short(value: float) -> str:
    return f"{value:.4g}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
