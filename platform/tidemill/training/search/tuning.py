"""Search over model families and their parameters with Ray Tune, and stop bad trials early."""

import logging
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from ray import tune
from ray.exceptions import RayError
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.sample import Domain

from tidemill.errors import TrainingError
from tidemill.project import Project
from tidemill.training.model_spec import TrainingSpec
from tidemill.training.ray_session import ray_session
from tidemill.training.search.trial import TrialData, run_trial
from tidemill.training.search.trial_records import SearchInterrupted, TrialLog, TrialRecord
from tidemill.training.spec_loading import spec_source
from tidemill.training.tracking.mlflow_tracking import ERROR, shortened

__all__ = ["SearchResult", "candidates", "delete_search_files", "search"]

_QUIET = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
}


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
    warm_start: str | None = None
    """What became of a warm start, in words; None: none was asked for."""


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
        params = {
            name: _plain(domain.sample(random_state=drawn)) if isinstance(domain, Domain) else domain
            for name, domain in family.space.items()
        }
        configurations.append(
            {"number": number, "family": family.name, "params": params, "rounds": family.rounds}
        )
    return configurations


def search(
    project: Project,
    spec: TrainingSpec,
    data: TrialData,
    log: TrialLog,
    name: str,
    first: Mapping[str, Any] | None = None,
) -> SearchResult:
    """Run the trials and return the best by the project's metric on the validation rows.

    A trial that fails is on record with its error and does not end the search.

    Args:
        project: its ``train`` section says how many trials, by which metric, and how many at once.
        spec: the families.
        data: put into Ray's object store once, read by every trial from there.
        log: called for all events of trials.
        name: of the folder for Ray's own files, deleted afterwards.
        first: parameters of the first trial, in place of those drawn for it.

    Raises:
        TrainingError: no trial finished; the message has the error of the first.
        KeyboardInterrupt: Ctrl-C; the trials that were running are stopped.
    """
    with ray_session(project), _quiet():
        trials = candidates(spec, project.config.train.trials, project.config.train.seed)
        if first is not None:
            trials[0] = {**trials[0], "params": dict(first)}
        tuner = _tuner(project, spec, data, log, name, trials)
        try:
            with _interruptible(log):
                tuner.fit()
        except (RayError, tune.TuneError) as error:
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise TrainingError(
                f"Ray could not run the search: {said[-1]}",
                hint=f"the whole traceback is in {ERROR} of the search's MLflow run",
            ) from error
        finally:
            delete_search_files(project, name)
    return _result(log, project.config.train.metric)


def _tuner(
    project: Project,
    spec: TrainingSpec,
    data: TrialData,
    log: TrialLog,
    name: str,
    trials: list[dict[str, Any]],
) -> tune.Tuner:
    config = project.config.train
    rounds = max(family.rounds for family in spec.families)
    trainable = tune.with_parameters(
        run_trial,
        root=str(project.root),
        source=spec_source(project),
        target=project.target,
        data=data,
    )
    return tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={"trial": tune.grid_search(trials)},
        tune_config=tune.TuneConfig(
            metric=config.metric,
            mode="max",
            scheduler=ASHAScheduler(max_t=rounds, grace_period=1) if rounds > 1 else None,
            max_concurrent_trials=config.max_concurrent or None,
            reuse_actors=True,
            trial_dirname_creator=_folder,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str((project.home / "ray_results").resolve()),
            verbose=0,
            callbacks=[log],
            failure_config=tune.FailureConfig(max_failures=0),
        ),
    )


def delete_search_files(project: Project, name: str) -> None:
    """Delete Ray's own files of a search that has ended, or whose process was killed."""
    shutil.rmtree(project.home / "ray_results" / name, ignore_errors=True)


def _result(log: TrialLog, metric: str) -> SearchResult:
    records = sorted(log.records.values(), key=lambda record: record.number)
    failed = [record for record in records if record.error is not None]
    ranked = [(*best, record) for record in records if record.error is None and (best := record.best(metric))]
    if not ranked:
        if not failed:
            raise TrainingError(
                "no trial of the search was started", hint="is another search running in Ray?"
            )
        first = failed[0]
        raise TrainingError(
            f"all {len(records)} trials failed; the first, family {first.family!r} with parameters "
            f"{shortened(str(dict(first.params)))}: {first.error}",
            hint=f"the whole traceback is in {ERROR} of MLflow run {first.run_id}; "
            "try the family's `fit` by itself",
        )
    value, rounds, winner = max(ranked, key=lambda found: (found[0], -found[2].number))
    spent = sum(record.cpu_seconds for record in records)
    return SearchResult(winner, value, rounds, len(records), len(failed), round(spent, 3))


@contextmanager
def _interruptible(log: TrialLog) -> Iterator[None]:
    """Let the first Ctrl-C end the search cleanly, and raise KeyboardInterrupt afterwards.

    Ray Tune stops its workers when a callback raises an error, but not on a KeyboardInterrupt: the workers
    would keep their CPUs, and a later search in the same process would wait for ever.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return

    def stop(number: int, frame: object) -> None:
        log.interrupted = True
        signal.signal(signal.SIGINT, before)

    others = signal.getsignal(signal.SIGUSR1)  # Ray Tune replaces the handler and never restores it
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    except SearchInterrupted:
        pass  # raised again below, once Ray's handlers are gone
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGUSR1, others)
    if log.interrupted:
        signal.raise_signal(signal.SIGINT)
        raise KeyboardInterrupt


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray Tune's tables and warnings off the console: trials are recorded, and we report failures."""
    before = {key: os.environ.get(key) for key in _QUIET}
    logger = logging.getLogger("ray.tune")
    level = logger.level
    os.environ.update(_QUIET)
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def _folder(trial: Any) -> str:
    return f"{trial.config['trial']['number']:04d}"


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
