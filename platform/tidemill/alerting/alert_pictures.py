"""Draws small SVG pictures of an alert: its figure over the last runs, and features then and now. Pure.

Each shape has colours of its own, for pages that stand alone, and a class, by which the dashboard's styles
replace them.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

__all__ = ["bins_then_and_now", "figure_over_runs", "pictures_of"]

_WIDE, _HIGH, _EDGE = 320, 96, 6
_LINE, _LIMIT, _BEFORE, _NOW = "#1f5fa8", "#c0392b", "#b8c4d0", "#1f5fa8"


def pictures_of(facts: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the pictures of an alert, each with its title and its SVG.

    Args:
        facts: as `tidemill.alerting.alert_evidence.describe` gives them.
    """
    found = []
    history = [each for each in facts["history"] if each["value"] is not None]
    if len(history) > 1:
        values = [each["value"] for each in history]
        title = f"{facts['kind'].replace('_', ' ')}, last {len(values)} runs"
        found.append(
            {"title": title, "svg": figure_over_runs(values, [each["limit"] for each in history], title)}
        )
    for name, bins in facts["histograms"].items():
        title = f"{name}: training (grey), window (blue)"
        found.append(
            {"title": title, "svg": bins_then_and_now(bins["before"], bins["now"], bins["bins"], title)}
        )
    return found


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
    drawn = [
        f'<polyline class="figure-line" points="{line}" fill="none" stroke="{_LINE}" stroke-width="2"/>',
        f'<circle class="figure-now" cx="{x}" cy="{y}" r="4" fill="{_LINE}"/>',
    ]
    if limit:
        dashes = 'stroke-dasharray="4 3"'
        look = f'class="figure-limit" fill="none" stroke="{_LIMIT}" stroke-width="2" {dashes}'
        drawn.append(f'<polyline {look} points="{limit}"/>')
    return _svg(title, drawn)


def bins_then_and_now(before: Sequence[float], now: Sequence[float], bins: Sequence[str], title: str) -> str:
    """Return the shares of rows in each bin, of the reference behind those of the window.

    >>> bins_then_and_now([0.5, 0.5], [0.0, 1.0], ["a", "b"], "<wind>").count("<rect")
    4
    """
    top = max([*before, *now, 1e-9])
    wide = (_WIDE - 2 * _EDGE) / max(len(before), 1)
    drawn = []
    for number, (name, *shares) in enumerate(zip(bins, before, now, strict=True)):
        told = f"{name}: {shares[0]:.1%} → {shares[1]:.1%}"
        drawn.append(f"<g><title>{escape(told)}</title>")
        sides = (shares[0], "then", _BEFORE, 0.9, 0.0), (shares[1], "now", _NOW, 0.45, 0.22)
        for share, kind, colour, part, shift in sides:
            tall = share / top * (_HIGH - 2 * _EDGE)
            x, y = _EDGE + (number + shift) * wide, _HIGH - _EDGE - tall
            size = f'width="{wide * part:.1f}" height="{tall:.1f}"'
            look = f'class="figure-{kind}" fill="{colour}"'
            drawn.append(f'<rect {look} x="{x:.1f}" y="{y:.1f}" {size}/>')
        drawn.append("</g>")
    return _svg(title, drawn)


def _svg(title: str, drawn: Sequence[str]) -> str:
    size = f'width="{_WIDE}" height="{_HIGH}" viewBox="0 0 {_WIDE} {_HIGH}"'
    head = f'<svg class="figure" xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    return f"{head}<title>{escape(title)}</title>{''.join(drawn)}</svg>"
