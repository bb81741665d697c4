"""A model that was made elsewhere, read but not registered yet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from tidemill.tasks.task import Task

__all__ = ["ForeignModel"]


@dataclass(frozen=True)
class ForeignModel:
    """A model that was made elsewhere: how it answers, how it is saved, and what its file tells."""

    kind: str
    """Which kind it is, for people: ``scikit-learn Pipeline``."""
    answer: Callable[[pd.DataFrame, Task], Any] = field(repr=False)
    """Gives what the original itself says to rows of its features: an array, a list or a frame."""
    save: Callable[[Path, Task, pd.DataFrame, Any], None] = field(repr=False)
    """Writes the MLflow model that will be served into a new folder; takes the folder, the task, example
    rows, and what the original gives for them."""
    features: tuple[str, ...] = ()
    """The names of its features, in order; empty if the file does not tell."""
    width: int | None = None
    """How many features it takes; None if the file does not tell."""
    classes: tuple[str, ...] = ()
    """The classes of its outputs, in order; empty if the file does not tell."""
    task: str | None = None
    """What it predicts: ``binary``, ``multiclass``, ``regression``; ``custom`` if it is none of them; None if
    the file does not tell."""
    sums_to_one: bool = True
    """Whether the probabilities of several classes must add up to 1; each may be one against the rest."""
    trusted_types: Sequence[str] = ()
    """Types in it beyond those that skops trusts by itself."""
    runs_code: bool = False
    """Whether loading what will be served executes code, so that ``serve.trust_pickled`` must name it."""
    unsafe: bool = False
    """Whether the file was loaded although that can execute code, because the caller allowed it."""
