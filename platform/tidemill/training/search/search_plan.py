"""Says where a search for a model looks: everywhere, around known parameters, or nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ray.tune.search.sample import Categorical, Domain, Float, Integer, LogUniform

from tidemill.training.candidate_windows import ALL, Window
from tidemill.training.hashed_split import HashedSplit
from tidemill.training.model_spec import Family, OnlyIf, TrainingSpec
from tidemill.training.splits import Split

__all__ = ["FULL_SEARCH", "Basis", "ParentModel", "SearchPlan", "narrowed"]

_PART = 0.15
"""How far to each side a narrow search looks, as a part of a parameter's whole range."""


@dataclass(frozen=True)
class ParentModel:
    """An earlier version, as its own hold-out judged it: it has not learnt from that."""

    version: str
    run_id: str
    estimator: Any = field(repr=False)
    features: tuple[str, ...]
    split: Split | HashedSplit


@dataclass(frozen=True)
class Basis:
    """The family and parameters of an earlier model."""

    family: str
    params: Mapping[str, Any]
    rounds: int
    parent: ParentModel | str | None = None
    """The model itself, for a warm start, or why none may go on from it; None: no warm start is asked for."""


@dataclass(frozen=True)
class SearchPlan:
    """How a training looks for its model."""

    search: Literal["full", "narrow", "same", "warm"] = "full"
    windows: tuple[Window, ...] = (ALL,)
    basis: Basis | None = None
    """What all but ``full`` begin with; None: there is none, and the search is a full one."""

    def basis_in(self, spec: TrainingSpec) -> Basis | None:
        """Return what to begin with; None where the search is to be a full one."""
        known = self.basis is not None and self.basis.family in {family.name for family in spec.families}
        return self.basis if known and self.search != "full" else None


FULL_SEARCH = SearchPlan()


def narrowed(family: Family, params: Mapping[str, Any]) -> Family:
    """Return a family whose space lies around given parameters, which the space itself holds.

    >>> from ray import tune
    >>> space = {"depth": tune.randint(2, 22), "rate": tune.loguniform(0.01, 1.0)}
    >>> space["kind"] = tune.choice([1, 2, 3, 4])
    >>> found = narrowed(Family("trees", space, iter, rounds=1), {"depth": 10, "rate": 0.1, "kind": 1})
    >>> (found.space["depth"].lower, found.space["depth"].upper), found.space["kind"].categories
    ((7, 14), [1, 2])
    >>> round(found.space["rate"].lower, 3), round(found.space["rate"].upper, 3)
    (0.05, 0.2)
    """
    return replace(
        family, space={name: _around(domain, params.get(name)) for name, domain in family.space.items()}
    )


def _around(domain: Any, value: Any) -> Any:
    if isinstance(domain, OnlyIf):
        return replace(domain, domain=_around(domain.domain, value))
    if not isinstance(domain, Domain) or value is None:
        return domain
    if isinstance(domain, Categorical):
        known = list(domain.categories)
        if value not in known:
            return domain
        place = known.index(value)
        near = known[max(0, place - 1) : place + 2] if _ordered(known) else known
        return Categorical(near).uniform()
    if isinstance(domain, Integer | Float) and isinstance(value, int | float):
        return _near_number(domain, value)
    return domain


def _near_number(domain: Any, value: float) -> Any:
    low, high = domain.lower, domain.upper
    whole = isinstance(domain, Integer)
    if isinstance(domain.get_sampler(), LogUniform):
        factor = (high / low) ** _PART
        near = max(low, value / factor), min(high, value * factor)
    else:
        reach = (high - low) * _PART
        near = max(low, value - reach), min(high, value + reach + whole)
    if whole:
        near = int(near[0]), max(int(near[0]) + 1, int(near[1]))
    if near[0] >= near[1]:
        return value
    found = type(domain)(*near)
    found.set_sampler(domain.get_sampler())
    return found


def _ordered(values: list[Any]) -> bool:
    return all(isinstance(value, int | float) for value in values) and values == sorted(values)
