"""Fits a model by several workers of Ray Train, each on a shard of the rows; a lost one is replaced."""

import logging
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import ray

from tidemill.errors import TrainingError
from tidemill.plurals import counted
from tidemill.project import Project
from tidemill.project.trial_resources import TrialResources
from tidemill.training.distributed import Distributed
from tidemill.training.fitting.fit_on_ray import FitSpent
from tidemill.training.fitting.fit_worker import fit_in_worker
from tidemill.training.fitting.row_shards import write_shards
from tidemill.training.model_spec import Family
from tidemill.training.ray_session import ray_session
from tidemill.training.spec_loading import spec_source

__all__ = ["elastic", "fit_by_workers", "shared_fit", "workers_for"]

_log = logging.getLogger(__name__)
_TRAINERS = {
    "xgboost": "ray.train.xgboost:XGBoostTrainer",
    "lightgbm": "ray.train.lightgbm:LightGBMTrainer",
    "torch": "ray.train.torch:TorchTrainer",
}
"""What connects the workers of each engine, and places them."""
_REPLACED = 3
"""So often lost workers are replaced; what fails once more has another reason."""
_SETTINGS = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5", "RAY_TRAIN_METRICS_ENABLED": "0"}
_OF_ONE_MACHINE = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}
"""Nobody takes the machine away from a Ray of our own: what would watch for it is a process less."""


def fit_by_workers(
    project: Project,
    family: Family,
    chosen: tuple[Mapping[str, Any], int],
    features: pd.DataFrame,
    labels: "pd.Series[Any]",
    spent: FitSpent,
) -> Any:
    """Fit a family's model by ``train.workers`` workers, or by as many as Ray has CPUs for.

    Each round's state is kept as a checkpoint. When a worker is lost, Ray Train starts all of them again,
    or as many as a cluster has room for, and they go on from the last one.

    Args:
        project: its ``train`` section says how many workers, and what each asks Ray for.
        family: one that several workers can fit.
        chosen: its parameters, and for how many rounds it is fitted.
        features: of all rows.
        labels: of all rows.
        spent: names the folder for the shards and checkpoints; is told how many workers there were.

    Returns:
        None where there is room for one worker only: then nothing is gained by Ray Train.

    Raises:
        TrainingError: workers failed once more after they had been replaced several times.
        KeyboardInterrupt: Ctrl-C; the workers are stopped.
    """
    distributed, folder = family.distributed, (project.home / "ray_results" / spent.name).resolve()
    if distributed is None:
        return None
    with ray_session(project), _settings(project):
        there = ray.cluster_resources()
        workers = workers_for(project, there)
        if workers < 2:
            return None
        prepared = distributed.prepare(chosen[0], features, labels)
        try:
            shutil.rmtree(folder, ignore_errors=True)  # a killed fit's, from which Ray Train would go on
            write_shards(folder, prepared, workers)
            work = {
                "root": str(project.root),
                "source": spec_source(project),
                "family": family.name,
                "params": dict(chosen[0]),
                "rounds": chosen[1],
                "folder": str(folder),
            }
            trainer = _trainer(project, distributed, work, folder, workers, there)
            estimator = prepared.finish(_run(trainer, workers))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    spent.workers = workers
    return estimator


def workers_for(project: Project, there: Mapping[str, float]) -> int:
    """Return how many workers there is room for, at most ``train.workers``; say so where they are fewer.

    Args:
        project: its ``train`` section counts.
        there: all that Ray has (``ray.cluster_resources()``).
    """
    config = project.config.train
    workers = min(config.workers, _each(project).at_once(there))
    if workers < config.workers:
        _log.warning(
            "train.workers is %d, and Ray has room for %s here: %s the model",
            config.workers,
            counted(workers, "worker"),
            "one process fits" if workers == 1 else f"{workers} workers fit",
        )
    return workers


def elastic(project: Project, workers: int) -> int | tuple[int, int]:
    """Return with how many workers a fit goes on after one was lost: on a cluster fewer will do.

    There its node may be gone for good: Ray Train would wait for another one. A Ray of our own loses none.
    """
    return workers if project.settings.ray_address is None else (1, workers)


def shared_fit(project: Project, family: Family, *, gone_on: bool) -> bool:
    """Return whether several workers are to fit a model; say why not where that is asked for."""
    asked = project.config.train.workers
    if asked == 1:
        return False
    if family.distributed is None:
        _log.warning(
            "train.workers is %d, but family %r cannot be shared: one process fits it", asked, family.name
        )
    elif gone_on:
        _log.warning(
            "train.workers is %d, but a model goes on from an earlier one: one process fits it", asked
        )
    return family.distributed is not None and not gone_on


def _each(project: Project) -> TrialResources:
    """Return what each worker asks Ray for."""
    config = project.config.train
    return config.fit_resources or config.resources


def _trainer(
    project: Project,
    distributed: Distributed,
    work: Mapping[str, Any],
    folder: Path,
    workers: int,
    there: Mapping[str, float],
) -> Any:
    from ray import train  # with Ray Data and more: a second or two

    module, _, kind = _TRAINERS[distributed.engine].partition(":")
    asked = {
        "CPU" if key == "cpu" else "GPU" if key == "gpu" else key: value
        for key, value in _each(project).on(there).items()
    }
    return getattr(import_module(module), kind)(
        fit_in_worker,
        train_loop_config=dict(work),
        scaling_config=train.ScalingConfig(
            num_workers=elastic(project, workers),
            use_gpu="GPU" in asked,
            resources_per_worker=asked,
        ),
        run_config=train.RunConfig(
            name="checkpoints",
            storage_path=str(folder),
            failure_config=train.FailureConfig(max_failures=_REPLACED),
            checkpoint_config=train.CheckpointConfig(num_to_keep=1),
            logging_config=train.LoggingConfig(log_level="CRITICAL"),
        ),
    )


def _run(trainer: Any, workers: int) -> Any:
    """Return what the first worker returns."""
    from ray.train import TrainingFailedError

    try:
        with _ctrl_c_ends_it():
            return trainer.fit().return_value
    except TrainingFailedError as error:
        failures = getattr(error, "worker_failures", {})
        first = next(iter(sorted(failures.items())), (None, error))
        where = "Ray Train" if first[0] is None else f"worker {first[0]} of {workers}"
        raise TrainingError(
            f"{where}: {_last_line(first[1])}, after {_REPLACED} new beginnings",
            hint="with train.workers: 1 the same is fitted by one process, and its error is easier to read",
        ) from error


def _last_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__


@contextmanager
def _settings(project: Project) -> Iterator[None]:
    """Have Ray Train look at its workers often enough for short fits, and start only what is needed."""
    wanted = _SETTINGS | (_OF_ONE_MACHINE if project.settings.ray_address is None else {})
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update({name: value for name, value in wanted.items() if before[name] is None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


@contextmanager
def _ctrl_c_ends_it() -> Iterator[None]:
    """Raise KeyboardInterrupt after a Ctrl-C, for which Ray Train stops its workers and would exit with 0."""
    if threading.current_thread() is not threading.main_thread():  # which alone may set handlers
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as end:
        if end.code:
            raise
        raise KeyboardInterrupt from end
    finally:
        signal.signal(signal.SIGINT, before)
