"""Draws gains with their intervals beside the line of no gain, as SVG."""

from collections.abc import Sequence
from html import escape

__all__ = ["gain_picture"]

_WIDE, _ROW, _EDGE = 320, 26, 12


def gain_picture(
    gains: Sequence[tuple[str, float, float, float]], title: str, needed: float | None = None
) -> str:
    """Return a line for each gain, with its interval, beside dashed lines of zero and of what is needed.

    Args:
        gains: of each its name, value, low end and high end.
        title: of the picture.
        needed: the gain that is asked for; None to leave that out.

    >>> picture = gain_picture([("auc <1>", 0.01, -0.01, 0.03)], "gain", 0.002)
    >>> picture.count('class="figure-span"'), picture.count("<circle"), "<1>" in picture
    (1, 1, False)
    """
    known = [0.0, *(end for _, *ends in gains for end in ends), *([] if needed is None else [needed])]
    low, high = min(known), max(known)
    gap = (high - low) or 1.0

    def at(value: float) -> str:
        return f"{_EDGE + (value - low) / gap * (_WIDE - 2 * _EDGE):.1f}"

    high_px = _ROW * len(gains) + 2 * _EDGE
    drawn = [_line("figure-zero", at(0.0), high_px)]
    if needed is not None and needed != 0:
        drawn.append(_line("figure-limit", at(needed), high_px))
    for number, (name, value, start, end) in enumerate(gains):
        y = _EDGE + _ROW * (number + 0.5)
        told = f"{name}: {value:+.4g} ({start:+.4g} to {end:+.4g})"
        drawn.append(
            f"<g><title>{escape(told)}</title>"
            f'<line class="figure-span" x1="{at(start)}" x2="{at(end)}" y1="{y}" y2="{y}"/>'
            f'<circle class="figure-now" cx="{at(value)}" cy="{y}" r="5"/></g>'
        )
    size = f'width="{_WIDE}" height="{high_px}" viewBox="0 0 {_WIDE} {high_px}"'
    named = f"<title>{escape(title)}</title>"
    return f'<svg class="figure" {size} role="img">{named}{"".join(drawn)}</svg>'


def _line(kind: str, x: str, high: int) -> str:
    return f'<line class="{kind}" x1="{x}" x2="{x}" y1="0" y2="{high}"/>'
