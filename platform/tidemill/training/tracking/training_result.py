"""The result of a training, and its form on the run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tidemill.errors import RegistryError
from tidemill.tasks.task_choice import Target
from tidemill.tasks.task_names import TaskName
from tidemill.training.model_spec import Chosen, Schedule

__all__ = ["HOLDOUT", "JUDGED", "REFERENCE", "TrainedModel", "schedule_words"]

REFERENCE = "reference/reference.parquet"
"""Artifact of the run: what monitors compare with (`reference_rows`)."""
HOLDOUT = "holdout/holdout.parquet"
"""Artifact of the run: the rows held out, for the gate."""

JUDGED = "judged"
"""Folder of the run: the twin of a model that was fitted once more, as an MLflow model."""


@dataclass(frozen=True)
class TrainedModel:
    """The result of a training.

    >>> model = TrainedModel("4f1d", "models:/m-1", {"holdout_roc_auc": 0.7}, 12, 1, "trees", {"depth": 3})
    >>> TrainedModel.from_json("4f1d", json.dumps(model.as_dict())) == model
    True
    """

    run_id: str
    """The MLflow run that all is recorded on; each trial is a child of it."""
    model_uri: str
    metrics: Mapping[str, float]
    """``holdout_…`` and ``validation_…``, and ``roc_auc_2013-03`` and so on by month of the hold-out."""
    trials: int
    failed_trials: int
    family: str
    params: Mapping[str, Any]
    rounds: int = 1
    """How many rounds the model was fitted for."""
    schedule: Schedule = ()
    """Where parameters changed between rounds: from which round on which held. ``params`` are the last."""
    features: tuple[str, ...] = ()
    """The model's features, in order."""
    trusted_types: tuple[str, ...] = ()
    """Types in the saved model beyond those that skops trusts by itself."""
    task: TaskName = "binary"
    """What is predicted."""
    classes: tuple[str, ...] = ()
    """The classes, in the order of the model's answers; for binary the positive last."""
    places: tuple[int, ...] = ()
    """Of a model from elsewhere whose outputs have another order: the place of each among ``classes``."""
    lists: Mapping[str, int] = field(default_factory=dict)
    """Those of ``features`` that are lists, and the length of each."""
    cpu_seconds: float = 0.0
    """CPU time of the search's trials, and of a last fit that Ray made."""
    gpu_seconds: float = 0.0
    """Time of GPUs that the trials and the last fit held."""
    window: str | None = None
    """The candidate window whose rows it learnt from, in words; None: there was no choice."""
    refitted_on: int | None = None
    """Rows that it learnt from, those held out among them, once a twin had been judged on these: all metrics
    are the twin's, which is in `JUDGED`. None: it was judged itself."""
    labels: int | None = None
    """Labelled rows that were known; None in records of earlier versions."""
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the estimator's file that is ``served``, and of the twin's that was ``judged``; none in
    records of earlier versions."""
    warm_start: str | None = None
    """What became of a warm start, in words; None: none was asked for."""
    search_ended: str | None = None
    """Why the search ended before its last trial, in words; None: it did not."""
    windows: tuple[Mapping[str, Any], ...] = ()
    """How each candidate window did (`tidemill.training.fitting.window_choice.Compared`)."""

    @property
    def chosen(self) -> Chosen:
        """What it was fitted with."""
        return Chosen(self.family, self.params, self.rounds, self.schedule)

    @property
    def target(self) -> Target:
        """What is predicted, as plain values."""
        return Target(self.task, classes=self.classes)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**vars(self), "metrics": dict(self.metrics), "params": dict(self.params)}

    @classmethod
    def from_json(cls, run_id: str, text: str | None) -> "TrainedModel":
        """Read it back.

        Raises:
            RegistryError: the run has no summary, because it is not complete or not Tidemill's.
        """
        try:
            found = json.loads(text or "")
            for name in ("features", "trusted_types", "classes", "places", "windows"):
                found[name] = tuple(found.get(name, ()))
            found["schedule"] = tuple((start, params) for start, params in found.get("schedule", ()))
            return cls(**found)
        except (KeyError, TypeError, ValueError) as error:
            raise RegistryError(
                f"run {run_id} is not a finished training of Tidemill: its summary is missing or broken",
                hint="train again: `tidemill run`",
            ) from error


def schedule_words(schedule: Schedule) -> str:
    """Return a schedule in words: all parameters of its beginning, then those that change.

    >>> schedule_words(((1, {"c": 0.5, "depth": 3}), (4, {"c": 0.6, "depth": 3})))
    'from round 1: c 0.5, depth 3; from round 4: c 0.6'
    """
    said, before = [], dict[str, Any]()
    for start, params in schedule:
        changed = {name: value for name, value in params.items() if before.get(name, ...) != value}
        values = ", ".join(
            f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in changed.items()
        )
        said.append(f"from round {start}: {values or 'as before'}")
        before = dict(params)
    return "; ".join(said)
