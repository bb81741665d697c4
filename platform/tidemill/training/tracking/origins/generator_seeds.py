"""Tells the seeds of a process's generators of random numbers."""

import hashlib
import os
import sys
from collections.abc import Iterator

__all__ = ["seeds"]

_FRESH = 624
"""Place of numpy's older generator that has given no number since its seed was set."""


def seeds() -> dict[str, str]:
    """Return the seeds of generators, of those that are imported, as the process has them now.

    Where a seed cannot be told any more, a digest of the generator's state stands for it: the same seed and
    as many numbers drawn give the same. What is never seeded has another one in each process.

    >>> import random
    >>> random.seed(7)
    >>> once = seeds()["random"]
    >>> random.seed(7)
    >>> seeds()["random"] == once
    True
    """
    return dict(_seeds())


def _seeds() -> Iterator[tuple[str, str]]:
    if given := os.environ.get("PYTHONHASHSEED"):
        yield "PYTHONHASHSEED", given
    if "random" in sys.modules:
        yield "random", _digest(sys.modules["random"].getstate())
    if (numpy := sys.modules.get("numpy.random")) is not None:
        state = numpy.get_state(legacy=False)
        key, place = state["state"]["key"], state["state"]["pos"]
        yield "numpy", str(key[0]) if place == _FRESH else _digest((key.tobytes(), place))
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "initial_seed"):
        yield "torch", str(torch.initial_seed())


def _digest(state: object) -> str:
    return f"state {hashlib.sha256(repr(state).encode()).hexdigest()[:8]}"
