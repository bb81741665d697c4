"""Domains of parameters, which Ray Tune draws from."""

from collections.abc import Sequence
from typing import Any

from ray import tune

__all__ = ["any_of", "between", "log_between"]


def any_of(values: Sequence[Any]) -> Any:
    """Return a domain of given values."""
    return tune.choice(list(values))


def between(low: float, high: float) -> Any:
    """Return a domain of numbers that are equally likely everywhere."""
    return tune.uniform(low, high)


def log_between(low: float, high: float) -> Any:
    """Return a domain of positive numbers whose orders of magnitude are equally likely."""
    return tune.loguniform(low, high)
