"""Draws a backtest as SVG: the metric of each strategy by month, and its promotions."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import isfinite

from tidemill.plurals import counted
from tidemill.retraining.backtest.play import Played
from tidemill.tasks.natural_metric import Metric, metric_of

__all__ = ["as_svg"]

_WIDTH, _HEIGHT, _LEFT, _TOP, _LINE = 860, 420, 64, 36, 22
_COLOURS = ("#0f766e", "#b45309", "#6d28d9", "#be123c", "#1d4ed8", "#4d7c0f")
_GREY = {"never": "#6b7280", "always": "#9ca3af", "oracle": "#d1d5db"}
_BOTTOM = _HEIGHT - 48
_DIGITS = range(3, 10)
Points = Mapping[str, tuple[float, float]]


def as_svg(model: str, metric: str, played: Sequence[Played]) -> str:
    """Return the picture: a line for each strategy, a dot for each promotion, and a ring for each wrong one.

    Args:
        model: whose backtest it is.
        metric: its name on record; a loss is drawn without its sign.
        played: the strategies.

    >>> line = Played("never", (), (("2013-04", -0.7), ("2013-05", -0.6)), 0.0)
    >>> picture = as_svg("delay", "neg_mae", [line])
    >>> [said in picture for said in ("<polyline", "delay: mae by month (lower is better)", "never: 0.65")]
    [True, True, True]
    """
    of = metric_of(metric)
    names = [name for name, _ in played[0].periods] if played else []
    values = [of.sign * value for each in played for _, value in each.periods if isfinite(value)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    spread = (high - low) or 1.0
    across = (_WIDTH - _LEFT - 200) / max(len(names) - 1, 1)

    def height(value: float) -> float:
        return _BOTTOM - (value - low) / spread * (_BOTTOM - _TOP - 12)

    title = f"{model}: {of.name} by month{of.remark}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>',
    ]
    for number, name in enumerate(names):
        x = _LEFT + number * across
        parts.append(f'<text x="{x:.1f}" y="{_BOTTOM + 24}" text-anchor="middle">{escape(name)}</text>')
    for value, told in _ticks(low, high):
        parts.append(f'<text x="{_LEFT - 12}" y="{height(value) + 4:.1f}" text-anchor="end">{told}</text>')
    colours = _colours(played)
    for row, each in enumerate(played):
        points = {
            name: (_LEFT + number * across, height(of.sign * value))
            for number, (name, value) in enumerate(each.periods)
            if isfinite(value)
        }
        parts += _line(each, points, of, colours[each.name], _TOP + row * _LINE + 10)
    return "\n".join([*parts, "</svg>", ""])


def _line(played: Played, points: Points, metric: Metric, colour: str, at: int) -> Iterator[str]:
    """Yield the line of a strategy, its promotions, and what stands beside."""
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points.values())
    yield f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"/>'
    if len(points) == 1:  # no line is seen
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{colour}"/>' for x, y in points.values())
    for turn in played.turns:
        place = points.get(f"{turn.at:%Y-%m}")
        if turn.status != "promoted" or place is None:
            continue
        gain = "" if turn.gain is None else f", {turn.gain:+.4g} in the 30 days after"
        look = f'r="4" fill="{"white" if turn.wrong else colour}" stroke="{colour}"'
        told = f"<title>{turn.at:%Y-%m-%d}: promoted{gain}</title>"
        yield f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" {look}>{told}</circle>'
    said = f"{played.name}: {metric.sign * played.mean:.4g}, {counted(len(played.turns), 'turn')}"
    yield f'<text x="{_WIDTH - 190}" y="{at}" fill="{colour}">{escape(said)}</text>'


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return values at the side, with as many digits as tell them apart.

    >>> _ticks(1416.6, 1418.9)
    [(1416.6, '1417'), (1417.75, '1418'), (1418.9, '1419')]
    """
    values = (low, (low + high) / 2, high)
    for digits in _DIGITS:
        told = [f"{value:.{digits}g}" for value in values]
        if len(set(told)) == len(told):
            break
    return list(zip(values, told, strict=True))


def _colours(played: Sequence[Played]) -> Mapping[str, str]:
    others = [each.name for each in played if each.name not in _GREY]
    return _GREY | {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(others)}
