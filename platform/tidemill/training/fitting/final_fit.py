"""Fit the final model with the best trial's settings on all rows before the hold-out, and evaluate it."""

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from mlflow import MlflowClient

from tidemill.data.tables.column_names import literal_name
from tidemill.errors import TrainingError
from tidemill.project import Project
from tidemill.project.project_config import DatasetConfig
from tidemill.tasks.target_labels import Labels
from tidemill.tasks.task import Answers, Task
from tidemill.training.feature_table import FeatureTable, as_features, lengths_of
from tidemill.training.fitting.packaging import log_model, trusted_types
from tidemill.training.hashed_split import HashedSplit, Sides, split_by_hash
from tidemill.training.model_spec import TrainingSpec
from tidemill.training.search.trial import TrialData
from tidemill.training.search.tuning import SearchResult
from tidemill.training.splits import Split, known_before, known_too_late, split_by_time
from tidemill.training.tracking import mlflow_tracking
from tidemill.training.tracking.reference_rows import ReferenceRows
from tidemill.training.tracking.run_files import log_table
from tidemill.training.tracking.training_record import log_summary
from tidemill.training.tracking.training_result import HOLDOUT, REFERENCE, TrainedModel
from tidemill.training.training_rows import read_labelled

__all__ = ["SplitRows", "finish", "log_judged", "read_split", "trial_data"]

_REFERENCE_ROWS = 10_000
_SHOWN = 5
_log = logging.getLogger(__name__)
_HOLDOUT_ROWS = 200_000


@dataclass(frozen=True)
class SplitRows:
    """The labelled rows of each side of the split."""

    features: tuple[str, ...]
    split: Split | HashedSplit
    train: pl.DataFrame
    validation: pl.DataFrame
    fit: pl.DataFrame
    """The rows that the final model is fitted on."""
    holdout: pl.DataFrame
    without_label: int
    """Rows that are in none of them, because their label is null."""
    wrong_label: int = 0
    """Rows that are in none of them, because the task does not have their label."""

    def sizes(self) -> dict[str, int]:
        """Rows of each."""
        periods = ("train", "validation", "fit", "holdout")
        sizes = {f"rows_{name}": getattr(self, name).height for name in periods}
        left_out = {"rows_without_label": self.without_label, "rows_with_wrong_label": self.wrong_label}
        return {**sizes, **left_out}


def read_split(project: Project, features: tuple[str, ...], as_of: datetime) -> SplitRows:
    """Read the training set and split it as the project's ``split`` section says.

    Raises:
        TrainingError: the file is not what it must be, or a period has too little in it.
        DataError: many labels are not of the task.
    """
    dataset, newest, task = project.config.dataset, project.config.train.max_rows, project.task
    rows, without_label, labels, infinite = read_labelled(project, features, as_of)
    _tell_left_out(task, without_label, labels, infinite)
    split, sides = _sides(project, rows, features, as_of)
    seed = project.config.train.seed
    if newest is not None and isinstance(split, HashedSplit):  # without time no rows are the newest
        train, fit = (_sample(side, newest, seed) for side in (sides.train, sides.fit))
    else:
        train, fit = (side.tail(newest or side.height) for side in (sides.train, sides.fit))
    found = SplitRows(
        features=features,
        split=split,
        train=train,
        validation=sides.validation,
        fit=fit,
        holdout=sides.holdout,
        without_label=without_label,
        wrong_label=labels.wrong_rows,
    )
    _require_learnable(found, task, dataset, rows)
    return found


def _tell_left_out(task: Task, without_label: int, labels: Labels, infinite: Mapping[str, int]) -> None:
    if infinite:
        counts = ", ".join(f"{name} in {count:,} rows" for name, count in list(infinite.items())[:_SHOWN])
        counts += f", and {len(infinite) - _SHOWN} more features" if len(infinite) > _SHOWN else ""
        _log.warning("infinite values of features count as missing: %s", counts)
    if labels.wrong:
        _log.warning(
            "%s rows of the training set are left out: their label is not %s: %s",
            f"{labels.wrong_rows:,}",
            task.meant,
            labels.described(),
        )
    if without_label:
        _log.warning(
            "%s rows of the training set are left out, because their label is null", f"{without_label:,}"
        )


