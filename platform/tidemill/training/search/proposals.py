"""Says which trials a search makes: all known beforehand, or each chosen by what earlier ones gave."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from tidemill.errors import ConfigError
from tidemill.project.train_config import TrainConfig
from tidemill.training.model_spec import Family, TrainingSpec
from tidemill.training.search.parameter_spaces import draw, grid

__all__ = ["Proposals", "Proposed", "candidates"]


class Proposed(NamedTuple):
    """A trial that a search is to make."""

    number: int
    family: str
    params: Mapping[str, Any]
    rounds: int


class Proposals:
    """The trials of a search, by number.

    Args:
        spec: the families, which take turns.
        config: how parameters are chosen, and how many trials there are.
        first: parameters to begin with, as family and parameters, in place of those that would be chosen.

    Raises:
        ConfigError: a space is not one for this kind of search, or a package is missing.

    >>> spec = TrainingSpec((Family("a", {"c": 1}, iter, rounds=2), Family("b", {}, iter, rounds=1)))
    >>> found = Proposals(spec, TrainConfig(trials=3))
    >>> found.total, found.propose(2)
    (3, Proposed(number=2, family='a', params={'c': 1}, rounds=2))
    """

    def __init__(
        self, spec: TrainingSpec, config: TrainConfig, first: Sequence[tuple[str, Mapping[str, Any]]] = ()
    ) -> None:
        self._spec, self._studies = spec, _studies(spec, config)
        planned = [] if self._studies else _planned(spec, config)
        self.total = len(planned) or config.trials
        """How many trials there are, if nothing ends the search earlier."""
        self._known, self._begun = dict(enumerate(planned)), set[int]()
        for number, (name, params) in _placed(spec, first, self.total).items():
            self._known[number] = Proposed(number, name, dict(params), spec.family(name).rounds)

    def propose(self, number: int) -> Proposed:
        """Return the trial with this number; ask for numbers in order. It may be asked for again."""
        if number not in self._known:
            family = self._spec.families[number % len(self._spec.families)]
            params = self._studies[family.name].ask(number)
            self._known[number] = Proposed(number, family.name, params, family.rounds)
        elif self._studies and number not in self._begun:
            known = self._known[number]
            self._studies[known.family].again(number, known.params)
        self._begun.add(number)
        return self._known[number]

    def remember(self, number: int, family: str, params: Mapping[str, Any]) -> None:
        """Take parameters that an earlier process chose for a trial."""
        self._known[number] = Proposed(number, family, params, self._spec.family(family).rounds)

    def tell(self, number: int, values: Sequence[float] | None) -> None:
        """Note what a trial gave, the first being what it is compared by; None: it failed."""
        if self._studies:
            self._studies[self._known[number].family].tell(number, values)


def candidates(spec: TrainingSpec, trials: int, seed: int) -> list[dict[str, Any]]:
    """Draw the trials' configurations: families in turn, parameters at random from the family's own space.

    The same seed gives the same configurations everywhere.

    >>> from tidemill.training.model_spec import Family
    >>> spec = TrainingSpec((Family("a", {"c": 1}, iter, rounds=2), Family("b", {}, iter, rounds=1)))
    >>> [(one["family"], one["params"]) for one in candidates(spec, trials=3, seed=0)]
    [('a', {'c': 1}), ('b', {}), ('a', {'c': 1})]
    """
    drawn = np.random.default_rng(seed)
    configurations = []
    for number in range(trials):
        family = spec.families[number % len(spec.families)]
        params = draw(family, lambda name, domain: _plain(domain.sample(random_state=drawn)))
        configurations.append(
            {"number": number, "family": family.name, "params": params, "rounds": family.rounds}
        )
    return configurations


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _studies(spec: TrainingSpec, config: TrainConfig) -> dict[str, Any]:
    """Return a study for each family, where earlier trials decide."""
    if config.search not in ("tpe", "gp"):
        return {}
    from tidemill.training.search.optuna_samplers import FamilyStudy, check_sampler, check_space

    check_sampler(config.search)
    for family in spec.families:
        check_space(family)
    objectives, each = max(1, len(config.metrics)), -(-config.trials // len(spec.families))
    return {
        family.name: FamilyStudy(family, config.search, config.seed, objectives, each)
        for family in spec.families
    }


def _planned(spec: TrainingSpec, config: TrainConfig) -> list[Proposed]:
    if config.search == "random":
        return [Proposed(**one) for one in candidates(spec, config.trials, config.seed)]
    found = [
        (family, params)
        for family in spec.families
        for params in islice(grid(family, config.grid_points), config.trials + 1)
    ]
    if len(found) > config.trials:
        sizes = [f"{family.name} {_size(family, config.grid_points)}" for family in spec.families]
        raise ConfigError(
            f"train.search is grid, which makes more than the {config.trials} of train.trials: "
            f"{', '.join(sizes)}",
            hint="raise train.trials, lower train.grid_points, name fewer families, or search at random",
        )
    return [
        Proposed(number, family.name, params, family.rounds) for number, (family, params) in enumerate(found)
    ]


_COUNTED = 100_000


def _size(family: Family, points: int) -> str:
    size = sum(1 for _ in islice(grid(family, points), _COUNTED))
    return f"{size:,}" if size < _COUNTED else f"at least {size:,}"


def _placed(
    spec: TrainingSpec, first: Sequence[tuple[str, Mapping[str, Any]]], total: int
) -> dict[int, tuple[str, Mapping[str, Any]]]:
    """Return which number each of the first configurations gets: one of its family's turns."""
    names = [family.name for family in spec.families]
    taken: dict[int, tuple[str, Mapping[str, Any]]] = {}
    for name, params in first:
        number = next((one for one in range(names.index(name), total, len(names)) if one not in taken), None)
        if number is not None:
            taken[number] = (name, params)
    return taken
