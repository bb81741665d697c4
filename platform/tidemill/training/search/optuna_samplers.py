"""Chooses parameters by what earlier trials gave, with Optuna's samplers."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import optuna
from ray.tune.search.sample import Categorical, Domain, Float, Integer, LogUniform, Quantized, Uniform

from tidemill.errors import ConfigError
from tidemill.training.model_spec import Family
from tidemill.training.search.parameter_spaces import domains, draw, point_of

__all__ = ["FamilyStudy", "check_sampler", "check_space"]

Kind = Literal["tpe", "gp"]
_AT_RANDOM = 10
"""The most trials of a family that are chosen at random, before a sampler learns from them."""


class FamilyStudy:
    """The trials of one family, from which the parameters of the next are chosen.

    Each choice has a sampler of its own, with a seed of its own: so it depends on nothing but the trials that
    are known by then, and a search that was killed chooses as it would have.

    Args:
        family: its space is where parameters are chosen from.
        kind: the sampler.
        seed: of the search.
        objectives: how many values each trial has; higher is better for each.
        trials: how many the family will have; the first third, ten at most, is chosen at random.
    """

    def __init__(self, family: Family, kind: Kind, seed: int, objectives: int, trials: int) -> None:
        logging.getLogger("optuna").setLevel(logging.WARNING)
        self._family, self._kind, self._seed = family, kind, seed
        self._at_random = min(_AT_RANDOM, max(2, trials // 3))
        self._study = optuna.create_study(directions=["maximize"] * objectives)
        self._asked: dict[int, optuna.Trial] = {}

    def ask(self, number: int) -> dict[str, Any]:
        """Return the parameters of the trial with this number."""
        self._study.sampler = _sampler(self._kind, [self._seed, number], self._at_random)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of samplers about parameters that only some trials have
            trial = self._asked[number] = self._study.ask()
            return draw(self._family, partial(_suggested, trial))

    def again(self, number: int, params: Mapping[str, Any]) -> None:
        """Note a trial whose parameters were not chosen here, and that runs."""
        point = point_of(self._family, params)
        if point is None:
            return  # another space had these: nothing can be learnt from it
        self._study.sampler = optuna.samplers.RandomSampler(seed=0)  # asked in vain: all is given
        self._study.enqueue_trial(point)
        chosen = domains(self._family, params)
        self._asked[number] = self._study.ask(
            {name: _distribution(self._family.name, name, domain) for name, domain in chosen}
        )

    def tell(self, number: int, values: Sequence[float] | None) -> None:
        """Note what a trial gave; None: it failed."""
        trial = self._asked.pop(number, None)
        if trial is None:
            return
        failed = values is None or not np.isfinite(values).all()
        state = optuna.trial.TrialState.FAIL if failed else optuna.trial.TrialState.COMPLETE
        self._study.tell(trial, None if failed else list(values or ()), state=state)


def check_sampler(kind: Kind) -> None:
    """Raise if a sampler needs what is not installed.

    Raises:
        ConfigError: it does.
    """
    if kind == "gp" and find_spec("torch") is None:
        raise ConfigError(
            "train.search: gp needs the package torch, which is not installed",
            hint="pip install 'tidemill[torch]', or set train.search to tpe in params.yaml",
        )


def check_space(family: Family) -> None:
    """Raise if a sampler cannot choose from the space of a family.

    Raises:
        ConfigError: it cannot; the message names the parameter.
    """
    for name, given in family.space.items():
        domain = getattr(given, "domain", given)
        if isinstance(domain, Domain):
            _distribution(family.name, name, domain)


def _sampler(kind: Kind, seed: Sequence[int], at_random: int) -> optuna.samplers.BaseSampler:
    number = int(np.random.default_rng([abs(one) for one in seed]).integers(2**31))
    if kind == "gp":
        return optuna.samplers.GPSampler(
            seed=number, n_startup_trials=at_random, warn_independent_sampling=False
        )
    return optuna.samplers.TPESampler(seed=number, n_startup_trials=at_random)


def _suggested(trial: optuna.Trial, name: str, domain: Domain) -> Any:
    found = _distribution("", name, domain)
    if isinstance(found, optuna.distributions.CategoricalDistribution):
        return domain.categories[trial.suggest_categorical(name, found.choices)]
    if isinstance(found, optuna.distributions.IntDistribution):
        return trial.suggest_int(name, found.low, found.high, step=found.step, log=found.log)
    return trial.suggest_float(name, found.low, found.high, step=found.step, log=found.log)


def _distribution(family: str, name: str, domain: Domain) -> optuna.distributions.BaseDistribution:
    """Return a domain of Ray Tune as Optuna has it; a choice as the places of its values."""
    sampler = domain.get_sampler()
    step = sampler.q if isinstance(sampler, Quantized) else None
    inner = sampler.sampler if isinstance(sampler, Quantized) else sampler
    log = isinstance(inner, LogUniform)
    if isinstance(domain, Categorical):
        return optuna.distributions.CategoricalDistribution(tuple(range(len(domain.categories))))
    known = isinstance(inner, Uniform) or (isinstance(inner, LogUniform) and step in (None, 1))
    if isinstance(domain, Float | Integer) and known:
        if isinstance(domain, Integer):
            high = domain.upper - (step is None)
            return optuna.distributions.IntDistribution(domain.lower, high, log=log, step=int(step or 1))
        return optuna.distributions.FloatDistribution(
            domain.lower, domain.upper, log=log, step=None if log else step
        )
    raise ConfigError(
        f"family {family!r}: parameter {name} is drawn from {domain}, which only a random search can",
        hint="give it a range (of a logarithm without steps) or a choice, or set train.search to random",
    )
