"""What is said about a table to `tidemill init`, and how the rest is asked."""

import difflib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from tidemill.clock import is_number
from tidemill.data.tables.column_names import is_pattern
from tidemill.errors import UsageError
from tidemill.tasks.task_names import TaskName

__all__ = ["Ask", "InitOptions", "alike", "assume", "columns_said", "existing_column"]

_SHOWN = 12

Ask = Callable[[str, Sequence[str], str], str]
"""Takes a question, the possible answers, and what is assumed without an answer; returns an answer."""


@dataclass(frozen=True)
class InitOptions:
    """What is said about a table; what is None is derived from the table, or asked."""

    target: str
    """The column to predict; empty: asked for."""
    task: TaskName | None = None
    time: str | None = None
    """Column with the moment of the prediction; ``none`` if no column is that."""
    key: str | None = None
    """Column that says whom or what a row is about; ``none`` if no column does."""
    positive: str | None = None
    """For two classes: the one whose probability is predicted."""
    labels_after: str | None = None
    """How long after its time the label of a row is known, as ``2d``."""


def assume(_question: str, _options: Sequence[str], default: str) -> str:
    """Answer every question with what is assumed."""
    return default


def existing_column(option: str, name: str, columns: Collection[str]) -> str:
    """Return ``name`` if the table has such a column.

    Raises:
        UsageError: it has none, and the message names the nearest; or the name reads as a pattern.

    >>> existing_column("--target", "churnd", ["churned", "age"])
    Traceback (most recent call last):
    tidemill.errors.UsageError: --target: the table has no column 'churnd'
    """
    if name in columns:
        if is_pattern(name):
            raise UsageError(
                f"{option}: the name {name!r} reads as a pattern of names", hint="rename the column"
            )
        return name
    lowered = {column.lower(): column for column in columns}
    near = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.5)
    hint = f"did you mean {lowered[near[0]]}? " if near else ""
    raise UsageError(
        f"{option}: the table has no column {name!r}", hint=f"{hint}{columns_said(columns)}".strip()
    )


def alike(values: Iterable[str]) -> list[list[str]]:
    """Return the values that differ by case or by spaces around them only, together.

    >>> alike(["yes", "no", "yes ", "Yes"])
    [['yes', 'yes ', 'Yes']]
    """
    groups: dict[str, list[str]] = {}
    for value in values:
        groups.setdefault(value.strip().casefold(), []).append(value)
    return [group for group in groups.values() if len(group) > 1]


def columns_said(columns: Collection[str]) -> str:
    """Return the names of a table's columns in a sentence, and whether they look like values.

    >>> columns_said(["0.13", "yes"])
    'Its columns: 0.13, yes. Are these values? Then its first line must be one of names'
    """
    shown = ", ".join(list(columns)[:_SHOWN])
    more = f", {len(columns) - _SHOWN} more" if len(columns) > _SHOWN else ""
    if len(columns) == 1:
        return (
            f"Its only column: {shown}; values are set apart by commas, semicolons, tabs or |, "
            "and the first line holds the names"
        )
    values = any(is_number(one) for one in columns)
    return f"Its columns: {shown}{more}" + (
        ". Are these values? Then its first line must be one of names" if values else ""
    )
