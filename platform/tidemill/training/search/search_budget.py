"""Says how far a search is, and when it ends before its last trial."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tidemill.project.train_config import TrainConfig

__all__ = ["Progress", "SearchBudget", "SearchProgress", "SearchSpent"]

_EPSILON = 1e-9


@dataclass(frozen=True)
class SearchProgress:
    """How far a search is."""

    done: int
    total: int
    best: float | None
    """The best validation metric so far."""
    best_trial: int | None
    seconds_left: float | None
    """An estimate by the trials that ended since the search began, or was taken up; None: there is none."""
    running: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """Of each trial that runs: the rounds that are made, and those that it has if it is not stopped early."""


Progress = Callable[[SearchProgress], None]
"""Called after each trial, and between them once a second at most, after rounds."""


@dataclass(frozen=True)
class SearchSpent:
    """What a search has used so far."""

    seconds: float
    """By the clock, those of earlier processes of the same search with them."""
    cpu_seconds: float
    """Of its trials."""
    values: tuple[float | None, ...] = ()
    """The best value of each trial that ended, in the order in which they did; None: it failed."""


@dataclass(frozen=True)
class SearchBudget:
    """The most that a search may use.

    >>> budget = SearchBudget(minutes=1.0, patience=2)
    >>> budget.over(SearchSpent(59.0, 300.0, (0.7, 0.6))) is None
    True
    >>> budget.over(SearchSpent(59.0, 300.0, (0.7, 0.6, None)))
    'train.patience: 2 trials in a row brought nothing better'
    >>> budget.over(SearchSpent(61.0, 300.0, (0.7,)))
    'train.minutes: 1 had passed'
    """

    minutes: float | None = None
    cpu_hours: float | None = None
    patience: int | None = None

    @classmethod
    def of(cls, config: TrainConfig) -> "SearchBudget":
        """Return that of a project."""
        return cls(config.minutes, config.cpu_hours, config.patience)

    def over(self, spent: SearchSpent) -> str | None:
        """Return what has run out, in words; None: nothing has."""
        if self.minutes is not None and spent.seconds >= self.minutes * 60:
            return f"train.minutes: {self.minutes:g} had passed"
        if self.cpu_hours is not None and spent.cpu_seconds >= self.cpu_hours * 3600:
            return f"train.cpu_hours: {self.cpu_hours:g} were used"
        if self.patience is not None and _since_better(spent.values) >= self.patience:
            return f"train.patience: {self.patience} trials in a row brought nothing better"
        return None


def _since_better(values: tuple[float | None, ...]) -> int:
    """Return how many trials came after the best one; 0 before there is a value."""
    best, since = None, 0
    for value in values:
        if value is not None and (best is None or value > best + _EPSILON * abs(best)):
            best, since = value, 0
        elif best is not None:
            since += 1
    return since
