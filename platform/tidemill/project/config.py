"""What a project declares in ``params.yaml``: the one file that DVC, training and gates all read."""

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "DatasetConfig",
    "FeaturesConfig",
    "GateConfig",
    "ProjectConfig",
    "ProjectSection",
    "ServeConfig",
    "SplitConfig",
    "TrainConfig",
]

_REFERENCE = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProjectSection(_Section):
    """Names, and where the project's own Python objects are (``module:object``)."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    model: str = Field(pattern=r"^[A-Za-z0-9][\w-]*$")
    """Name of the registered model."""
    training: str = Field(pattern=_REFERENCE)
    """A `tidemill.training.spec.TrainingSpec`."""
    application: str = Field(pattern=_REFERENCE)
    """A `tidemill.serving.application.Application`."""
    replay: str | None = Field(default=None, pattern=_REFERENCE)
    """A `tidemill.demo.replay.Replay`: history for ``tidemill demo``."""


class DatasetConfig(_Section):
    """The training set that the last DVC stage writes."""

    path: str
    """Parquet file, relative to the project."""
    time: str = "event_timestamp"
    """Column with the moment of prediction (aware, UTC)."""
    label: str
    """Column with the label: 0 or 1."""
    label_known: str = "label_known_at"
    """Column with the moment from which on the label is known."""
    first_month: str = "data.first_month"
    """Dotted name of the parameter of the DVC pipeline that names the first month (YYYY-MM)."""
    last_month: str = "data.last_month"
    """Dotted name of the parameter that names the last month (YYYY-MM)."""
    as_of: str = "data.as_of"
    """Dotted name of the parameter with the moment after which nothing is known."""


class FeaturesConfig(_Section):
    """The Feast repository and the service that training and serving share."""

    repo: str = "feature_repo"
    service: str


class SplitConfig(_Section):
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


class TrainConfig(_Section):
    """How the search for a model goes."""

    metric: Literal["roc_auc", "average_precision", "neg_log_loss", "neg_brier"] = "roc_auc"
    """What trials are compared by; higher is better."""
    trials: int = Field(default=12, ge=1)
    """In all, spread evenly over the model families."""
    max_rows: int | None = Field(default=None, ge=1000)
    """The latest this many rows are trained on; none for all."""
    search_rows: int | None = Field(default=None, ge=1000)
    """Trials are fitted on a random sample of this many rows, the chosen model on all; none: all, always."""
    max_concurrent: int = Field(default=0, ge=0)
    """Trials at once; 0 for as many as there are CPUs."""
    seed: int = 0


class GateConfig(_Section):
    """What a candidate must show on the hold-out before it may become champion."""

    mode: Literal["enforce", "dry_run", "off"] = "enforce"
    metric: Literal["roc_auc", "average_precision", "neg_log_loss", "neg_brier"] = "roc_auc"
    floor: float | None = None
    """The candidate's metric must reach this."""
    min_gain: float = 0.0
    """The candidate's metric must exceed the champion's by at least this; 0: by anything, a tie is refused;
    negative: it may be that much worse."""
    min_rows: int = Field(default=500, ge=1)
    """Rows needed in the hold-out for a decision."""


class ServeConfig(_Section):
    """How the application is deployed."""

    replicas: int = Field(default=1, ge=1)
    poll_seconds: float = Field(default=0.5, gt=0, le=60)
    """How often a replica looks at the alias."""
    max_instances: int = Field(default=1000, ge=1)
    """Largest number of instances in one request."""
    fsync: bool = True
    """Whether a prediction is flushed to the disk itself before it is answered."""


class ProjectConfig(BaseModel):
    """The sections of ``params.yaml`` that the platform reads; the rest belongs to the project's own stages.

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

    @model_validator(mode="after")
    def _same_metric(self) -> "ProjectConfig":
        if self.train.metric != self.gate.metric:
            raise ValueError(
                f"train.metric ({self.train.metric}) and gate.metric ({self.gate.metric}) differ: "
                "a search for one thing cannot be gated by another"
            )
        return self
