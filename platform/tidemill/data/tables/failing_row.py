"""Finds the row for which a function of many rows fails."""

from collections.abc import Callable
from typing import Any

__all__ = ["first_failing"]


def first_failing(answer: Callable[[slice], Any], count: int) -> int | None:
    """Return the place of the first row that fails by itself; None: only several together do.

    Args:
        answer: is known to fail for all rows; it is asked for about as many rows once more.
        count: how many rows there are.

    >>> first_failing(lambda some: 1 / ((some.stop or 9) <= 3), 8)
    3
    """
    low, high = 0, count  # rows before `low` pass together, those before `high` do not
    while high - low > 1:
        middle = (low + high) // 2
        if _fails(answer, slice(low, middle)):
            high = middle
        else:
            low = middle
    return low if _fails(answer, slice(low, high)) else None


def _fails(answer: Callable[[slice], Any], some: slice) -> bool:
    try:
        answer(some)
    except Exception:  # noqa: BLE001 - the project's own code can raise anything; the first error is told
        return True
    return False
