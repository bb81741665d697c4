"""A project's training spec: the model families to try and how each is fitted."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tidemill.training.distributed import Distributed, Saved

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Chosen", "Family", "Fit", "GoOn", "OnlyIf", "Schedule", "Steps", "TrainingSpec"]

Fit = Callable[[Mapping[str, Any], "pd.DataFrame", "pd.Series[Any]"], Iterator[Any]]
"""Takes parameters, features (rows × features; numbers as float64 with NaN where unknown, text as objects
with None) and labels (0 or 1, the numbers of classes, or the values of a regression); yields the fitted
estimator once a round, each better fitted than the last. It must be deterministic: the chosen model is fitted
again, on more rows, for as many rounds as were best."""

GoOn = Callable[[Any, Mapping[str, Any], "pd.DataFrame", "pd.Series[Any]"], Iterator[Any]]
"""Takes an estimator that `Fit` or this yielded, which it leaves as it is; then parameters, features and
labels of the rows that are new to it. Yields estimators as `Fit` does; the last one is taken."""

Steps = Callable[
    [Mapping[str, Any], "pd.DataFrame", "pd.Series[Any]", Saved | None],
    Iterator[tuple[Any, Callable[[], bytes]]],
]
"""Takes what `Fit` does, and what was kept of a fit that was cut off, or None. Yields the estimators that
`Fit` would, each with what returns the state after its round; of a fit that was cut off, those after what was
kept."""

Schedule = tuple[tuple[int, Mapping[str, Any]], ...]
"""Parameters by the round (from 1) from which on they hold; empty: the same in all rounds."""


class Chosen(NamedTuple):
    """What a model is fitted with."""

    family: str
    params: Mapping[str, Any]
    """Of the last round, where there is a schedule."""
    rounds: int
    schedule: Schedule = ()


@dataclass(frozen=True)
class OnlyIf:
    """A parameter that a model has only for some values of another one, which the space names before it.

    >>> OnlyIf("kernel", ("poly",), 3).holds({"kernel": "poly"}), OnlyIf("kernel", ("poly",), 3).holds({})
    (True, False)
    """

    parameter: str
    values: tuple[Any, ...]
    domain: Any
    """A domain of Ray Tune, or a fixed value."""

    def __post_init__(self) -> None:
        values: Any = self.values
        if isinstance(values, str):  # of which each part would count
            raise ValueError(f"the values of {self.parameter!r} must be a tuple: ({values!r},)")
        if isinstance(self.domain, OnlyIf):
            raise ValueError(f"a parameter exists for values of one other only, here of {self.parameter!r}")

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Return whether a model with these parameters has this one."""
        return self.parameter in params and params[self.parameter] in self.values


@dataclass(frozen=True)
class Family:
    """One kind of model.

    >>> def fit(params, features, labels):
    ...     yield "an estimator with predict_proba"
    >>> Family(name="constant", space={}, fit=fit, rounds=1).rounds
    1
    """

    name: str
    space: Mapping[str, Any]
    """Parameters by name: a domain of Ray Tune (`ray.tune.loguniform(…)`), a fixed value, or `OnlyIf`."""
    fit: Fit
    rounds: int
    """The most estimators that ``fit`` yields; bad trials are stopped earlier."""
    go_on: GoOn | None = None
    """Goes on from an earlier estimator, for policies with ``recipe.search: warm``; None: it cannot."""
    distributed: Distributed | None = None
    """How ``train.workers`` workers fit the chosen model together; None: one process does."""
    steps: Steps | None = None
    """Goes on where a trial was killed; None: it begins anew."""
    lasting: tuple[str, ...] = ()
    """Parameters that decide what a state is, so that ``steps`` cannot go on with others of them."""

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"family {self.name!r}: rounds must be at least 1, not {self.rounds}")
        known: set[str] = set()
        for name, domain in self.space.items():
            if isinstance(domain, OnlyIf) and domain.parameter not in known:
                raise ValueError(
                    f"family {self.name!r}: {name} exists only for values of {domain.parameter!r}, which the "
                    "space must name before it"
                )
            if isinstance(domain, Mapping) and "grid_search" in domain:
                raise ValueError(
                    f"family {self.name!r}: {name} is a grid_search: write tune.choice(…), and train.search: "
                    "grid in params.yaml"
                )
            known.add(name)


@dataclass(frozen=True)
class TrainingSpec:
    """The model families of a project, and what their models may hold.

    >>> TrainingSpec(families=())
    Traceback (most recent call last):
    ValueError: a training spec needs at least one model family
    """

    families: tuple[Family, ...]
    trusted_types: tuple[str, ...] = ()
    """Types of other packages than scikit-learn that a saved model may hold, as ``module.Class``: loading a
    model never creates anything else."""

    def __post_init__(self) -> None:
        names = [family.name for family in self.families]
        if not names:
            raise ValueError("a training spec needs at least one model family")
        if len(set(names)) < len(names):
            raise ValueError(f"model families need names of their own, not {', '.join(names)}")

    def family(self, name: str) -> Family:
        """Return the family called ``name``.

        Raises:
            KeyError: there is no such family.
        """
        return {family.name: family for family in self.families}[name]
