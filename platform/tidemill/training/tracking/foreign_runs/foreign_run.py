"""A run that another tool recorded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

__all__ = ["ForeignRun", "Point"]


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
