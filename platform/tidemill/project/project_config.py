"""Defines the sections of ``params.yaml``, the one file that DVC, training and gates all read."""

from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tidemill.clock import parse_duration
from tidemill.errors import ConfigError
from tidemill.project.declared_gates import GateConfig, StageConfig, check_stages, strictest
from tidemill.project.declared_share import Share
from tidemill.project.features_config import FeaturesConfig
from tidemill.project.gate_checks import GateCheck, GateMode
from tidemill.project.kubernetes_config import KubernetesConfig
from tidemill.project.serve_config import Section, ServeConfig
from tidemill.project.train_config import TrainConfig, first_decides, name_metrics
from tidemill.tasks.task_names import METRICS, TaskName, metric_name, plain_name

__all__ = [
    "AuditConfig",
    "CostConfig",
    "DatasetConfig",
    "FeaturesConfig",
    "GateConfig",
    "PricesConfig",
    "ProjectConfig",
    "ProjectSection",
    "SplitConfig",
    "TrainConfig",
]

_LEAST_KEPT = timedelta(days=183)
_REFERENCE = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"


class ProjectSection(Section):
    """The project's names, and the addresses of its Python objects (``module:object``)."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    model: str = Field(pattern=r"^[A-Za-z0-9][\w-]*$")
    """Name of the registered model."""
    task: TaskName = "binary"
    """What is predicted: one of two classes, one of several, a number, or anything (docs/tasks.md)."""
    training: str | None = Field(default=None, pattern=_REFERENCE)
    """A `tidemill.training.model_spec.TrainingSpec`; null: the ready-made families of ``train.families``."""
    application: str | None = Field(default=None, pattern=_REFERENCE)
    """A `tidemill.serving.inference.application.Application`; null: made from ``features.yaml``."""
    replay: str | None = Field(default=None, pattern=_REFERENCE)
    """A `tidemill.History`: history for ``tidemill demo``."""


class DatasetConfig(Section):
    """The training set that the last DVC stage writes."""

    path: str
    """Parquet file, relative to the project."""
    time: str | None = "event_timestamp"
    """Column with the moment of prediction (aware, UTC); null: rows have no time."""
    group: str | None = None
    """Column whose rows of one value stay on one side of a split by group."""
    label: str
    """Column with the label."""
    label_personal: bool = False
    """Whether the label tells something private: the log has pseudonyms; quality is not measured."""
    classes: tuple[bool | int | float | str, ...] = ()
    """All classes of the label, as text or numbers; default for binary: 0 and 1."""
    positive: bool | int | float | str | None = None
    """For binary: the class whose probability is predicted; default: the last of ``classes``."""
    label_known: str | None = "label_known_at"
    """Column with the moment when the label became known; null: labels are known at once."""
    first_month: str | None = "data.first_month"
    """Dotted name of the parameter of the DVC pipeline that names the first month (YYYY-MM); null: none."""
    last_month: str | None = "data.last_month"
    """Dotted name of the parameter that names the last month (YYYY-MM); null: none."""
    as_of: str | None = "data.as_of"
    """Dotted name of the parameter with the moment after which no data is used; null: none."""

    @field_validator("time", "group", "label", "label_known")
    @classmethod
    def _is_no_pattern(cls, name: str | None) -> str | None:
        if name is not None and name.startswith("^") and name.endswith("$"):
            raise ValueError("it reads as a pattern of names; rename the column")
        return name

    @property
    def time_column(self) -> str:
        """The column ``time``; raises an error where there is none."""
        if self.time is None:
            raise ConfigError("dataset.time in params.yaml is null: this needs rows with a time")
        return self.time


class SplitConfig(Section):
    """Splits rows into train, validation (chooses the trial) and hold-out (the gate)."""

    by: Literal["time", "random", "stratified", "group"] = "time"
    """Default: by time; for rows without time stratified, or random where the target has no classes."""
    validation_days: int = Field(default=14, ge=1)
    """By time: length of the validation period."""
    holdout_days: int = Field(default=14, ge=1)
    """By time: length of the hold-out period, the latest."""
    validation: Share = Field(default=0.15, gt=0, lt=1)
    """Not by time: share of the rows that are for validation."""
    holdout: Share = Field(default=0.15, gt=0, lt=1)
    """Not by time: share of the rows that are held out."""

    @property
    def holdout_period(self) -> timedelta:
        """Length of the hold-out period of a split by time."""
        return timedelta(days=self.holdout_days)

    @property
    def validation_period(self) -> timedelta:
        """Length of the validation period of a split by time."""
        return timedelta(days=self.validation_days)

    @model_validator(mode="after")
    def _rows_to_train_on(self) -> "SplitConfig":
        if self.validation + self.holdout >= 1:
            raise ValueError(
                f"validation ({self.validation}) and holdout ({self.holdout}) leave no rows to train on: "
                f"their sum must be below 1"
            )
        return self


class PricesConfig(Section):
    """What computing costs."""

    cpu_hour: float | None = Field(default=None, ge=0)
    """Of one CPU."""
    gpu_hour: float | None = Field(default=None, ge=0)
    """Of one GPU."""


class CostConfig(Section):
    """Prices, with which `tidemill status --cost` shows what turns cost."""

    currency: str = ""
    """Shown behind amounts."""
    prices: PricesConfig = PricesConfig()


class AuditConfig(Section):
    """How long entries of the audit log are kept."""

    keep: timedelta = timedelta(days=365)
    """`tidemill audit prune` removes older ones; at least ``183d``, half a year."""

    @field_validator("keep", mode="before")
    @classmethod
    def _read(cls, given: Any) -> timedelta:
        keep = parse_duration(given)
        if keep < _LEAST_KEPT:
            raise ValueError(f"entries of the audit log are kept for at least {_LEAST_KEPT.days}d")
        return keep


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
    gates: tuple[GateCheck, ...] = ()
    """Further checks, each with a mode of its own (docs/gates.md)."""
    stages: tuple[StageConfig, ...] = ()
    """Aliases that versions pass before they become champion, in order."""
    serve: ServeConfig = ServeConfig()
    audit: AuditConfig = AuditConfig()
    kubernetes: KubernetesConfig = KubernetesConfig()
    cost: CostConfig = CostConfig()

    @model_validator(mode="before")
    @classmethod
    def _name_metrics(cls, given: Any) -> Any:
        """Write full names for the metrics, and the task's own where there is none."""
        project = given.get("project") if isinstance(given, dict) else None
        sections = {name: given.get(name) or {} for name in ("train", "gate")} if project else {}
        sections = first_decides(sections)
        task = project.get("task", "binary") if isinstance(project, dict) else None
        if task not in METRICS or not all(isinstance(one, dict) for one in sections.values()):
            return given  # which the fields refuse
        for name, default in (("train", None), ("gate", sections["train"].get("metric"))):
            metric = sections[name].get("metric", default)
            if metric is not None and not isinstance(metric, str):
                return given
            sections[name] = {**sections[name], "metric": metric_name(task, metric)}
        sections["train"] = name_metrics(task, sections["train"])
        return {**given, **sections}

    @property
    def gate_mode(self) -> GateMode:
        """What a decision of all gates together does: that of the strictest one."""
        return strictest((self.gate.mode, *(one.mode for one in self.gates)))

    @property
    def wants_four_eyes(self) -> bool:
        """Whether some move of an alias needs a second person's approval."""
        return self.gate.four_eyes or any(one.four_eyes for one in self.stages)

    @property
    def gate_columns(self) -> tuple[str, ...]:
        """The columns by which gates group rows: a hold-out keeps them beside the features."""
        listed = (*self.gates, *(one for stage in self.stages for one in stage.gates))
        asked = [one for one in listed if one.mode != "off"]
        named = [getattr(one, "columns", ()) or (getattr(one, "column", None),) for one in asked]
        return tuple(dict.fromkeys(name for each in named for name in each if name is not None))

    @model_validator(mode="before")
    @classmethod
    def _choose_split(cls, given: Any) -> Any:
        """Choose how rows without time are split, where ``split.by`` is not given."""
        project, dataset = (
            given.get(name) if isinstance(given, dict) else None for name in ("project", "dataset")
        )
        if not isinstance(project, dict) or not isinstance(dataset, dict):
            return given  # which the fields refuse
        split = given.get("split") or {}
        if not isinstance(split, dict) or split.get("by") is not None or dataset.get("time", "") is not None:
            return given
        classes = project.get("task", "binary") in ("binary", "multiclass")
        return {**given, "split": {**split, "by": "stratified" if classes else "random"}}

    @model_validator(mode="after")
    def _split_has_its_column(self) -> "ProjectConfig":
        if self.split.by == "time" and self.dataset.time is None:
            raise ValueError(
                "split.by is time, but dataset.time is null: name the column, or split by random, stratified "
                "or group"
            )
        if self.split.by == "group" and self.dataset.group is None:
            raise ValueError("split.by is group, but dataset.group is not set: name the column")
        if self.split.by == "stratified" and self.project.task not in ("binary", "multiclass"):
            raise ValueError(
                f"split.by is stratified, but a {self.project.task} target has no classes: split by random"
            )
        return self

    @model_validator(mode="after")
    def _application_or_columns(self) -> "ProjectConfig":
        if self.project.application is None and self.features.source == "store":
            raise ValueError(
                "project.application is missing: name it as module:object, or set features.from to request "
                "or both, where the application is made from features.yaml"
            )
        return self

    @model_validator(mode="after")
    def _one_source_of_families(self) -> "ProjectConfig":
        families = self.train.families
        if self.project.training is not None and "families" in self.train.model_fields_set:
            raise ValueError(
                "project.training names a training spec of the project's own, and train.families ready-made "
                "ones: remove one of the two"
            )
        if len(set(families)) < len(families):
            raise ValueError(f"train.families names a family twice: {', '.join(families)}")
        return self

    @model_validator(mode="after")
    def _same_metric(self) -> "ProjectConfig":
        if self.train.metric != self.gate.metric:
            raise ValueError(
                f"train.metric ({plain_name(self.train.metric)}) and gate.metric "
                f"({plain_name(self.gate.metric)}) differ: set both to the same metric"
            )
        return self

    @model_validator(mode="after")
    def _gates_fit_the_task(self) -> "ProjectConfig":
        decides = self.project.application is not None
        check_stages(self.stages, self.gates, self.project.task, self.gate.metric, decides=decides)
        return self
