"""Draws the marks of a picture once more, for its legend."""

from markupsafe import Markup

from tidemill.dashboard.charts.shares_over_time import COLOURS
from tidemill.dashboard.charts.time_series import event_mark, point_mark

__all__ = ["key_of_event", "key_of_part", "key_of_series"]

_NAMES = ("first", "second", "third")


def key_of_series(place: int) -> Markup:
    """Return the mark of the series at a place, for a square of 14.

    >>> key_of_series(0)
    Markup('<circle cx="7" cy="7" r="4.5" class="mark first"/>')
    """
    return Markup(point_mark(_NAMES[place], 7.0, 7.0))


def key_of_event(kind: str) -> Markup:
    """Return the mark of what happened, for a square of 16."""
    return Markup(event_mark(kind, 8.0, 8.0))


def key_of_part(place: int) -> Markup:
    """Return the colour of the name at a place in stacked bars, for a square of 14.

    >>> key_of_part(7)
    Markup('<rect x="1" y="1" width="12" height="12" class="part part-1"/>')
    """
    return Markup(f'<rect x="1" y="1" width="12" height="12" class="part part-{place % COLOURS}"/>')