def _require_learnable(found: SplitRows, task: Task, dataset: DatasetConfig, rows: pl.DataFrame) -> None:
    """Raise an error that names the first side of the split with too little to learn from or to judge by."""
    for name in ("train", "validation", "holdout"):
        of_side = getattr(found, name)[dataset.label]
        problem = task.unlearnable(of_side)
        if problem is None:
            continue
        if isinstance(found.split, HashedSplit):
            raise TrainingError(
                f"of {rows.height:,} labelled rows {of_side.len():,} are for {name}, but {problem}",
                hint="add rows, make split.validation and split.holdout larger, or split stratified",
            )
        if of_side.is_empty() and (late := known_too_late(rows, getattr(found.split, name), name, dataset)):
            raise late
        raise TrainingError(
            f"the {name} period {getattr(found.split, name)} has {of_side.len():,} rows whose label was "
            f"known in time, but {problem}",
            hint="train on more months, or change the periods in the split section of params.yaml",
        )


def _sides(
    project: Project, rows: pl.DataFrame, features: tuple[str, ...], as_of: datetime
) -> tuple[Split | HashedSplit, Sides]:
    dataset, config = project.config.dataset, project.config.split
    if config.by != "time":
        label = rows[dataset.label]
        if (problem := project.task.unlearnable(label)) is not None:
            raise TrainingError(
                f"{project.dataset_path}: nothing can be learnt from column {dataset.label}: it has "
                f"{label.n_unique()} value in {rows.height:,} rows, {problem}",
                hint="add rows of other classes or values, or name another column in dataset.label",
            )
        return split_by_hash(rows, features, dataset, config, project.config.train.seed)
    moments = rows[dataset.time_column]
    split = split_by_time(as_of, moments[0], moments[-1], config)
    return split, Sides(
        train=known_before(rows, split.train, dataset),
        validation=known_before(rows, split.validation, dataset),
        fit=known_before(rows, split.fit, dataset),
        holdout=rows.filter(pl.col(literal_name(dataset.time_column)) >= split.holdout.start),
    )


def trial_data(project: Project, rows: SplitRows) -> TrialData:
    """Return the data of the trials: the training rows, or a sample of them, and the validation rows."""
    train, config, task, label = rows.train, project.config.train, project.task, project.config.dataset.label
    if config.search_rows is not None and train.height > config.search_rows:
        train = train.sample(config.search_rows, seed=config.seed)
    return TrialData(
        FeatureTable.of(train, rows.features),
        task.truth(train, label),
        FeatureTable.of(rows.validation, rows.features),
        task.truth(rows.validation, label),
    )


def finish(
    project: Project,
    client: MlflowClient,
    spec: TrainingSpec,
    rows: SplitRows,
    run_id: str,
    found: SearchResult,
) -> TrainedModel:
    """Fit the final model, evaluate it on the hold-out, and log it with its results to the run.

    Raises:
        TrainingError: it cannot be fitted, or cannot be saved without becoming able to execute code.
    """
    task = project.task
    estimator = _fit(project, spec, rows, found)
    trusted = trusted_types(estimator, spec.trusted_types)
    model_uri = log_model(
        client,
        run_id=run_id,
        name=project.model,
        estimator=estimator,
        task=task,
        example=as_features(rows.fit.head(5), rows.features),
        trusted=trusted,
    )
    judged = log_judged(
        project, client, rows, run_id, lambda some: _answers(task, estimator, some, rows.features)
    )
    metrics = {f"validation_{task.metric}": found.value, **judged}
    trained = TrainedModel(
        run_id=run_id,
        model_uri=model_uri,
        metrics={name: value for name, value in metrics.items() if np.isfinite(value)},
        trials=found.trials,
        failed_trials=found.failed,
        family=found.best.family,
        params=dict(found.best.params),
        rounds=found.rounds,
        features=rows.features,
        trusted_types=tuple(trusted),
        task=task.kind,
        classes=tuple(getattr(task, "classes", ())),
        lists=lengths_of(rows.fit.schema, rows.features),
    )
    mlflow_tracking.log_values(
        client,
        run_id,
        metrics={**trained.metrics, "trials": found.trials, "failed_trials": found.failed},
        params={**trained.params, "family": trained.family, "rounds": trained.rounds, **rows.sizes()},
    )
    log_summary(client, run_id, trained)
    return trained


