"""Searches for a model as a plan says: everywhere, around a basis, or at the basis alone."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tidemill.project import Project
from tidemill.project.train_config import TrainConfig
from tidemill.training.model_spec import TrainingSpec
from tidemill.training.search.search_plan import Basis, SearchPlan, narrowed
from tidemill.training.search.trial import TrialData
from tidemill.training.search.trial_records import TrialLog, TrialRecord
from tidemill.training.search.tuning import SearchResult, search

__all__ = ["search_by", "trials_of"]

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
    family = spec.family(basis.family)
    rounds = min(basis.rounds, family.rounds)
    if plan.search in ("same", "warm"):
        schedule = basis.schedule if plan.search == "same" else ()
        record = TrialRecord(0, basis.family, basis.params, rounds, run_id="", schedule=schedule)
        return SearchResult(record, math.nan, rounds, trials=0, failed=0)
    around = replace(spec, families=(narrowed(family, basis.params),))
    config = project.config.model_copy(update={"train": trials_of(project.config.train, basis)})
    return search(replace(project, config=config), around, data, log, name, [(basis.family, basis.params)])
