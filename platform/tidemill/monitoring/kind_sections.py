"""Defines the sections of a monitor, one for each kind. Imports no engine."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from tidemill.clock import parse_duration
from tidemill.project.declared_share import Share
from tidemill.tasks.task_names import TaskName, allowed_loss

__all__ = [
    "TASKS",
    "CalibrationConfig",
    "ConceptDriftConfig",
    "DataDriftConfig",
    "DataQualityConfig",
    "DdmDetector",
    "FairnessConfig",
    "FeatureSkewConfig",
    "HealthConfig",
    "KpiConfig",
    "MultivariateDriftConfig",
    "PageHinkleyDetector",
    "PredictionDriftConfig",
    "QualityConfig",
    "RiverDetector",
    "Section",
    "StalenessConfig",
    "SumDetector",
]

_SHARE = 0.1


TASKS: Mapping[str, tuple[TaskName, ...]] = {
    "concept_drift": ("binary", "multiclass", "regression"),
    "calibration": ("binary", "multiclass", "custom"),
}
"""The tasks that a section is for, where it is not for all."""


class Section(BaseModel):
    """A part of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataDriftConfig(Section):
    """Thresholds for drift of the inputs.

    Columns are compared by a distance, not by a test's p-value: with thousands of rows a test calls any
    difference significant, and its verdict depends on how many rows the window happened to have. A distance
    says how far the column has moved, whatever the size of the window. It counts if chance alone seldom
    brings so much to so few rows.

    The default thresholds are Evidently's own. They suit rows that are independent of each other. Where rows
    of one day are similar (weather, delays), a short window always differs from a long reference by more than
    that: set ``numerical`` above the distances of single weeks of the training months.
    """

    share: Share = Field(default=0.3, gt=0, le=1)
    """Alert when at least this share of the columns has drifted."""
    numerical: float = Field(default=0.1, gt=0)
    """Threshold for numbers: Wasserstein distance, in standard deviations of the reference."""
    categorical: float = Field(default=0.1, gt=0, le=1)
    """Threshold for categories, and numbers of few values: Jensen–Shannon distance (0 to 0.83)."""
    missing: float = Field(default=0.1, gt=0, le=1)
    """A column has also drifted when its share of missing values changed by this much."""
    thresholds: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Thresholds of single columns, by name, in place of ``numerical`` or ``categorical``."""
    severe: float = Field(default=4.0, ge=1)
    """Alert about a single feature whose distance is this many times its threshold, or that is broken.

    See `tidemill.monitoring.drift.drift_columns` for what counts as broken.
    """
    exclude: tuple[str, ...] = ()
    """Features that are not monitored, such as the month of the year."""


class PredictionDriftConfig(Section):
    """Thresholds for drift of the model's answers."""

    threshold: float = Field(default=0.1, gt=0)
    """Wasserstein distance of the scores, in standard deviations of the reference's scores.

    The reference's scores are for rows that the model was trained on, so they are spread a little wider than
    others: choose a threshold that allows for that.
    """
    categorical: float = Field(default=0.1, gt=0, le=1)
    """Jensen–Shannon distance of the shares of the predicted classes, where answers are classes."""


class QualityConfig(Section):
    """Thresholds for decay of the model's quality on labelled rows. Higher is better for every metric."""

    metric: str | None = None
    """One of the task's; default: ``train.metric``."""
    max_drop: float | None = Field(default=0.03, gt=0)
    """Alert when the metric lies this much below the serving version's hold-out metric; none: never.

    In the metric's own units. Unless it is set, metrics that are not between 0 and 1 may lose a tenth of the
    hold-out's value.
    """
    floor: float | None = Field(default=None)
    """Alert when the metric lies below this; none: no floor."""

    def drop_allowed(self, metric: str, expected: float) -> float | None:
        """Return how far a metric may lie below its value on the hold-out; None if that is not judged."""
        if self.max_drop is None or "max_drop" in self.model_fields_set:
            return self.max_drop
        return allowed_loss(metric, self.max_drop, _SHARE, expected)

    @model_validator(mode="after")
    def _something_to_compare_with(self) -> "QualityConfig":
        if self.max_drop is None and self.floor is None:
            raise ValueError("neither max_drop nor floor is set: quality would never be judged")
        return self


class FeatureSkewConfig(Section):
    """Thresholds for differences between served features and training features (`docs/skew.md`)."""

    share: Share = Field(default=0.01, ge=0, le=1)
    """Alert when at least this share of a feature's rows differs; 0: when any does."""
    tolerance: float = Field(default=1e-6, ge=0, lt=1)
    """Largest relative difference between values that count as equal."""


class MultivariateDriftConfig(Section):
    """When the window's rows can be told from the reference's by all features together."""

    auc: float = Field(default=0.6, gt=0.5, lt=1)
    """Alert at this area under the ROC curve of a classifier that tells them apart; 0.5: it cannot."""
    exclude: tuple[str, ...] = ()
    """Features that it does not see; those that go with time by themselves tell all windows apart."""


class SumDetector(Section):
    """A sum of losses whose limit is drawn from the hold-out (`monitoring.quality.error_changes`)."""

    name: Literal["sum"] = "sum"


class PageHinkleyDetector(Section):
    """river's ``PageHinkley`` over mistakes, with river's names and defaults."""

    name: Literal["page_hinkley"] = "page_hinkley"
    min_instances: int = Field(default=30, ge=1)
    delta: float = Field(default=0.005, ge=0)
    threshold: float = Field(default=50.0, gt=0)
    alpha: float = Field(default=1 - 0.0001, gt=0, le=1)
    mode: Literal["both", "up"] = "both"
    """river's ``down`` finds fewer mistakes alone, about which nothing alarms."""


