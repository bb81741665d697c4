"""Run one trial in a Ray worker. The module imports little, because every worker imports it again."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from ray import tune

from tidemill.errors import TrainingError
from tidemill.plurals import counted
from tidemill.tasks.task_choice import Target, make_task
from tidemill.tasks.task_names import plain_name
from tidemill.training.failing_rows import answers_to, naming_row
from tidemill.training.feature_table import FeatureTable
from tidemill.training.model_spec import Family
from tidemill.training.search.trial_checkpoints import (
    TrialCheckpoint,
    checkpoint_file,
    file_in,
    read_checkpoint,
    write_checkpoint,
)
from tidemill.training.spec_loading import SpecSource, imports_of

__all__ = [
    "AGAIN",
    "CPU_SECONDS",
    "GPU_SECONDS",
    "HISTORY",
    "ROUND",
    "SCHEDULE",
    "TrialData",
    "run_trial",
]

CPU_SECONDS = "tidemill_cpu_seconds"
"""What a trial reports beside its metrics: the CPU time that it took so far."""
GPU_SECONDS = "tidemill_gpu_seconds"
"""And for how long it had GPUs, times how many, or which part of one."""
AGAIN = "tidemill_again"
"""Reported with a round that another process made, whose trial goes on here."""
ROUND, HISTORY, SCHEDULE = "tidemill_round", "tidemill_history", "tidemill_schedule"
"""In population-based training, with each round: its number, what all rounds gave of which its estimator is
made, and with which parameters. Those before it may be another trial's."""


@dataclass(frozen=True)
class TrialData:
    """The data of every trial: features, and labels as the task means them, shape (rows,)."""

    train_features: FeatureTable
    train_labels: npt.NDArray[Any]
    validation_features: FeatureTable
    validation_labels: npt.NDArray[Any]


def run_trial(
    config: Mapping[str, Any],
    *,
    root: str,
    source: SpecSource,
    target: Target,
    data: TrialData,
    gpus: float = 0.0,
    search: Path | None = None,
    every: float = 0.0,
) -> None:
    """Fit one configuration round by round and report how each round does on the validation rows.

    Checkpoints are kept between rounds, where the family has steps. A trial of which there is one goes on
    from it: first it reports the rounds that were made before.

    Args:
        config: one of `tidemill.training.search.tuning.candidates`, below the key ``trial``.
        root: the project's folder, which a worker of an existing Ray does not know.
        source: of the training spec.
        target: what is predicted; its metric must be a number, or the trial fails.
        data: the same for all trials.
        gpus: that it has been given.
        search: the folder of the search's journal; no checkpoints are kept without one, or where it cannot be
            seen from here.
        every: a checkpoint is kept when so many seconds have passed since the last one.
    """
    load = imports_of(root)
    spec = source.open(load)
    task = make_task(target, load)
    trial = config["trial"]
    family = spec.family(trial["family"])
    search = search if search is not None and search.is_dir() else None
    one_of_population = SCHEDULE in trial
    kept = _copied(trial) if one_of_population else _kept(trial, family, search)
    history = [dict(values) for values in kept.history] if kept else []
    before = {CPU_SECONDS: 0.0, GPU_SECONDS: 0.0}
    if not one_of_population:
        for values in history:
            tune.report({**values, AGAIN: True})
        before = history[-1] if history else before
    began, since = time.process_time(), time.perf_counter()
    kept_at = since
    train, validation = data.train_features.frame(), data.validation_features.frame()
    rounds = _rounds(family, trial["params"], (train, pd.Series(data.train_labels)), kept)
    for estimator, state in islice(rounds, family.rounds - len(history)):
        found = task.evaluate(data.validation_labels, answers_to(task, estimator, validation))
        if not np.isfinite(found[task.metric]):
            rows = counted(len(validation), "validation row")
            raise TrainingError(f"{plain_name(task.metric)} is not a number on {rows}")
        spent = before[CPU_SECONDS] + time.process_time() - began
        held = before[GPU_SECONDS] + (time.perf_counter() - since) * gpus
        values = {name: float(found[name]) for name in task.metrics}
        history.append({**values, CPU_SECONDS: spent, GPU_SECONDS: held})
        waits = search is None or time.perf_counter() - kept_at < every
        last = len(history) == family.rounds
        _report(trial, history, None if last or (waits and not one_of_population) else state)
        kept_at = kept_at if waits else time.perf_counter()


def _kept(trial: Mapping[str, Any], family: Family, search: Path | None) -> TrialCheckpoint | None:
    """Return what an earlier process of the search kept of the trial."""
    kept = read_checkpoint(checkpoint_file(search, trial["number"])) if search and family.steps else None
    return kept if kept is not None and kept.params == _shown(trial) else None


def _copied(trial: Mapping[str, Any]) -> TrialCheckpoint | None:
    """Return what a trial of a population goes on from: what it made itself, or the one that it copies."""
    checkpoint = tune.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        kept = read_checkpoint(file_in(Path(folder)))
    begun = trial[SCHEDULE][-1][0] - 1
    if kept is None or (kept.params != _shown(trial) and len(kept.history) != begun):
        raise TrainingError(
            f"trial {trial['number']} has no whole checkpoint after round {begun} to go on from"
        )
    return kept


def _shown(trial: Mapping[str, Any]) -> str:
    return repr(sorted(trial["params"].items()))


def _rounds(
    family: Family, params: Mapping[str, Any], rows: tuple[Any, Any], kept: TrialCheckpoint | None
) -> Iterator[tuple[Any, Callable[[], bytes] | None]]:
    """Yield the estimator of each round that is to be made, and what returns the state after it."""

    def begin(some: slice | list[int]) -> Iterator[tuple[Any, Callable[[], bytes] | None]]:
        features, labels = (side.iloc[some] for side in rows)
        if family.steps is not None:
            yield from family.steps(params, features, labels, kept.saved if kept else None)
        else:
            yield from ((estimator, None) for estimator in family.fit(params, features, labels))

    yield from naming_row(begin, len(rows[0]))


def _report(
    trial: Mapping[str, Any], history: Sequence[Mapping[str, Any]], state: Callable[[], bytes] | None
) -> None:
    """Report the last round, with a checkpoint where there is a state."""
    values = dict(history[-1])
    if SCHEDULE in trial:
        values |= {ROUND: len(history), HISTORY: list(history), SCHEDULE: trial[SCHEDULE]}
    if state is None:
        tune.report(values)
        return
    with TemporaryDirectory() as folder:
        write_checkpoint(Path(folder), _shown(trial), history, state())
        tune.report(values, checkpoint=tune.Checkpoint.from_directory(folder))
