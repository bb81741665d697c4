"""Find which of the project's classes each output of a model means, by name; positions alone do not tell."""

import csv
import io
import shlex
from collections.abc import Sequence

from tidemill.errors import DataError, UsageError
from tidemill.registry.importing.foreign_model import ForeignModel
from tidemill.tasks.target_labels import class_text
from tidemill.tasks.task import Task

__all__ = ["output_places", "read_classes"]

_SAME_AS_NUMBER = {"true": "1", "false": "0"}
_COMMAND = "tidemill models import SOURCE"


def read_classes(line: str) -> tuple[str, ...]:
    """Return the names of classes in one line of CSV, in which names in double quotes may hold commas.

    Raises:
        UsageError: it is no line of CSV.

    >>> read_classes('"no, never", maybe,yes')
    ('no, never', 'maybe', 'yes')
    """
    try:
        rows = list(csv.reader(io.StringIO(line, newline=""), skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise UsageError(
            f"--classes is no line of CSV: {error}",
            hint="put names with commas in double quotes, and double the quotes in names: "
            + _option(("no, never", "yes")),
        ) from error
    if len(rows) > 1:
        raise UsageError("--classes has several lines", hint="give one line: --classes A,B,C")
    return tuple(name for row in rows for name in row)


def output_places(
    model: ForeignModel, given: Sequence[str], task: Task, command: str = _COMMAND
) -> tuple[int, ...]:
    """Return the place of each output of the model among the task's classes; empty where they are the same.

    Args:
        model: may tell its classes.
        given: classes of its outputs in order, as the caller says; they count more.
        task: the project's.
        command: the import without ``--classes``, for hints.

    Raises:
        UsageError: classes were given, and the task has none; or none were given, and nothing tells them.
        DataError: the project does not have a class of the model.

    >>> from tidemill.tasks.binary import Binary
    >>> output_places(ForeignModel("", print, print, classes=("churned", "stayed")), (),
    ...               Binary("", classes=("stayed", "churned")))
    (1, 0)
    """
    wanted: tuple[str, ...] = getattr(task, "classes", ())
    if not wanted:
        if given:
            raise UsageError(f"--classes: a {task.kind} task has no classes", hint="leave --classes out")
        return ()
    found = _named(given or model.classes, wanted)
    if not found and _are_positions(wanted):
        return ()
    hint = (
        f"name the classes that its outputs mean, in the order of the outputs: {command} {_option(wanted)} "
        "(or another order)"
    )
    if not found:
        raise UsageError(
            f"the {model.kind} model does not store the names of its classes, only their positions: "
            "--classes is required",
            hint=hint,
        )
    _check_named(found, wanted, task, hint)
    places = tuple(wanted.index(one) for one in found)
    return () if places == tuple(range(len(wanted))) else places


def _check_named(found: Sequence[str], wanted: Sequence[str], task: Task, hint: str) -> None:
    if unknown := [one for one in found if one not in wanted]:
        raise DataError(
            f"the model's classes are {', '.join(found)}, and {', '.join(unknown)} "
            f"{'is' if len(unknown) == 1 else 'are'} none of the project's: {', '.join(wanted)}",
            hint=hint,
        )
    if len(set(found)) < len(found) or (task.kind == "binary" and len(found) != 2):
        raise DataError(
            f"the model's classes are {', '.join(found)}: each of {', '.join(wanted)} is needed once",
            hint=hint,
        )


def _named(names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Return names as the project writes them, where it has them."""
    found = []
    for name in names:
        forms = (name, class_text(name), class_text(name.strip()))
        written = next((one for one in forms if one in wanted), forms[-1])
        found.append(written if written in wanted else _SAME_AS_NUMBER.get(written, written))
    return found


def _are_positions(classes: Sequence[str]) -> bool:
    """Return whether classes are 0, 1, 2 and so on, or false and true, in this order.

    >>> [_are_positions(found) for found in (("0", "1", "2"), ("False", "True"), ("1", "0"), ("no", "yes"))]
    [True, True, False, False]
    """
    lower = [name.lower() for name in classes]
    return lower == ["false", "true"] or lower == [str(place) for place in range(len(classes))]


def _option(classes: Sequence[str]) -> str:
    """Return the option that names classes, as a shell takes it.

    >>> print(_option(("no, never", "yes")))
    --classes '"no, never",yes'
    """
    line = io.StringIO()
    spaced = any(name != name.strip() for name in classes)  # which is kept within quotes alone
    writer = csv.writer(line, quoting=csv.QUOTE_ALL if spaced else csv.QUOTE_MINIMAL, lineterminator="")
    writer.writerow(classes)
    return f"--classes {shlex.quote(line.getvalue())}"
