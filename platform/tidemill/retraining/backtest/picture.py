"""Draws a backtest as SVG: the metric of each strategy by month, and its promotions."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import isfinite

from tidemill.plurals import counted
from tidemill.retraining.backtest.played_turns import Played
from tidemill.tasks.natural_metric import Metric, metric_of

__all__ = ["as_svg"]

_WIDTH, _HEIGHT, _LEFT, _TOP, _LINE, _NAMES = 1000, 420, 64, 36, 22, 340
_COLOURS = ("#0f766e", "#b45309", "#6d28d9", "#be123c", "#1d4ed8", "#4d7c0f")
_GREY = {"never": "#6b7280", "always": "#9ca3af", "oracle": "#d1d5db"}
_DASHES = ("", "7 4", "2 3", "9 3 2 3", "1 5", "12 4")
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
    bottom = max(_HEIGHT - 48, _TOP + len(played) * _LINE)
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    spread = (high - low) or 1.0
    across = (_WIDTH - _LEFT - _NAMES) / max(len(names) - 1, 1)

    def height(value: float) -> float:
        return bottom - (value - low) / spread * (bottom - _TOP - 12)

    title = f"{model}: {of.name} by month{of.remark}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {bottom + 48}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>',
    ]
    for number, name in enumerate(names):
        x = _LEFT + number * across
        parts.append(f'<text x="{x:.1f}" y="{bottom + 24}" text-anchor="middle">{escape(name)}</text>')
    for value, told in _ticks(low, high):
        parts.append(f'<text x="{_LEFT - 12}" y="{height(value) + 4:.1f}" text-anchor="end">{told}</text>')
    looks = _looks(played)
    for row, each in enumerate(played):
        points = {
            name: (_LEFT + number * across, height(of.sign * value))
            for number, (name, value) in enumerate(each.periods)
            if isfinite(value)
        }
        parts += _line(each, points, of, looks[each.name], _TOP + row * _LINE + 10)
    return "\n".join([*parts, "</svg>", ""])


def _line(played: Played, points: Points, metric: Metric, look: tuple[str, str], at: int) -> Iterator[str]:
    """Yield the line of a strategy, its promotions, and what stands beside."""
    colour, dashes = look
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points.values())
    strokes = f'stroke="{colour}" stroke-width="2"' + (f' stroke-dasharray="{dashes}"' if dashes else "")
    yield f'<polyline points="{drawn}" fill="none" {strokes}/>'
    if len(points) == 1:  # no line is seen
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{colour}"/>' for x, y in points.values())
    for turn in played.turns:
        place = points.get(f"{turn.at:%Y-%m}")
        if turn.status != "promoted" or place is None:
            continue
        gain = "" if turn.gain is None else f", {turn.gain:+.4g} in the 30 days after"
        ring = f'r="4" fill="{"white" if turn.wrong else colour}" stroke="{colour}"'
        told = f"<title>{turn.at:%Y-%m-%d}: promoted{gain}</title>"
        yield f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" {ring}>{told}</circle>'
    said = f"{played.name}: {metric.sign * played.mean:.4g}, {counted(len(played.turns), 'turn')}"
    side = _WIDTH - _NAMES + 20
    yield f'<line x1="{side}" x2="{side + 24}" y1="{at - 4}" y2="{at - 4}" {strokes}/>'
    yield f'<text x="{side + 30}" y="{at}" fill="{colour}">{escape(said)}</text>'


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


def _looks(played: Sequence[Played]) -> Mapping[str, tuple[str, str]]:
    """Return colour and dashes of each line: policies have a colour, and each gate and proof has dashes."""
    found = {name: (colour, "") for name, colour in _GREY.items()}
    colours, dashes = dict[object, str](), dict[object, str]()
    for each in played:
        if each.name in _GREY:
            continue
        of, rule = (each.strategy.policies, each.strategy.rule) if each.strategy else (each.name, None)
        colour = colours.setdefault(str(of), _COLOURS[len(colours) % len(_COLOURS)])
        found[each.name] = colour, dashes.setdefault(rule, _DASHES[len(dashes) % len(_DASHES)])
    return found
