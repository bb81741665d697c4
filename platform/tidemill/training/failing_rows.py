"""Names the row for which a fit fails, or a model's answers do, where it is one row's doing."""

import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final, TypeVar

import pandas as pd

from tidemill.data.tables.failing_row import first_failing
from tidemill.errors import TrainingError
from tidemill.tasks.task import Task

__all__ = ["answers_to", "naming_row"]

_PATIENCE: Final = 5.0
"""Seconds for which a row is looked for at most, with fits on fewer rows."""

_Round = TypeVar("_Round")
_Begin = Callable[[slice | list[int]], Iterator[_Round]]
_Where = tuple[type[Exception], str, int]


def answers_to(task: Task, estimator: Any, rows: pd.DataFrame) -> Any:
    """Return the answers to rows; if they fail, name the first row that does by itself."""
    try:
        return task.answers(estimator, rows)
    except Exception as error:
        number = first_failing(lambda some: task.answers(estimator, rows.iloc[some]), len(rows))
        if number is None:
            raise
        raise _named(error, number, len(rows), "validation") from error


def naming_row(begin: _Begin[_Round], count: int) -> Iterator[_Round]:
    """Yield the rounds of a fit; if the first fails, name the row with which it does, if it is one row's.

    Args:
        begin: begins a fit on some of the rows, by their places.
        count: how many rows there are.
    """
    began, made = time.monotonic(), 0
    try:
        for found in begin(slice(None)):
            yield found
            made += 1
    except Exception as error:
        quick = time.monotonic() - began < _PATIENCE
        number = _row_of_fit(begin, count, _where(error)) if quick and not made else None
        if number is None:
            raise
        raise _named(error, number, count, "training") from error


def _row_of_fit(begin: _Begin[Any], count: int, where: _Where) -> int | None:
    """Return the place of the first row with which a fit fails as it did on all rows.

    On half of the rows before it, or after it, a fit must fail so with that row and not without: else it may
    be how many rows there are, or something else about all of them.
    """
    until = time.monotonic() + _PATIENCE

    def fails(some: slice | list[int]) -> bool:
        try:
            list(islice(begin(some), 1))
        except Exception as error:  # noqa: BLE001 - the project's own code can raise anything
            return _where(error) == where
        return False

    low, high = 0, count  # a fit on the rows before `high` fails so
    while high - low > 1:
        if time.monotonic() > until:
            return None
        middle = (low + high) // 2
        low, high = (low, middle) if fails(slice(middle)) else (middle, high)
    before, after = range(low // 2, low), range((low + 1 + count) // 2, count)
    its_own = any(fails(sorted([*some, low])) and not fails([*some]) for some in (before, after) if some)
    return low if its_own else None


def _where(error: Exception) -> _Where:
    """Return what was raised, and at which line of code."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return type(error), frame.tb_frame.f_code.co_filename if frame else "", frame.tb_lineno if frame else 0


def _named(error: Exception, number: int, count: int, side: str) -> TrainingError:
    return TrainingError(f"{type(error).__name__}: {error} (row {number + 1:,} of the {count:,} {side} rows)")
