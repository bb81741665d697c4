"""Says where a search for a model looks: everywhere, around known parameters, or nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ray.tune.search.sample import Categorical, Domain, Float, Integer, LogUniform

from tidemill.errors import UsageError
from tidemill.training.candidate_windows import ALL, Window
from tidemill.training.hashed_split import HashedSplit
from tidemill.training.model_spec import Family, OnlyIf, Schedule, TrainingSpec
from tidemill.training.splits import Split

__all__ = ["FULL_SEARCH", "Basis", "ParentModel", "SearchPlan", "basis_of", "narrowed"]

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
    schedule: Schedule = ()
    """How its parameters changed between rounds, if they did."""


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


def basis_of(family: Family, given: Mapping[str, Any], rounds: int | None = None) -> Basis:
    """Return a basis by parameters that a person gives; those with a fixed value may be left out.

    Raises:
        UsageError: a parameter is missing, or the family has none of that name.

    >>> basis_of(Family("trees", {"depth": 3}, iter, rounds=5), {"depth": 4})
    Basis(family='trees', params={'depth': 4}, rounds=5, parent=None, schedule=())
    >>> space = {"kernel": "rbf", "degree": OnlyIf("kernel", ("poly",), 3)}
    >>> family = Family("svm", space, iter, rounds=1)
    >>> basis_of(family, {}).params, basis_of(family, {"kernel": "poly"}).params
    ({'kernel': 'rbf'}, {'kernel': 'poly', 'degree': 3})
    """
    if unknown := [name for name in given if name not in family.space]:
        raise UsageError(
            f"family {family.name!r} has no parameter {', '.join(unknown)}",
            hint=f"it has {', '.join(family.space) or 'none'}",
        )
    found: dict[str, Any] = {}
    missing: dict[str, Domain] = {}
    for name, one in family.space.items():
        if isinstance(one, OnlyIf) and not one.holds(found):
            continue
        domain = one.domain if isinstance(one, OnlyIf) else one
        if name not in given and isinstance(domain, Domain):
            missing[name] = domain
        found[name] = given.get(name, domain)
    if missing:
        raise UsageError(
            f"family {family.name!r} needs values of {', '.join(missing)}",
            hint="give them, or let a search find them in "
            + ", ".join(f"{name} {domain.domain_str}" for name, domain in missing.items()),
        )
    if idle := [name for name in given if name not in found]:
        raise UsageError(
            f"family {family.name!r} has no {', '.join(idle)} with these parameters",
            hint=f"its space gives them only to others: leave {', '.join(idle)} out",
        )
    return Basis(family.name, found, rounds or family.rounds)


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
