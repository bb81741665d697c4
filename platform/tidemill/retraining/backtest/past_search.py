"""Searches for parameters as a turn at a moment of the past would have, by what was known then."""

from collections.abc import Callable
from datetime import datetime
from itertools import islice

import numpy as np
import pandas as pd
import polars as pl

from tidemill.errors import TrainingError
from tidemill.project import Project
from tidemill.retraining.backtest.fitted_models import Recipe, known_by
from tidemill.tasks.task_names import plain_name
from tidemill.training.feature_table import as_features
from tidemill.training.fitting.split_rows import sample_rows
from tidemill.training.model_spec import TrainingSpec
from tidemill.training.search.proposals import candidates
from tidemill.training.splits import known_before, split_by_time

__all__ = ["search_at"]


def search_at(
    project: Project,
    spec: TrainingSpec,
    rows: pl.DataFrame,
    features: tuple[str, ...],
    moment: datetime,
    most_rows: int | None,
    tell: Callable[[int, int], None],
) -> Recipe:
    """Return the family, parameters and rounds that answer the validation days before ``moment`` best.

    The trials are those of ``train`` in params.yaml, each over all its rounds, on a sample of ``most_rows``.

    Raises:
        TrainingError: too little was known by then, or every trial failed.
    """
    task, config, dataset = project.task, project.config, project.config.dataset
    known = known_by(project, rows, moment)
    if known.is_empty():
        raise TrainingError(f"no label was known at {moment:%Y-%m-%d}", hint="begin later, with --from")
    times = known[dataset.time_column]
    split = split_by_time(moment, times[0], times[-1], config.split)
    train = known_before(known, split.train, dataset).tail(config.train.max_rows or known.height)
    train = sample_rows(train, most_rows or train.height, config.train.seed)
    validation = known_before(known, split.validation, dataset)
    mine, others = as_features(train, features), as_features(validation, features)
    labels = pd.Series(task.truth(train, dataset.label))
    truth = task.truth(validation, dataset.label)
    trials = candidates(spec, config.train.trials, config.train.seed)
    best: tuple[float, Recipe] | None = None
    failed: Exception | None = None
    for done, trial in enumerate(trials):
        tell(done, len(trials))
        family = spec.family(trial["family"])
        try:
            for number, estimator in enumerate(
                islice(family.fit(trial["params"], mine, labels), family.rounds)
            ):
                value = task.evaluate(truth, task.answers(estimator, others))[task.metric]
                if np.isfinite(value) and (best is None or value > best[0]):
                    best = value, Recipe(family, trial["params"], number + 1)
        except Exception as error:  # noqa: BLE001 - the project's own code can raise anything; a search goes on
            failed = failed or error
    if best is None:
        said = (
            f"the first with {type(failed).__name__}: {failed}"
            if failed
            else f"without a {plain_name(task.metric)}"
        )
        many = "the only trial" if len(trials) == 1 else f"all {len(trials)} trials"
        raise TrainingError(
            f"{many} failed on {known.height:,} rows known at {moment:%F}, "
            f"{validation.height:,} of them to validate: {said}",
            hint="begin later, with --from, or see `tidemill run` for the whole error",
        ) from failed
    return best[1]
