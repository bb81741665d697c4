"""A run that another tool recorded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tidemill.clock import FIRST_YEAR, LAST_YEAR

__all__ = ["ForeignRun", "Point", "milliseconds", "step_number"]

_EARLIEST, _LATEST = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (FIRST_YEAR, LAST_YEAR))


class Point(NamedTuple):
    """One value of a metric."""

    metric: str
    value: float
    step: int
    milliseconds: int
    """Since 1970."""


@dataclass(frozen=True)
class ForeignRun:
    """What another tool recorded of one run."""

    name: str
    tool: str
    source: Path
    sha256: str
    """Of the files that it was read from."""
    points: Sequence[Point]
    params: Mapping[str, str] = field(default_factory=dict)
    commit: str | None = None


def milliseconds(seconds: float) -> int:
    """Return a moment of a file as MLflow counts it.

    Raises:
        ValueError: it is no moment that records hold.

    >>> milliseconds(1.5)
    1500
    """
    if not _EARLIEST <= seconds < _LATEST:  # nor if it is not a number
        raise ValueError(f"{seconds!r} s since 1970 is not in the years {FIRST_YEAR} to {LAST_YEAR}")
    return int(seconds * 1000)


def step_number(step: float) -> int:
    """Return the number of a step.

    Raises:
        ValueError: it is none, or has more than 64 bits.

    >>> step_number(12.0)
    12
    """
    if not -(2**63) <= step < 2**63:
        raise ValueError(f"{step!r} is not the number of a step")
    return int(step)
