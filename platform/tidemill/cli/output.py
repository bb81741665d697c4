"""Writes the output of commands: JSON for machines, text for people, errors on stderr."""

import json
import sys
from dataclasses import asdict, is_dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

__all__ = [
    "as_json",
    "emit",
    "errors_console",
    "format_moment",
    "out_console",
    "print_indented",
    "print_wrapped",
]


_INDENT = "  "


@cache
def out_console() -> "Console":
    """Return the console of stdout, without markup, as reasons, paths and errors may have square brackets."""
    return _console(stderr=False)


@cache
def errors_console() -> "Console":
    """Return the console of stderr, likewise."""
    return _console(stderr=True)


def _console(stderr: bool) -> "Console":
    from rich.console import Console  # not needed for --json, nor for help

    class Uncropped(Console):
        """Leaves a path that is longer than the terminal to the line break of the terminal."""

        def print(self, *objects: Any, crop: bool = False, **options: Any) -> None:
            """Print without cutting lines off."""
            super().print(*objects, crop=crop, **options)

    return Uncropped(stderr=stderr, highlight=False, markup=False)


def as_json(value: Any) -> str:
    """Return ``value`` as JSON; moments in ISO 8601.

    >>> from datetime import UTC
    >>> as_json({"at": datetime(2013, 4, 1, tzinfo=UTC), "path": Path("a")})
    '{"at": "2013-04-01T00:00:00+00:00", "path": "a"}'
    """
    return json.dumps(value, default=_plain, allow_nan=False)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def emit(value: Any, as_machine: bool, render: "Callable[[Console], None]") -> None:
    """Write ``value`` as one line of JSON, or let ``render`` show it to a person."""
    if as_machine:
        sys.stdout.write(as_json(value) + "\n")
    else:
        render(out_console())


def print_indented(console: "Console", text: str) -> None:
    """Print text with all of its lines indented; what a narrow terminal breaks off, too."""
    print_wrapped(console, _INDENT + text, _INDENT)


def print_wrapped(console: "Console", text: str, indent: str = _INDENT, style: str | None = None) -> None:
    """Print text in lines of the terminal's width, later ones behind ``indent``; words stay whole."""
    import textwrap

    wide = max(console.width, len(indent) + 1)
    for line in textwrap.wrap(
        text, wide, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    ):
        console.print(line, soft_wrap=True, style=style)


def format_moment(moment: datetime | None) -> str:
    """Return a moment as people read it, to the minute.

    >>> format_moment(None)
    '–'
    """
    return "–" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
