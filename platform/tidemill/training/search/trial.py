"""Run one trial in a Ray worker. The module imports little, because every worker imports it again."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from ray import tune

from tidemill.errors import TrainingError
from tidemill.tasks.task import Task
from tidemill.tasks.task_choice import Target, make_task
from tidemill.training.feature_table import FeatureTable
from tidemill.training.spec_loading import SpecSource, imports_of

__all__ = ["CPU_SECONDS", "GPU_SECONDS", "TrialData", "answers_to", "first_failing", "run_trial"]

CPU_SECONDS = "tidemill_cpu_seconds"
"""What a trial reports beside its metrics: the CPU time that it took so far."""
GPU_SECONDS = "tidemill_gpu_seconds"
"""And for how long it had GPUs, times how many, or which part of one."""


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
) -> None:
    """Fit one configuration round by round and report how each round does on the validation rows.

    Args:
        config: one of `tidemill.training.search.tuning.candidates`, below the key ``trial``.
        root: the project's folder, which a worker of an existing Ray does not know.
        source: of the training spec.
        target: what is predicted; its metric must be a number, or the trial fails.
        data: the same for all trials.
        gpus: that it has been given.
    """
    load = imports_of(root)
    spec = source.open(load)
    task = make_task(target, load)
    trial = config["trial"]
    family = spec.family(trial["family"])
    began, since = time.process_time(), time.perf_counter()
    train, validation = data.train_features.frame(), data.validation_features.frame()
    labels = pd.Series(data.train_labels)
    for estimator in islice(family.fit(trial["params"], train, labels), family.rounds):
        found = task.evaluate(data.validation_labels, answers_to(task, estimator, validation))
        if not np.isfinite(found[task.metric]):
            raise TrainingError(f"{task.metric} is not a number on {len(validation):,} validation rows")
        spent = time.process_time() - began
        held = (time.perf_counter() - since) * gpus
        tune.report({**{name: found[name] for name in task.metrics}, CPU_SECONDS: spent, GPU_SECONDS: held})


def answers_to(task: Task, estimator: Any, rows: pd.DataFrame) -> Any:
    """Return the answers to rows; if they fail, name the first row that does by itself."""
    try:
        return task.answers(estimator, rows)
    except Exception as error:
        number = first_failing(lambda some: task.answers(estimator, rows.iloc[some]), len(rows))
        if number is None:
            raise
        raise TrainingError(
            f"{type(error).__name__}: {error} (row {number + 1:,} of the {len(rows):,} validation rows)"
        ) from error


def first_failing(answer: Callable[[slice], Any], count: int) -> int | None:
    """Return the place of the first row that fails by itself; None: only several together do.

    >>> first_failing(lambda some: 1 / ((some.stop or 9) <= 3), 8)
    3
    """
    low, high = 0, count  # rows before `low` pass together, those before `high` do not
    while high - low > 1:
        middle = (low + high) // 2
        if _fails(answer, slice(low, middle)):
            high = middle
        else:
            low = middle
    return low if _fails(answer, slice(low, high)) else None


def _fails(answer: Callable[[slice], Any], some: slice) -> bool:
    try:
        answer(some)
    except Exception:  # noqa: BLE001 - the project's own code can raise anything; the first error is told
        return True
    return False
