"""Compose several models' answers: the project's declaration, and the input of its `Composition.score`.

A part is another registered model in processes of its own. The project's own model is scored in the replica
as ever, with its champion, canary and experiments; a composition starts from that score.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tidemill.errors import ServingError

__all__ = ["AskPart", "Composition", "CompositionRequest", "Mask", "Part", "PartFailed", "Scores"]

Scores = npt.NDArray[np.float64]
"""One probability a row, shape (rows,)."""
Mask = npt.NDArray[np.bool_]
"""Which rows are meant, shape (rows,)."""
AskPart = Callable[[str, npt.NDArray[np.float64], tuple[str, ...]], Awaitable[tuple[str, Scores]]]
"""From a part's name, a matrix and the names of its columns to the version that answered, and its scores."""


class PartFailed(ServingError):
    """A part does not answer; a composition may catch it and go on without."""


@dataclass(frozen=True)
class Part:
    """A registered model that takes part in answers, in processes of its own."""

    model: str
    """Name of the registered model."""
    alias: str = "champion"
    """Which of its versions answers; followed as it moves."""
    replicas: int = 1


class _Score(Protocol):
    async def __call__(self, request: "CompositionRequest", /) -> Scores:
        """Return the probability of each row."""


@dataclass(frozen=True)
class Composition:
    """The models that answer together, and the function that combines them.

    >>> async def score(request: CompositionRequest) -> Scores:
    ...     return (request.own + await request.ask("weather")) / 2
    >>> composition = Composition({"weather": Part("weather-risk")}, score)
    """

    parts: Mapping[str, Part]
    """By the name that `score` calls it."""
    score: _Score = field(repr=False)
    """From what is asked to the answered probabilities; it awaits parts."""


@dataclass
class CompositionRequest:
    """Some rows to be answered, as `Composition.score` gets them."""

    own: Scores
    """The scores of the project's own model, shape (rows,)."""
    features: npt.NDArray[np.float64]
    """Those that are numbers, shape (rows, columns); NaN means "not known"."""
    columns: tuple[str, ...]
    instances: Sequence[Any]
    """The requests; None where features were given as they are."""
    part: AskPart = field(repr=False)
    flags: list[list[str]] = field(default_factory=list)
    """What goes with each answer beside what it has already: which versions took part, and rules."""

    def __post_init__(self) -> None:
        self.flags = [[] for _ in self.own]

    async def ask(self, name: str, where: Mask | None = None, **inputs: Scores) -> Scores:
        """Return the scores of a part.

        Args:
            name: of the part.
            where: only these rows are asked about; default: all.
            inputs: further columns for the part, shape (rows,), such as another model's score.

        Returns:
            One probability for each row that was asked about, in order.

        Raises:
            PartFailed: the part does not answer, or not in time.
        """
        matrix, columns = self.features, self.columns
        if inputs:
            matrix = np.column_stack([matrix, *inputs.values()])
            columns = (*columns, *inputs)
        places = np.arange(len(self.own)) if where is None else np.flatnonzero(where)
        if not len(places):
            return np.empty(0)
        version, scores = await self.part(name, matrix[places], columns)
        for place in places:
            self.flags[place].append(f"model:{name}:{version}")
        return scores

    def flag(self, name: str, where: Mask | None = None) -> None:
        """Add the flag ``rule:<name>`` to the answers and the log."""
        for place in range(len(self.own)) if where is None else np.flatnonzero(where):
            self.flags[place].append(f"rule:{name}")
