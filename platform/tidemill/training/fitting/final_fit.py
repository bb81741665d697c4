"""Fit the final model with the best trial's settings on all rows before the hold-out, and evaluate it."""

from collections.abc import Callable, Set
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from mlflow import MlflowClient

from tidemill.errors import TrainingError
from tidemill.project import Project
from tidemill.tasks.task import Answers, Task
from tidemill.training.candidate_windows import ALL, Window
from tidemill.training.feature_table import as_features, example_rows, lengths_of
from tidemill.training.fitting.distributed_fit import fit_by_workers, shared_fit
from tidemill.training.fitting.fit_on_ray import FitSpent, fit_on_ray, fit_rounds, ray_for_fits
from tidemill.training.fitting.judgement import log_judged
from tidemill.training.fitting.packaging import log_model, log_twin, trusted_types
from tidemill.training.fitting.split_rows import SplitRows
from tidemill.training.fitting.warm_start import WarmStart
from tidemill.training.fitting.window_choice import WindowChoice, choose_window
from tidemill.training.model_spec import Chosen, TrainingSpec
from tidemill.training.search.tuning import SearchResult
from tidemill.training.tracking import mlflow_tracking
from tidemill.training.tracking.training_record import log_summary
from tidemill.training.tracking.training_result import TrainedModel, schedule_words

__all__ = ["finish", "fit_model"]


def finish(
    project: Project,
    client: MlflowClient,
    spec: TrainingSpec,
    rows: SplitRows,
    run_id: str,
    found: SearchResult,
    windows: tuple[Window, ...] = (ALL,),
    personal: Set[str] = frozenset(),
    warm: WarmStart | None = None,
) -> TrainedModel:
    """Fit the final model, evaluate it on the hold-out, and log it with its results to the run.

    With several candidate windows, one is chosen by the validation rows (`choose_window`). With
    ``train.refit`` what was judged is the twin of a model that is then fitted on all labelled rows. With a
    warm start both go on from its parent. The example has no values of ``personal`` features.

    Raises:
        TrainingError: it cannot be fitted, or cannot be saved without becoming able to execute code.
    """
    task, choice, spent = project.task, None, FitSpent(name=run_id)
    if windows != (ALL,):
        choice = choose_window(
            project,
            windows,
            rows.features,
            (rows.train, rows.validation, rows.fit),
            lambda some: _answerer(project, spec, rows, found, spent.name, some),
        )
        rows = _of_window(rows, choice, project)
    twin, estimator = _fit_both(project, spec, rows, found, warm, spent)
    trusted = sorted({name for one in (twin, estimator) for name in trusted_types(one, spec.trusted_types)})
    saved: dict[str, Any] = {"run_id": run_id, "task": task, "trusted": trusted}
    saved["example"] = example_rows(rows.fit, rows.features, personal)
    logged = log_model(client, name=project.model, estimator=estimator, **saved)
    judged_file = None if rows.known is None else log_twin(client, estimator=twin, **saved)
    digests = {"served": logged.sha256, "judged": judged_file}
    judged = log_judged(project, client, rows, run_id, lambda some: _answers(task, twin, some, rows.features))
    trained = _summary(project, rows, run_id, _with_fits(found, spent), choice)
    values = {f"validation_{task.metric}": found.value, **judged}
    metrics = {name: value for name, value in values.items() if np.isfinite(value)}
    files = {name: digest for name, digest in digests.items() if digest is not None}
    trained = replace(
        trained, model_uri=logged.uri, metrics=metrics, trusted_types=tuple(trusted), files=files
    )
    _log_trained(client, rows, trained, spent.workers)
    return trained


def _of_window(rows: SplitRows, choice: WindowChoice, project: Project) -> SplitRows:
    """Return the sides with the rows of the chosen window to fit on."""
    if rows.known is None or project.config.dataset.time is None:
        return replace(rows, fit=choice.rows)
    return replace(rows, fit=choice.rows, known=choice.newest(rows.known, project.config.dataset.time))


def _with_fits(found: SearchResult, spent: FitSpent) -> SearchResult:
    """Return the search's result with what the fits in workers of Ray took beside it."""
    return replace(
        found,
        cpu_seconds=round(found.cpu_seconds + spent.cpu_seconds, 3),
        gpu_seconds=round(found.gpu_seconds + spent.gpu_seconds, 3),
    )


