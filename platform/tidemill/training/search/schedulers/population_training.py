"""Population-based training: trials that do badly go on as copies of good ones, with other parameters.

Jaderberg et al., Population Based Training of Neural Networks (2017), by Ray Tune.
"""

import random
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining, TrialScheduler
from ray.tune.search.sample import Categorical, Domain, Float, Integer, Quantized

from tidemill.errors import ConfigError
from tidemill.training.model_spec import Family, OnlyIf, TrainingSpec
from tidemill.training.search.parameter_spaces import domains
from tidemill.training.search.proposals import Proposals
from tidemill.training.search.trial import ROUND, SCHEDULE

__all__ = ["Population", "check_population", "explored", "population_space"]

_RESAMPLED = 0.25
"""How often a parameter is drawn anew, instead of changed a little."""
_FACTORS = (0.8, 1.2)
_TIMES = 5
"""So often, at most, a trial is compared with others."""


class Population(PopulationBasedTraining):  # type: ignore[misc]
    """Compares the trials of a family after their rounds; the worst quarter becomes copies of the best one.

    What parameters became is in the trial's configuration, as its schedule. Draws depend on the seed, the
    trial and the round.

    Args:
        metric: what trials are compared by.
        spec: the families.
        seed: of the search.
    """

    _trial_state: dict[Any, Any]

    def __init__(self, metric: str, spec: TrainingSpec, seed: int) -> None:
        super().__init__(
            time_attr=ROUND,
            metric=metric,
            mode="max",
            perturbation_interval=max(1, max(one.rounds for one in spec.families) // _TIMES),
            hyperparam_mutations={"trial": {"params": {}}},
            log_config=False,
        )
        self._spec, self._seed, self._family, self._done = spec, seed, "", 0
        self._draw = np.random.default_rng(abs(seed))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Compare a trial with the others; after its last round it is left alone."""
        mine, done = trial.config["trial"], result[ROUND]
        if done >= mine["rounds"]:
            return str(TrialScheduler.CONTINUE)
        before = random.getstate()
        random.seed(f"{self._seed} {mine['number']} {done}")  # by which Ray Tune chooses the one to copy
        self._draw = np.random.default_rng([abs(self._seed), mine["number"], done])
        self._family, self._done = mine["family"], done
        try:
            return str(super().on_trial_result(tune_controller, trial, result))
        finally:
            random.setstate(before)

    def _quantiles(self) -> tuple[list[Any], list[Any]]:
        """Return the worst and the best trials of the family: nobody copies one that made fewer rounds.

        A copy of such a trial would make its own last round again, with the same draws, and copy again: where
        trials outnumber CPUs, the search would never end.
        """
        every = self._trial_state
        own = {trial: one for trial, one in every.items() if trial.config["trial"]["family"] == self._family}
        self._trial_state = own
        try:
            worst, best = super()._quantiles()
            best = [trial for trial in best if own[trial].last_result[ROUND] >= self._done]
            return (list(worst) if best else []), best
        finally:
            self._trial_state = every

    def _get_new_config(self, trial: Any, trial_to_clone: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the configuration of a copy: it has its own number, and a part more in its schedule."""
        source, done = trial_to_clone.config["trial"], self._trial_state[trial_to_clone].last_result[ROUND]
        params = explored(self._spec.family(source["family"]), source["params"], self._draw)
        begun = [part for part in source[SCHEDULE] if part[0] <= done]
        schedule = begun if params == source["params"] else [*begun, (done + 1, params)]
        own = {"number": trial.config["trial"]["number"], "params": params, SCHEDULE: schedule}
        return {**trial_to_clone.config, "trial": {**source, **own}}, {}


def check_population(spec: TrainingSpec) -> None:
    """Raise if a family cannot have its parameters changed between rounds.

    Raises:
        ConfigError: it cannot; the message names it, and says why.
    """
    for family in spec.families:
        conditional = [name for name, domain in family.space.items() if isinstance(domain, OnlyIf)]
        free = {name for name, domain in family.space.items() if isinstance(domain, Domain)}
        why = None
        if family.steps is None:
            why = "it has no steps, so a trial cannot go on from the checkpoint of another"
        elif conditional:
            why = f"its parameter {conditional[0]} exists only for values of another one"
        elif family.rounds < 2 or not free.difference(family.lasting):
            why = "it has nothing that can change between rounds"
        if why is not None:
            raise ConfigError(
                f"train.scheduler is pbt, and family {family.name!r} cannot be trained so: {why}",
                hint="leave the family out, or set train.scheduler to asha, hyperband, median or none",
            )


def population_space(proposals: Proposals, numbers: Iterable[int]) -> dict[str, Any]:
    """Return the trials of a population as Ray Tune takes them; each begins with a schedule of one part."""
    proposed = [proposals.propose(number) for number in numbers]
    listed = [
        {**one._asdict(), "params": dict(one.params), SCHEDULE: [(1, dict(one.params))]} for one in proposed
    ]
    return {"trial": tune.grid_search(listed)}


def explored(family: Family, params: Mapping[str, Any], draw: np.random.Generator) -> dict[str, Any]:
    """Return parameters that are near given ones, or some of them anew from the family's space.

    >>> space = {"rate": tune.uniform(0.1, 1.0), "depth": tune.choice([2, 4, 8]), "loss": tune.choice("ab")}
    >>> family = Family("trees", space, iter, rounds=4, lasting=("loss",))
    >>> explored(family, {"rate": 0.5, "depth": 4, "loss": "b"}, np.random.default_rng(0))
    {'rate': 0.6, 'depth': 2, 'loss': 'b'}
    """
    found = dict(params)
    for name, domain in domains(family, params):
        if name not in family.lasting:
            found[name] = _changed(domain, params[name], draw)
    return found


def _changed(domain: Domain, value: Any, draw: np.random.Generator) -> Any:
    if isinstance(domain.get_sampler(), Quantized) or draw.random() < _RESAMPLED:
        drawn = domain.sample(random_state=draw)
        return drawn.item() if isinstance(drawn, np.generic) else drawn
    if isinstance(domain, Categorical):
        return _neighbour(domain.categories, value, 1 if draw.random() < 0.5 else -1)
    if not isinstance(domain, Float | Integer):
        return value
    whole = isinstance(domain, Integer)
    near = min(max(value * _FACTORS[draw.integers(2)], domain.lower), domain.upper - whole)
    return round(near) if whole else float(near)


def _neighbour(values: list[Any], value: Any, way: int) -> Any:
    """Return the value before or after one, where they are rising numbers; else the same."""
    ordered = all(isinstance(one, int | float) for one in values) and values == sorted(values)
    if not ordered or value not in values:
        return value
    return values[min(max(values.index(value) + way, 0), len(values) - 1)]
