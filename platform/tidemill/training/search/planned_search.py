"""Searches for a model as a plan says: everywhere, around a basis, or at the basis alone."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tidemill.project import Project
from tidemill.project.train_config import TrainConfig
from tidemill.training.model_spec import TrainingSpec
from tidemill.training.search.proposals import Proposals
from tidemill.training.search.schedulers.population_training import check_population
from tidemill.training.search.search_plan import Basis, SearchPlan, narrowed
from tidemill.training.search.trial import TrialData
from tidemill.training.search.trial_records import TrialLog, TrialRecord
from tidemill.training.search.tuning import SearchResult, search

__all__ = ["check_plan", "search_by", "trials_of"]

_PART = 3
"""A narrow search has this part of the trials."""


def trials_of(config: TrainConfig, basis: Basis | None) -> TrainConfig:
    """Return the settings of a search: fewer trials where it begins with a basis.

    >>> trials_of(TrainConfig(trials=12), Basis("trees", {}, 1)).trials
    4
    """
    if basis is None:
        return config
    return config.model_copy(update={"trials": min(config.trials, max(2, math.ceil(config.trials / _PART)))})


def check_plan(plan: SearchPlan, spec: TrainingSpec, config: TrainConfig) -> None:
    """Refuse a search that could not be made, before anything is read for it.

    Raises:
        ConfigError: as of `search_by`: a grid is too large, or a family is not one for this kind of search.
    """
    basis = plan.basis_in(spec)
    if basis is not None and plan.search != "narrow":
        return  # nothing is searched
    where = spec if basis is None else _around(spec, basis)
    Proposals(where, trials_of(config, basis))
    if config.scheduler == "pbt":
        check_population(where)


def _around(spec: TrainingSpec, basis: Basis) -> TrainingSpec:
    return replace(spec, families=(narrowed(spec.family(basis.family), basis.params),))


def search_by(
    plan: SearchPlan,
    project: Project,
    spec: TrainingSpec,
    data: Callable[[], TrialData],
    log: TrialLog,
    name: str,
    first: Sequence[tuple[str, Mapping[str, Any]]] = (),
) -> SearchResult:
    """Search as `tidemill.training.search.tuning.search` does, where the plan says.

    A full search begins with the configurations of ``first``, a narrow one with its basis.

    Without a search the result has no value, as nothing was measured on the validation rows.
    """
    basis = plan.basis_in(spec)
    if basis is None:
        return search(project, spec, data, log, name, first)
    rounds = min(basis.rounds, spec.family(basis.family).rounds)
    if plan.search in ("same", "warm"):
        schedule = basis.schedule if plan.search == "same" else ()
        record = TrialRecord(0, basis.family, basis.params, rounds, run_id="", schedule=schedule)
        return SearchResult(record, math.nan, rounds, trials=0, failed=0)
    around = _around(spec, basis)
    config = project.config.model_copy(update={"train": trials_of(project.config.train, basis)})
    return search(replace(project, config=config), around, data, log, name, [(basis.family, basis.params)])