class DdmDetector(Section):
    """river's ``DDM`` over mistakes, with river's names and defaults."""

    name: Literal["ddm"] = "ddm"
    warm_start: int = Field(default=30, ge=1)
    warning_threshold: float = Field(default=2.0, gt=0)
    drift_threshold: float = Field(default=3.0, gt=0)


RiverDetector = PageHinkleyDetector | DdmDetector
"""Detectors that need the package river."""


def _as_mapping(given: object) -> object:
    """Return a detector that is declared by its name alone as the mapping that it stands for."""
    if isinstance(given, str):
        return {"name": given}
    if not isinstance(given, Mapping | Section):
        raise ValueError("must be sum, page_hinkley or ddm, or a mapping with that as its name")
    return given


class ConceptDriftConfig(Section):
    """Thresholds for labels that depend on the rows in another way than in training."""

    detector: Annotated[
        SumDetector | RiverDetector, Field(discriminator="name"), BeforeValidator(_as_mapping)
    ] = SumDetector()
    """What watches the errors, by its name or as a mapping with the name and river's own parameters."""
    max_rise: float = Field(default=0.1, gt=0)
    """Alert when the mean loss of a row has risen by this share of that on the hold-out.

    Detectors of river: when the share of mistakes has.
    """
    explained: float = Field(default=0.05, gt=0, le=1)
    """Alert when a model fitted on the window's labels explains this share of what the errors vary."""


class CalibrationConfig(Section):
    """Thresholds for probabilities that are no frequencies, and for intervals that hold too few labels."""

    max_rise: float = Field(default=0.05, gt=0, le=1)
    """Alert when the mean distance of probabilities from frequencies rose by this since the hold-out."""
    ceiling: float | None = Field(default=None, gt=0, le=1)
    """Alert when that distance itself is larger than this; none: no ceiling."""
    interval: tuple[str, str] | None = None
    """For custom tasks: which numbers of an answer are the ends of an interval, such as ``[p05, p95]``."""
    coverage: float = Field(default=0.9, gt=0, lt=1)
    """The share of the labels that the interval should hold; alert when it is off by ``max_rise``."""


class FairnessConfig(Section):
    """Thresholds for differences between groups of rows."""

    by: Annotated[tuple[str, ...], Field(min_length=1)]
    """Features, or fields of the request, whose values are groups."""
    max_gap: float = Field(default=0.1, gt=0)
    """Alert when a group's metric is this much below that of all other rows.

    In the metric's own units. Unless it is set, metrics that are not between 0 and 1 may differ by a fifth.
    """
    max_rate_gap: float = Field(default=0.1, gt=0, le=1)
    """Alert when the share of a group's positive answers differs by this much from that of all other rows."""
    metric: str | None = None
    """One of the task's; default: ``train.metric``."""
    threshold: float = Field(default=0.5, ge=0, le=1)
    """The probability from which on an answer of two classes is positive."""
    min_rows: int = Field(default=100, ge=10)
    """With fewer rows a group is not judged."""

    def gap_allowed(self, metric: str, overall: float) -> float:
        """Return how far a group's metric may be below that of the others."""
        if "max_gap" in self.model_fields_set:
            return self.max_gap
        return allowed_loss(metric, self.max_gap, 2 * _SHARE, overall)


class DataQualityConfig(Section):
    """Thresholds for requests that break what ``expectations.yaml`` declares of single rows."""

    dataset: str | None = None
    """The data set whose rules count; default: of all that declare a column that requests have."""
    share: Share = Field(default=0.01, gt=0, le=1)
    """Alert when so much more of the rows break a rule than did in training."""
    ignore: tuple[str, ...] = ()
    """Rules that do not count, as the alert names them."""


class KpiConfig(Section):
    """Limits of a number that matters to the business, a function of decision and label."""

    function: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    """``module:function`` of the project: takes decisions, labels and a frame of features, gives numbers."""
    labels: bool = True
    """Whether it needs labels; without, all predictions of the version count at once."""
    floor: float | None = None
    """Alert when the mean is below this."""
    ceiling: float | None = None
    """Alert when the mean is above this."""
    max_drop: float | None = Field(default=None, gt=0)
    """Alert when the mean is so much below that of the window before.

    Without any limit, a tenth of that of the window before is allowed.
    """


class HealthConfig(Section):
    """Limits of what the service itself does."""

    p99_ms: float = Field(default=250.0, gt=0)
    """Alert when one answer in a hundred took longer."""
    fallbacks: float = Field(default=0.01, ge=0, lt=1)
    """Alert when more of the answers had to do without a part of the platform, or came from the champion
    because another version failed."""
    refused: float = Field(default=0.05, ge=0, lt=1)
    """Alert when more of the requests since the monitor's last run got no predictions (422, 429, 503, …)."""


class StalenessConfig(Section):
    """Thresholds for features that are older than their view allows."""

    share: Share = Field(default=0.05, ge=0, lt=1)
    """Alert when more of the rows lack a view's values because these had expired."""
    max_age: dict[str, Annotated[timedelta, BeforeValidator(parse_duration)]] = Field(default_factory=dict)
    """By view: alert when its newest value is older than this at the latest request; default: its time to
    live."""