def _summary(
    project: Project, rows: SplitRows, run_id: str, found: SearchResult, choice: WindowChoice | None
) -> TrainedModel:
    """Return the result but for the model, its metrics and its types."""
    return TrainedModel(
        run_id=run_id,
        model_uri="",
        metrics={},
        trials=found.trials,
        failed_trials=found.failed,
        family=found.best.family,
        params=dict(_chosen(found).params),
        rounds=found.rounds,
        schedule=_chosen(found).schedule,
        features=rows.features,
        task=project.task.kind,
        classes=tuple(getattr(project.task, "classes", ())),
        lists=lengths_of(rows.fit.schema, rows.features),
        cpu_seconds=found.cpu_seconds,
        gpu_seconds=found.gpu_seconds,
        refitted_on=None if rows.known is None else rows.known.height,
        labels=rows.labelled,
        warm_start=found.warm_start,
        search_ended=found.ended,
        window=None if choice is None else str(choice.window),
        windows=() if choice is None else choice.recorded,
    )


def _log_trained(client: MlflowClient, rows: SplitRows, trained: TrainedModel, workers: int) -> None:
    mlflow_tracking.log_values(
        client,
        trained.run_id,
        metrics={**trained.metrics, "trials": trained.trials, "failed_trials": trained.failed_trials},
        params={
            **trained.params,
            "family": trained.family,
            "rounds": trained.rounds,
            **({} if not trained.schedule else {"schedule": schedule_words(trained.schedule)}),
            **({} if workers == 1 else {"fit_workers": workers}),
            **({} if trained.window is None else {"chosen_window": trained.window}),
            **({} if trained.refitted_on is None else {"rows_refit": trained.refitted_on}),
            **rows.sizes(),
        },
    )
    log_summary(client, trained.run_id, trained)


def _answerer(
    project: Project,
    spec: TrainingSpec,
    rows: SplitRows,
    found: SearchResult,
    name: str,
    some: pl.DataFrame,
) -> Callable[[pl.DataFrame], Answers]:
    """Fit the model on some rows, and return what gives its answers to others."""
    estimator = fit_model(project, spec, replace(rows, fit=some), _chosen(found), None, FitSpent(name=name))
    return lambda others: _answers(project.task, estimator, others, rows.features)


def _fit_both(
    project: Project,
    spec: TrainingSpec,
    rows: SplitRows,
    found: SearchResult,
    warm: WarmStart | None,
    spent: FitSpent,
) -> tuple[Any, Any]:
    """Return what is judged and what serves: with ``train.refit`` they are two."""
    judged, known = (rows.fit, rows.known) if warm is None else (warm.fit, warm.known)
    parent, chosen = None if warm is None else warm.parent.estimator, _chosen(found)
    with ray_for_fits(project):
        twin = fit_model(project, spec, replace(rows, fit=judged), chosen, parent, spent)
        if known is None:
            return twin, twin
        return twin, fit_model(project, spec, replace(rows, fit=known), chosen, parent, spent)


def _chosen(found: SearchResult) -> Chosen:
    """Return what the model is fitted with: of a schedule, what held up to the round that was best."""
    schedule = tuple((start, params) for start, params in found.best.schedule if start <= found.rounds)
    params = schedule[-1][1] if schedule else found.best.params
    return Chosen(found.best.family, params, found.rounds, schedule if len(schedule) > 1 else ())


def fit_model(
    project: Project,
    spec: TrainingSpec,
    rows: SplitRows,
    chosen: Chosen,
    parent: Any = None,
    spent: FitSpent | None = None,
) -> Any:
    """Return an estimator that is fitted on ``rows.fit``, by ``train.workers`` workers where its family can.

    Args:
        project: what is predicted.
        spec: of the project.
        rows: the sides of the split.
        chosen: the family, its parameters or their schedule, and for how many rounds it is fitted.
        parent: an estimator that it goes on from, where the family can.
        spent: to which is added what a fit in a worker of Ray took, and how many made it.

    Raises:
        TrainingError: the project's code cannot fit it.
    """
    name, params, most, schedule = chosen
    family = spec.family(name)
    features = as_features(rows.fit, rows.features)
    labels = pd.Series(project.task.truth(rows.fit, project.config.dataset.label))
    spent = spent or FitSpent()
    try:
        if not schedule and shared_fit(project, family, gone_on=parent is not None):
            together = fit_by_workers(project, family, (params, most), features, labels, spent)
            if together is not None:
                return together
        if project.config.train.fit_resources is not None:
            return fit_on_ray(project, chosen, features, labels, parent, spent)
        return fit_rounds(family, params, features, labels, most, parent, schedule)
    except Exception as error:  # the project's own code can raise anything
        said = mlflow_tracking.shortened(str(dict(params)))
        raise TrainingError(
            f"family {family.name!r} could not be fitted on {rows.fit.height:,} rows (a search's trials "
            f"are fitted on {rows.train.height:,}); parameters {said}: "
            f"{type(error).__name__}: {mlflow_tracking.shortened(str(error))}",
            hint=f"the whole traceback is in {mlflow_tracking.ERROR} of the training's MLflow run",
        ) from error


def _answers(task: Task, estimator: Any, rows: pl.DataFrame, features: tuple[str, ...]) -> Answers:
    return task.answers(estimator, as_features(rows, features))
