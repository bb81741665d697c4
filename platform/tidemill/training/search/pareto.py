"""Finds the trials that no other one beats in all metrics."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

__all__ = ["pareto_front"]

Key = TypeVar("Key")


def pareto_front(found: Mapping[Key, Sequence[float]]) -> list[Key]:
    """Return those for which no other has each value at least as high and one higher; best first value first.

    >>> pareto_front({"a": (0.7, 0.2), "b": (0.8, 0.1), "c": (0.6, 0.1), "d": (0.7, 0.2)})
    ['b', 'a', 'd']
    """
    kept = [key for key, values in found.items() if not any(_beats(one, values) for one in found.values())]
    return sorted(kept, key=lambda key: -found[key][0])


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(mine >= yours for mine, yours in pairs) and any(mine > yours for mine, yours in pairs)
