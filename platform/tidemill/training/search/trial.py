"""Run one trial in a Ray worker. The module imports little, because every worker imports it again."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from ray import tune

from tidemill.errors import TrainingError
from tidemill.tasks.task_choice import Target, make_task
from tidemill.training.feature_table import FeatureTable
from tidemill.training.spec_loading import SpecSource

__all__ = ["CPU_SECONDS", "TrialData", "run_trial"]

CPU_SECONDS = "tidemill_cpu_seconds"
"""What a trial reports beside its metrics: the CPU time that it took so far."""


@dataclass(frozen=True)
class TrialData:
    """The data of every trial: features, and labels as the task means them, shape (rows,)."""

    train_features: FeatureTable
    train_labels: npt.NDArray[Any]
    validation_features: FeatureTable
    validation_labels: npt.NDArray[Any]


def run_trial(
    config: Mapping[str, Any], *, root: str, source: SpecSource, target: Target, data: TrialData
) -> None:
    """Fit one configuration round by round and report how each round does on the validation rows.

    Args:
        config: one of `tidemill.training.search.tuning.candidates`, below the key ``trial``.
        root: the project's folder, which a worker of an existing Ray does not know.
        source: of the training spec.
        target: what is predicted; its metric must be a number, or the trial fails.
        data: the same for all trials.
    """
    if root not in sys.path:
        sys.path.insert(0, root)
    spec = source.open(_load)
    task = make_task(target, _load)
    trial = config["trial"]
    family = spec.family(trial["family"])
    began = time.process_time()
    train, validation = data.train_features.frame(), data.validation_features.frame()
    labels = pd.Series(data.train_labels)
    for estimator in islice(family.fit(trial["params"], train, labels), family.rounds):
        found = task.evaluate(data.validation_labels, task.answers(estimator, validation))
        if not np.isfinite(found[task.metric]):
            raise TrainingError(f"{task.metric} is not a number on {len(validation):,} validation rows")
        spent = time.process_time() - began
        tune.report({**{name: found[name] for name in task.metrics}, CPU_SECONDS: spent})


def _load(reference: str) -> Any:
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)
