"""The named values that an answer is shown as, for the schemas of protocols and the columns of tables."""

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

__all__ = ["AnswerField", "column_names", "sendable"]

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,99}")


class AnswerField(NamedTuple):
    """One of the values of `tidemill.tasks.task.Task.shown`."""

    name: str
    kind: Literal["number", "text", "numbers", "json"]
    """``numbers``: an object with a number for each of ``keys``."""
    keys: tuple[str, ...] = ()
    """The classes, in order: of ``numbers`` its keys, of ``text`` the values that it may have."""
    example: Any = None


def column_names(field: AnswerField) -> tuple[str, ...]:
    """Return the names of a field's columns in a table.

    >>> column_names(AnswerField("probabilities", "numbers", ("no", "yes")))
    ('probability_no', 'probability_yes')
    >>> column_names(AnswerField("value", "number"))
    ('value',)
    """
    if field.kind == "numbers":
        return tuple(f"probability_{key}" for key in field.keys)
    return (field.name,)


def sendable(classes: Sequence[str]) -> list[str | int | bool]:
    """Return classes as JSON can name them: the text, and the number or truth value that it is the text of.

    >>> sendable(["2", "no"]), sendable(["false", "true"])
    (['2', 2, 'no'], ['false', False, 'true', True])
    """
    found: list[str | int | bool] = []
    for name in classes:
        found.append(name)
        if name in ("true", "false"):
            found.append(name == "true")
        elif _INTEGER.fullmatch(name):
            found.append(int(name))
    return found
