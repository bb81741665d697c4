"""Defines the inputs and the result of a turn's step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tidemill.project import Project
from tidemill.state import State
from tidemill.state.tables import Turn

__all__ = ["Step", "StepContext", "StepResult"]

Tell = Callable[[str, int | None, int | None], None]


@dataclass(frozen=True)
class StepContext:
    """The inputs of a step."""

    project: Project
    state: State
    turn: Turn
    tell: Tell
    must_resume: bool = False
    """Whether a search must go on where it was cut off, or else fail."""


@dataclass(frozen=True)
class StepResult:
    """The result of a step for the turn's record, and how the turn continues."""

    columns: Mapping[str, Any] = field(default_factory=dict)
    status: str | None = None
    """Status that ends the turn; None if the turn continues."""
    error: str | None = None
    message: str = ""
    back_to: str | None = None
    """An earlier step to run next; None for the following step."""
    cpu_seconds: float = 0.0
    """CPU time of processes that this one did not start itself, such as Ray's workers."""
    gpu_seconds: float = 0.0
    """Time of GPUs that Ray's workers held."""


@dataclass(frozen=True)
class Step:
    """A named step."""

    name: str
    title: str
    run: Callable[[StepContext], StepResult]
