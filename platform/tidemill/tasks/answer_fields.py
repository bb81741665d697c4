"""The named values that an answer is shown as, for the schemas of protocols and the columns of tables."""

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

__all__ = ["AnswerField", "column_names", "sendable", "truth_classes"]

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


def truth_classes(classes: Sequence[str]) -> dict[bool, str]:
    """Return the class that each truth value means, whatever its case, where there is one and no other.

    >>> truth_classes(["False", "True"]), truth_classes(["true", "TRUE"])
    ({True: 'True', False: 'False'}, {})
    """
    found = {
        value: [name for name in classes if name.lower() == str(value).lower()] for value in (True, False)
    }
    return {value: names[0] for value, names in found.items() if len(names) == 1}


def sendable(classes: Sequence[str]) -> list[str | int | bool]:
    """Return classes as JSON can name them: the text, and the number or truth value that it is the text of.

    >>> sendable(["2", "no"]), sendable(["False", "True"])
    (['2', 2, 'no'], ['False', False, 'True', True])
    """
    truths = {name: value for value, name in truth_classes(classes).items()}
    found: list[str | int | bool] = []
    for name in classes:
        found.append(name)
        if name in truths:
            found.append(truths[name])
        elif _INTEGER.fullmatch(name):
            found.append(int(name))
    return found
