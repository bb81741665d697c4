"""Reads journals of changes in progress, by which the next process finishes or undoes a killed one's work."""

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from tidemill.data.versioning.params_file import read_file

__all__ = ["read_journal"]


def read_journal(
    journal: Path, fields: Collection[str], tell: Callable[[str], None]
) -> dict[str, Any] | None:
    """Return the content of a journal, or None when there is no journal.

    An unreadable journal (truncated, or changed by hand) is moved aside, so that later calls can go on.

    Args:
        journal: the file.
        fields: fields that it must have.
        tell: called with a line about a journal that was moved aside.
    """
    try:
        text = read_file(journal)
        found = None if text is None else json.loads(text)
    except ValueError:  # not UTF-8, or not JSON
        found = ()
    if found is None or (isinstance(found, dict) and found.keys() >= set(fields)):
        return found
    aside = journal.with_name(f"{journal.name}.unreadable")
    journal.replace(aside)
    tell(
        f"{journal} cannot be read, so what it began is not undone: it is {aside.name} now. "
        "Check `git status`"
    )
    return None
