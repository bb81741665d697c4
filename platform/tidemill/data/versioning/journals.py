"""Reads journals of changes in progress, by which the next process finishes or undoes a killed one's work."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tidemill.data.versioning.params_file import read_file

__all__ = ["is_inside", "is_text", "is_text_or_none", "read_journal"]

_log = logging.getLogger(__name__)


def read_journal(journal: Path, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
    """Return the content of a journal, or None when there is no journal.

    An unreadable journal (truncated, or changed by hand) is moved aside with a warning, so that later calls
    can go on.

    Args:
        journal: the file.
        fits: whether the content is one that can be followed.
    """
    try:
        text = read_file(journal) if journal.is_file() or not journal.exists() else ""
        found = None if text is None else json.loads(text)
    except (ValueError, RecursionError):  # not UTF-8, or not JSON, or nested too deeply
        found = ()
    if found is None or (isinstance(found, dict) and fits(found)):
        return found
    aside = journal.with_name(f"{journal.name}.unreadable")
    journal.replace(aside)
    _log.warning(
        "%s cannot be read, so what it began is not undone: it is %s now. Check `git status`",
        journal,
        aside.name,
    )
    return None


def is_text(value: Any) -> bool:
    """Return whether a journal's value is the text of a file.

    >>> [is_text(value) for value in ("a: 1", None, 5, "\\ud800")]
    [True, False, False, False]
    """
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def is_text_or_none(value: Any) -> bool:
    """Return whether a journal's value is the text of a file, or None for a file that did not exist."""
    return value is None or is_text(value)


def is_inside(value: Any) -> bool:
    """Return whether a journal's value is a path relative to the project's folder, and inside it.

    >>> [is_inside(value) for value in ("data/new.csv", "", ".", "../x", "/x", 5, "a\\0")]
    [True, False, False, False, False, False, False]
    """
    if not isinstance(value, str) or "\0" in value:
        return False
    path = Path(value)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
