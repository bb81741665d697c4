"""Run one trial in a Ray worker. The module imports little, because every worker imports it again."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from ray import tune

from tidemill.errors import TrainingError
from tidemill.training.metrics import METRICS, evaluate

if TYPE_CHECKING:
    from tidemill.training.model_spec import TrainingSpec

__all__ = ["TrialData", "run_trial"]


@dataclass(frozen=True)
class TrialData:
    """The data of every trial: features as (rows × features) float64, labels as (rows,) 0 or 1."""

    features: tuple[str, ...]
    train_features: npt.NDArray[np.float64]
    train_labels: npt.NDArray[np.int8]
    validation_features: npt.NDArray[np.float64]
    validation_labels: npt.NDArray[np.int8]


def run_trial(config: Mapping[str, Any], *, root: str, reference: str, metric: str, data: TrialData) -> None:
    """Fit one configuration round by round and report how each round does on the validation rows.

    Args:
        config: one of `tidemill.training.search.tuning.candidates`, below the key ``trial``.
        root: the project's folder, which a worker of an existing Ray does not know.
        reference: ``module:object`` of the project's training spec.
        metric: must be a number, or the trial fails.
        data: the same for all trials.
    """
    if root not in sys.path:
        sys.path.insert(0, root)
    module, _, attribute = reference.partition(":")
    spec: TrainingSpec = getattr(import_module(module), attribute)
    trial = config["trial"]
    family = spec.family(trial["family"])
    columns = list(data.features)
    train = pd.DataFrame(data.train_features, columns=columns, copy=False)
    validation = pd.DataFrame(data.validation_features, columns=columns, copy=False)
    labels = pd.Series(data.train_labels)
    for estimator in islice(family.fit(trial["params"], train, labels), family.rounds):
        found = evaluate(data.validation_labels, estimator.predict_proba(validation)[:, 1])
        if not np.isfinite(found[metric]):
            raise TrainingError(f"{metric} is not a number on {len(validation):,} validation rows")
        tune.report({name: found[name] for name in METRICS})
