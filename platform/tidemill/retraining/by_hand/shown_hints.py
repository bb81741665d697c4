"""Shows the hint of an error where Python shows the error: a notebook has no line ``hint:`` of its own."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from tidemill.errors import TidemillError

__all__ = ["with_hint"]

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def with_hint(step: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Add the hint of an error that a step raises to its traceback, as a note.

    >>> from tidemill.errors import UsageError
    >>> @with_hint
    ... def fit(family):
    ...     raise UsageError("there is no family 'tres'", hint="the project has trees")
    >>> try:
    ...     fit("tres")
    ... except UsageError as error:
    ...     error.__notes__
    ['hint: the project has trees']
    """

    @wraps(step)
    def noting(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        try:
            return step(*args, **kwargs)
        except TidemillError as error:
            note = f"hint: {error.hint}"
            if error.hint and note not in getattr(error, "__notes__", ()):
                error.add_note(note)
            raise

    return noting