def log_judged(
    project: Project,
    client: MlflowClient,
    rows: SplitRows,
    run_id: str,
    answer: Callable[[pl.DataFrame], Answers],
) -> dict[str, float]:
    """Log the hold-out and a sample of the other rows to the run, and return the metrics on the hold-out.

    Args:
        project: whose task and metrics count.
        client: of the tracking store.
        rows: the sides of the split.
        run_id: the run.
        answer: gives a model's answers to some of the rows.
    """
    seed = project.config.train.seed
    metrics = _judge(project, rows.holdout, answer(rows.holdout))
    sample = _sample(rows.fit, _REFERENCE_ROWS, seed)
    log_table(client, run_id, _reference(project, sample, rows.features, answer(sample)).table(), REFERENCE)
    log_table(client, run_id, _sample(rows.holdout, _HOLDOUT_ROWS, seed), HOLDOUT)
    return {name: value for name, value in metrics.items() if np.isfinite(value)}


def _fit(project: Project, spec: TrainingSpec, rows: SplitRows, found: SearchResult) -> Any:
    family = spec.family(found.best.family)
    features = as_features(rows.fit, rows.features)
    labels = pd.Series(project.task.truth(rows.fit, project.config.dataset.label))
    rounds = islice(family.fit(found.best.params, features, labels), found.rounds)
    try:
        return deque(rounds, maxlen=1).pop()
    except Exception as error:  # the project's own code can raise anything
        params = mlflow_tracking.shortened(str(dict(found.best.params)))
        raise TrainingError(
            f"family {family.name!r} could not be fitted on {rows.fit.height:,} rows, though its trial was "
            f"on {rows.train.height:,}; parameters {params}: "
            f"{type(error).__name__}: {mlflow_tracking.shortened(str(error))}",
            hint=f"the whole traceback is in {mlflow_tracking.ERROR} of the training's MLflow run",
        ) from error


def _judge(project: Project, holdout: pl.DataFrame, answers: Answers) -> Mapping[str, float]:
    dataset, task = project.config.dataset, project.task
    truth = task.truth(holdout, dataset.label)
    judged = {f"holdout_{name}": value for name, value in task.evaluate(truth, answers).items()}
    if dataset.time is None:
        return judged
    months = task.by_month(holdout[dataset.time], truth, answers)
    return {
        **judged,
        **{f"{task.metric}_{month}": found[task.metric] for month, found in months.items()},
    }


def _reference(
    project: Project, sample: pl.DataFrame, features: tuple[str, ...], answers: Answers
) -> ReferenceRows:
    task, label = project.task, project.config.dataset.label
    logged = pl.Series([task.logged(answer) for answer in answers], dtype=pl.String)
    return ReferenceRows(
        sample[list(features)],
        sample[label],
        pl.Series(task.scores(answers)),
        logged if logged.null_count() < len(logged) else None,
    )


def _answers(task: Task, estimator: Any, rows: pl.DataFrame, features: tuple[str, ...]) -> Answers:
    return task.answers(estimator, as_features(rows, features))


def _sample(rows: pl.DataFrame, size: int, seed: int) -> pl.DataFrame:
    return rows if rows.height <= size else rows.sample(size, seed=seed)
