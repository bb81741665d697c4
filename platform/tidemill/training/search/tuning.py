"""Search over model families and their parameters with Ray Tune, and stop bad trials early."""

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ray import tune
from ray.exceptions import RayError

from tidemill.errors import TrainingError
from tidemill.project import Project
from tidemill.project.train_config import TrainConfig
from tidemill.training.model_spec import TrainingSpec
from tidemill.training.ray_session import ray_capacity, ray_session
from tidemill.training.search.interruptible_search import interruptible, quiet
from tidemill.training.search.parameter_spaces import point_of
from tidemill.training.search.pareto import pareto_front
from tidemill.training.search.proposals import Proposals
from tidemill.training.search.ray_searcher import EndOfSearch, ProposedTrials
from tidemill.training.search.resumed_trials import take_up
from tidemill.training.search.schedulers.population_training import (
    Population,
    check_population,
    population_space,
)
from tidemill.training.search.schedulers.trial_schedulers import make_scheduler
from tidemill.training.search.search_budget import SearchBudget
from tidemill.training.search.search_journal import journal_folder
from tidemill.training.search.trial import TrialData, run_trial
from tidemill.training.search.trial_checkpoints import keep_checkpoints
from tidemill.training.search.trial_records import TrialLog, TrialRecord
from tidemill.training.spec_loading import spec_source
from tidemill.training.tracking.mlflow_tracking import ERROR, shortened

