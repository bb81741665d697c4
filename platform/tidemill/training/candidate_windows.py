"""Defines candidate windows: spans of the training rows, of which one is chosen. Imports no engine."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

__all__ = ["ALL", "Window", "parse_shown", "parse_window"]

_DAYS = re.compile(r"(\d+(?:\.\d+)?)d")
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Window:
    """A span of the training rows.

    >>> str(Window("last", timedelta(days=180))), str(ALL)
    ('last 180 days', 'all')
    """

    kind: Literal["all", "last", "since_change", "season"]
    length: timedelta | None = None
    """Of ``last``: how long; of ``season``: after how long it comes again."""

    def __str__(self) -> str:
        days = "" if self.length is None else f"{self.length / _DAY:g} days"
        return {
            "all": "all",
            "last": f"last {days}",
            "since_change": "since the change",
            "season": f"same season every {days}",
        }[self.kind]

    @property
    def declared(self) -> str | dict[str, str]:
        """What `parse_window` reads."""
        return self.kind if self.length is None else {self.kind: f"{self.length / _DAY:g}d"}


ALL = Window("all")


def parse_window(given: Any) -> Window:
    """Read ``all``, ``since_change``, ``{last: 180d}`` or ``{season: 365d}``.

    Raises:
        ValueError: it is none of them.

    >>> parse_window({"last": "180d"}).declared
    {'last': '180d'}
    """
    if isinstance(given, Window):
        return given
    if given in ("all", "since_change"):
        return Window(given)
    if isinstance(given, Mapping) and len(given) == 1:
        ((kind, length),) = given.items()
        found = _DAYS.fullmatch(str(length))
        if kind in ("last", "season") and found and float(found[1]) > 0:
            return Window(kind, timedelta(days=float(found[1])))
    raise ValueError(
        f"{given!r} is no window: write all, since_change, {{last: 180d}} or {{season: 365d}} (days)"
    )


def parse_shown(text: str) -> Window:
    """Return the window that is shown as ``text``.

    Raises:
        ValueError: none is.

    >>> [parse_shown(str(one)) == one for one in (ALL, Window("since_change"), Window("season", 365 * _DAY))]
    [True, True, True]
    """
    for kind in ("all", "since_change"):
        if str(Window(kind)) == text:
            return Window(kind)
    days = re.fullmatch(r"(last|same season every) (\d+(?:\.\d+)?) days", text)
    if days is None:
        raise ValueError(f"{text!r} is no window that was shown")
    return Window("last" if days[1] == "last" else "season", timedelta(days=float(days[2])))
