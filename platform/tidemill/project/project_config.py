"""Defines the sections of ``params.yaml``, the one file that DVC, training and gates all read."""

from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tidemill.project.serve_config import Section, ServeConfig
from tidemill.tasks.task_names import METRICS, TaskName, metric_name

__all__ = [
    "DatasetConfig",
    "FeaturesConfig",
    "GateConfig",
    "ProjectConfig",
    "ProjectSection",
    "SplitConfig",
    "TrainConfig",
]

_REFERENCE = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"


class ProjectSection(Section):
    """The project's names, and the addresses of its Python objects (``module:object``)."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    model: str = Field(pattern=r"^[A-Za-z0-9][\w-]*$")
    """Name of the registered model."""
    task: TaskName = "binary"
    """What is predicted: one of two classes, one of several, a number, or anything (docs/tasks.md)."""
    training: str = Field(pattern=_REFERENCE)
    """A `tidemill.training.model_spec.TrainingSpec`."""
    application: str = Field(pattern=_REFERENCE)
    """A `tidemill.serving.inference.application.Application`."""
    replay: str | None = Field(default=None, pattern=_REFERENCE)
    """A `tidemill.demo.traffic_replay.Replay`: history for ``tidemill demo``."""


class DatasetConfig(Section):
    """The training set that the last DVC stage writes."""

    path: str
    """Parquet file, relative to the project."""
    time: str = "event_timestamp"
    """Column with the moment of prediction (aware, UTC)."""
    label: str
    """Column with the label."""
    classes: tuple[bool | int | float | str, ...] = ()
    """All classes of the label, as text or numbers; default for binary: 0 and 1."""
    positive: bool | int | float | str | None = None
    """For binary: the class whose probability is predicted; default: the last of ``classes``."""
    label_known: str = "label_known_at"
    """Column with the moment when the label became known."""
    first_month: str | None = "data.first_month"
    """Dotted name of the parameter of the DVC pipeline that names the first month (YYYY-MM); null: none."""
    last_month: str | None = "data.last_month"
    """Dotted name of the parameter that names the last month (YYYY-MM); null: none."""
    as_of: str | None = "data.as_of"
    """Dotted name of the parameter with the moment after which no data is used; null: none."""


class FeaturesConfig(Section):
    """The Feast repository and the service that training and serving share."""

    repo: str = "feature_repo"
    service: str


class SplitConfig(Section):
    """Splits by time: train, then validation (chooses the trial), then hold-out (the gate)."""

    validation_days: int = Field(default=14, ge=1)
    holdout_days: int = Field(default=14, ge=1)

    @property
    def holdout(self) -> timedelta:
        """Length of the hold-out period."""
        return timedelta(days=self.holdout_days)

    @property
    def validation(self) -> timedelta:
        """Length of the validation period."""
        return timedelta(days=self.validation_days)


class TrainConfig(Section):
    """Settings of the hyperparameter search."""

    metric: str = "roc_auc"
    """Metric that trials are compared by; higher is better. The default is that of the task."""
    costs: tuple[tuple[float, ...], ...] = ()
    """For the metric ``neg_cost``: what a decision (column) costs where a class (row) is true."""
    trials: int = Field(default=12, ge=1)
    """Number of trials, spread evenly over the model families."""
    max_rows: int | None = Field(default=None, ge=1000)
    """Train on only the latest this many rows; null for all."""
    search_rows: int | None = Field(default=None, ge=1000)
    """Fit trials on a random sample of this many rows, the chosen model on all; null: fit all on all rows."""
    max_concurrent: int = Field(default=0, ge=0)
    """Trials that run at once; 0 for as many as there are CPUs."""
    seed: int = 0


class GateConfig(Section):
    """Conditions that a candidate must meet on the hold-out before it may become champion."""

    mode: Literal["enforce", "dry_run", "off"] = "enforce"
    metric: str = "roc_auc"
    """The default is ``train.metric``."""
    floor: float | None = None
    """The candidate's metric must reach this."""
    min_gain: float = 0.0
    """The candidate's metric must exceed the champion's by at least this; 0: by any amount, a tie is refused;
    negative: it may be worse by that much."""
    min_rows: int = Field(default=500, ge=1)
    """Rows needed in the hold-out for a decision."""


class ProjectConfig(BaseModel):
    """The sections of ``params.yaml`` that the platform reads; other sections are for the project's stages.

    >>> config = ProjectConfig.model_validate({
    ...     "project": {"name": "flights", "model": "flight-delay",
    ...                 "training": "pipelines.model:spec", "application": "serving.application:application"},
    ...     "dataset": {"path": "data/training_set.parquet", "label": "late"},
    ...     "features": {"service": "flight_delay"},
    ... })
    >>> config.gate.mode, config.train.trials
    ('enforce', 12)
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    project: ProjectSection
    dataset: DatasetConfig
    features: FeaturesConfig
    split: SplitConfig = SplitConfig()
    train: TrainConfig = TrainConfig()
    gate: GateConfig = GateConfig()
    serve: ServeConfig = ServeConfig()

    @model_validator(mode="before")
    @classmethod
    def _name_metrics(cls, given: Any) -> Any:
        """Write full names for the metrics, and the task's own where there is none."""
        project = given.get("project") if isinstance(given, dict) else None
        sections = {name: given.get(name) or {} for name in ("train", "gate")} if project else {}
        task = project.get("task", "binary") if isinstance(project, dict) else None
        if task not in METRICS or not all(isinstance(one, dict) for one in sections.values()):
            return given  # which the fields refuse
        for name, default in (("train", None), ("gate", sections["train"].get("metric"))):
            metric = sections[name].get("metric", default)
            if metric is not None and not isinstance(metric, str):
                return given
            sections[name] = {**sections[name], "metric": metric_name(task, metric)}
        return {**given, **sections}

    @model_validator(mode="after")
    def _same_metric(self) -> "ProjectConfig":
        if self.train.metric != self.gate.metric:
            raise ValueError(
                f"train.metric ({self.train.metric}) and gate.metric ({self.gate.metric}) differ: set "
                f"both to the same metric"
            )
        return self