__all__ = ["SearchResult", "delete_search_files", "search"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchResult:
    """The best trial, and counts of the others."""

    best: TrialRecord
    value: float
    """Its best validation metric."""
    rounds: int
    """The round of that value."""
    trials: int
    failed: int
    cpu_seconds: float = 0.0
    """CPU time of the trials."""
    gpu_seconds: float = 0.0
    """Time of GPUs that they held."""
    warm_start: str | None = None
    """What became of a warm start, in words; None: none was asked for."""
    ended: str | None = None
    """Why the search ended before its last trial, in words; None: it did not."""
    front: tuple[Mapping[str, Any], ...] = ()
    """With several metrics: the trials that no other one beats in all of them."""


def search(
    project: Project,
    spec: TrainingSpec,
    data: Callable[[], TrialData],
    log: TrialLog,
    name: str,
    first: Sequence[tuple[str, Mapping[str, Any]]] = (),
) -> SearchResult:
    """Run the trials and return the best by the project's metric on the validation rows.

    A trial that fails is on record with its error and does not end the search. Trials that ended in an
    earlier process, by the log's journal, are not made again.

    Args:
        project: its ``train`` section says which trials, how many at once, and when they end.
        spec: the families.
        data: makes what every trial reads; put into Ray's object store once.
        log: called for all events of trials.
        name: of the folder for Ray's own files, deleted afterwards.
        first: families and parameters to begin with.

    Raises:
        TrainingError: no trial finished; the message has the error of the first. Or somebody stopped it.
        ConfigError: a family is not one for this kind of search.
        KeyboardInterrupt: Ctrl-C; the trials that were running are stopped.
    """
    config = project.config.train
    proposals = Proposals(spec, config, first)
    scheduler = _scheduler(config, spec)
    log.total, log.points = proposals.total, lambda family, params: point_of(spec.family(family), params)
    todo = take_up(proposals, scheduler, log, spec)
    ended = over(log, config)
    if todo and ended is None:
        with ray_session(project), quiet():
            there = ray_capacity(project.settings)
            if (note := config.resources.note(there)) is not None:
                _log.warning("%s", note)
            at_once = config.max_concurrent or config.resources.at_once(there)
            trials: ProposedTrials | dict[str, Any]
            if config.scheduler == "pbt":  # Ray Tune's refuses searchers, and its trials wait for each other
                trials = population_space(proposals, todo)
            else:
                trials = ProposedTrials(proposals, log, todo, at_once, config.metric)
            _fit(_tuner(project, data(), log, name, scheduler, trials), project, log, name)
        ended = over(log, config)
    log.end_unfinished(f"the search ended: {ended}" if ended else "the search ended before it")
    found = _result(log, config)
    _tell_failed(log, found)
    return replace(found, ended=ended)


def _tell_failed(log: TrialLog, found: SearchResult) -> None:
    if found.failed:
        first = min(
            (one for one in log.records.values() if one.error is not None), key=lambda one: one.number
        )
        _log.warning(
            "%d of %d trials failed; trial %d: %s (tidemill runs logs %s)",
            found.failed, found.trials, first.number, first.error, log.parent[:8],
        )  # fmt: skip


def _scheduler(config: TrainConfig, spec: TrainingSpec) -> Any:
    if config.scheduler == "pbt":
        check_population(spec)
        return Population(config.metric, spec, config.seed)
    return make_scheduler(config.scheduler, config.metric, max(one.rounds for one in spec.families))


def over(log: TrialLog, config: TrainConfig) -> str | None:
    """Return why a search is over before its last trial, in words; None: it is not."""
    if not any(record.history for record in log.records.values()):
        return None  # there is nothing yet that it could end with
    if log.asked == "finish":
        return "tidemill runs stop --finish"
    return SearchBudget.of(config).over(log.spent)


def _fit(tuner: tune.Tuner, project: Project, log: TrialLog, name: str) -> None:
    try:
        with interruptible(log):
            tuner.fit()
    except (RayError, tune.TuneError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise TrainingError(
            f"Ray could not run the search: {said[-1]}",
            hint=f"the whole traceback is in {ERROR} of the search's MLflow run",
        ) from error
    finally:
        delete_search_files(project, name)


def _tuner(
    project: Project,
    data: TrialData,
    log: TrialLog,
    name: str,
    scheduler: Any,
    trials: ProposedTrials | dict[str, Any],
) -> tune.Tuner:
    config = project.config.train
    population = trials if isinstance(trials, dict) else None
    asked = config.resources.on(ray_capacity(project.settings))
    trainable = tune.with_parameters(
        run_trial,
        root=str(project.root),
        source=spec_source(project),
        target=project.target,
        data=data,
        gpus=asked.get("gpu", 0.0),
        search=log.journal.folder.resolve() if log.journal is not None else None,
        every=config.checkpoint_seconds,
    )
    return tune.Tuner(
        tune.with_resources(trainable, asked),
        param_space=population,
        tune_config=tune.TuneConfig(
            search_alg=None if population else trials,
            scheduler=scheduler,
            num_samples=1 if population else -1,
            reuse_actors=True,
            trial_dirname_creator=_folder,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str((project.home / "ray_results").resolve()),
            verbose=0,
            callbacks=[log],
            stop=EndOfSearch(lambda: over(log, config)),
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=None if population else 1),
        ),
    )


def delete_search_files(project: Project, name: str) -> None:
    """Delete Ray's own files of a search that has ended, or whose process was killed.

    The last checkpoint of each trial is kept with the journal, if there is one: another process may go on.
    """
    results = project.home / "ray_results" / name
    keep_checkpoints(results, journal_folder(project.home, name))
    shutil.rmtree(results, ignore_errors=True)


def _result(log: TrialLog, config: TrainConfig) -> SearchResult:
    records, metric = sorted(log.records.values(), key=lambda record: record.number), config.metric
    failed = [record for record in records if record.error is not None]
    ranked = [(*best, record) for record in records if record.error is None and (best := record.best(metric))]
    if not ranked:
        if not failed:
            raise TrainingError(
                "no trial of the search was started", hint="is another search running in Ray?"
            )
        first, alone = failed[0], len(records) == 1
        whose = "the only trial failed:" if alone else f"all {len(records)} trials failed; the first,"
        raise TrainingError(
            f"{whose} family {first.family!r} with parameters {shortened(str(dict(first.params)))}: "
            f"{first.error}",
            hint=f"the whole traceback is in {ERROR} of MLflow run {first.run_id}; "
            "try the family's `fit` by itself",
        )
    value, rounds, winner = max(ranked, key=lambda found: (found[0], -found[2].number))
    return SearchResult(
        winner,
        value,
        rounds,
        len(records),
        len(failed),
        cpu_seconds=round(sum(record.cpu_seconds for record in records), 3),
        gpu_seconds=round(sum(record.gpu_seconds for record in records), 3),
        front=_front(log, config),
    )


def _front(log: TrialLog, config: TrainConfig) -> tuple[Mapping[str, Any], ...]:
    """Return the trials that no other one beats in all of the metrics that matter."""
    if len(config.metrics) < 2:
        return ()
    given = {number: values for number, one in log.records.items() if (values := log.values_of(one))}
    return tuple(
        {
            "trial": number,
            "run_id": log.records[number].run_id,
            "family": log.records[number].family,
            "params": dict(log.records[number].params),
            "metrics": dict(zip(config.metrics, given[number], strict=True)),
        }
        for number in pareto_front(given)
    )


def _folder(trial: Any) -> str:
    return f"{trial.config['trial']['number']:04d}"
