"""Draws parameters from a family's space: at random, or as all points of a grid."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from ray.tune.search.sample import Categorical, Domain, Float, Integer, LogUniform

from tidemill.errors import ConfigError
from tidemill.training.model_spec import Family, OnlyIf

__all__ = ["domains", "draw", "grid", "grid_values", "params_at", "point_of"]


def draw(family: Family, choose: Callable[[str, Any], Any]) -> dict[str, Any]:
    """Return one configuration of a family.

    Args:
        family: its space is gone through in order.
        choose: takes a parameter's name and domain, and returns a value.

    >>> space = {"kernel": "poly", "degree": OnlyIf("kernel", ("poly",), 3)}
    >>> space["gamma"] = OnlyIf("kernel", ("rbf",), 0.1)
    >>> draw(Family("svm", space, iter, rounds=1), lambda name, domain: 0)
    {'kernel': 'poly', 'degree': 3}
    """
    params: dict[str, Any] = {}
    for name, given in family.space.items():
        domain = given
        if isinstance(given, OnlyIf):
            if not given.holds(params):
                continue
            domain = given.domain
        params[name] = choose(name, domain) if isinstance(domain, Domain) else domain
    return params


def grid(family: Family, points: int) -> Iterator[dict[str, Any]]:
    """Yield all configurations of a family whose ranges of numbers are cut into ``points`` values.

    >>> from ray import tune
    >>> space = {"depth": tune.randint(2, 5), "kind": tune.choice(["a", "b"])}
    >>> space["rate"] = OnlyIf("kind", ("b",), tune.loguniform(0.01, 1.0))
    >>> list(grid(Family("trees", space, iter, rounds=1), points=2))[:4]
    [{'depth': 2, 'kind': 'a'}, {'depth': 2, 'kind': 'b', 'rate': 0.01}, \
{'depth': 2, 'kind': 'b', 'rate': 1.0}, {'depth': 4, 'kind': 'a'}]
    """
    yield from _rest_of_grid(family, list(family.space), {}, points)


def _rest_of_grid(
    family: Family, names: list[str], params: Mapping[str, Any], points: int
) -> Iterator[dict[str, Any]]:
    if not names:
        yield dict(params)
        return
    given = family.space[names[0]]
    if isinstance(given, OnlyIf) and not given.holds(params):
        yield from _rest_of_grid(family, names[1:], params, points)
        return
    domain = given.domain if isinstance(given, OnlyIf) else given
    for value in (
        grid_values(family.name, names[0], domain, points) if isinstance(domain, Domain) else [domain]
    ):
        yield from _rest_of_grid(family, names[1:], {**params, names[0]: value}, points)


def grid_values(family: str, name: str, domain: Domain, points: int) -> list[Any]:
    """Return the values of one parameter in a grid: all of a choice, ``points`` of a range with its ends.

    Raises:
        ConfigError: the domain has no ends, such as a normal distribution.
    """
    if isinstance(domain, Categorical):
        return list(domain.categories)
    if not isinstance(domain, Float | Integer) or not np.isfinite([domain.lower, domain.upper]).all():
        raise ConfigError(
            f"family {family!r}: parameter {name} is drawn from {domain}, which has no ends for a grid",
            hint="give it a range or a choice, or set train.search to random",
        )
    whole = isinstance(domain, Integer)
    low, high = domain.lower, domain.upper - 1 if whole else domain.upper
    spaced = np.geomspace if isinstance(domain.get_sampler(), LogUniform) else np.linspace
    found = spaced(low, high, points).tolist()
    return sorted({round(value) for value in found}) if whole else found


def point_of(family: Family, params: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return where in the family's space parameters lie, as JSON values; None if they lie outside.

    >>> from ray import tune
    >>> layers = Family("net", {"layers": tune.choice([(64,), (64, 64)]), "rate": 0.1}, iter, rounds=1)
    >>> point_of(layers, {"layers": (64, 64), "rate": 0.1}), params_at(layers, {"layers": 1})
    ({'layers': 1}, {'layers': (64, 64), 'rate': 0.1})
    >>> point_of(layers, {"layers": (32,), "rate": 0.1}) is None
    True
    """
    point: dict[str, Any] = {}
    for name, domain in domains(family, params):
        value = params[name]
        if isinstance(domain, Categorical):
            known = list(domain.categories)
            if value not in known:
                return None
            value = known.index(value)
        elif not isinstance(value, int | float):
            return None
        elif isinstance(domain, Float | Integer):
            within = domain.lower <= value <= domain.upper - isinstance(domain, Integer)
            if not within:
                return None
        point[name] = value
    return point if params_at(family, point) == dict(params) else None


def params_at(family: Family, point: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters at a place of the family's space, as `point_of` returns it.

    Raises:
        KeyError: the place is one of another space.
    """

    def choose(name: str, domain: Any) -> Any:
        return domain.categories[point[name]] if isinstance(domain, Categorical) else point[name]

    return draw(family, choose)


def domains(family: Family, params: Mapping[str, Any]) -> Iterator[tuple[str, Domain]]:
    """Yield those of given parameters that a family chooses, with what it chooses them from."""
    for name, given in family.space.items():
        domain = given.domain if isinstance(given, OnlyIf) else given
        if name in params and isinstance(domain, Domain):
            yield name, domain
