"""Draws an alert's figure over the last runs, and the shares of rows in bins then and now, as SVG."""

from collections.abc import Sequence
from html import escape

__all__ = ["figure_over_runs", "then_and_now"]

_WIDE, _HIGH, _EDGE = 320, 96, 6


def figure_over_runs(values: Sequence[float], limits: Sequence[float | None], title: str) -> str:
    """Return a line of figures, the last one marked, beside a dashed line of their limits.

    >>> picture = figure_over_runs([0.1, 0.2, 0.4], [0.3, 0.3, 0.3], "drift <of wind>")
    >>> picture.count("<polyline"), picture.count("<circle"), "<of" in picture
    (2, 1, False)
    """
    known = [*values, *(limit for limit in limits if limit is not None)]
    low, high = min(known), max(known)
    step = (_WIDE - 2 * _EDGE) / max(len(values) - 1, 1)

    def place(number: int, value: float) -> str:
        share = (value - low) / (high - low) if high > low else 0.5
        return f"{_EDGE + number * step:.1f},{_HIGH - _EDGE - share * (_HIGH - 2 * _EDGE):.1f}"

    line = " ".join(place(number, value) for number, value in enumerate(values))
    limit = " ".join(place(number, each) for number, each in enumerate(limits) if each is not None)
    x, y = place(len(values) - 1, values[-1]).split(",")
    drawn = [f'<polyline class="figure-limit" points="{limit}"/>'] if limit else []
    drawn.append(f'<polyline class="figure-line" points="{line}"/>')
    drawn.append(f'<circle class="figure-now" cx="{x}" cy="{y}" r="4"/>')
    return _svg(title, drawn)


def then_and_now(before: Sequence[float], now: Sequence[float], bins: Sequence[str], title: str) -> str:
    """Return the shares of rows in each bin: of the reference as an outline, of the window filled.

    >>> then_and_now([0.5, 0.5], [0.0, 1.0], ["a", "b"], "<wind>").count("<rect")
    4
    """
    top = max([*before, *now, 1e-9])
    wide = (_WIDE - 2 * _EDGE) / max(len(before), 1)
    drawn = []
    for number, (name, *shares) in enumerate(zip(bins, before, now, strict=True)):
        told = f"{name}: {shares[0]:.1%} → {shares[1]:.1%}"
        drawn.append(f"<g><title>{escape(told)}</title>")
        for share, kind, part, shift in ((shares[0], "then", 0.9, 0.0), (shares[1], "now", 0.45, 0.22)):
            tall = share / top * (_HIGH - 2 * _EDGE)
            x, y = _EDGE + (number + shift) * wide, _HIGH - _EDGE - tall
            size = f'width="{wide * part:.1f}" height="{tall:.1f}"'
            drawn.append(f'<rect class="figure-{kind}" x="{x:.1f}" y="{y:.1f}" {size}/>')
        drawn.append("</g>")
    return _svg(title, drawn)


def _svg(title: str, drawn: Sequence[str]) -> str:
    head = f'<svg class="figure" width="{_WIDE}" height="{_HIGH}" viewBox="0 0 {_WIDE} {_HIGH}" role="img">'
    return f"{head}<title>{escape(title)}</title>{''.join(drawn)}</svg>"
