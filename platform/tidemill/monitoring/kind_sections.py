"""Defines the sections of a monitor, one for each kind. Imports no engine."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tidemill.tasks.task_names import allowed_loss

__all__ = [
    "DataDriftConfig",
    "FeatureSkewConfig",
    "MultivariateDriftConfig",
    "PredictionDriftConfig",
    "QualityConfig",
    "Section",
]

_SHARE = 0.1


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

    share: float = Field(default=0.3, gt=0, le=1)
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

    share: float = Field(default=0.01, ge=0, le=1)
    """Alert when at least this share of a feature's rows differs; 0: when any does."""
    tolerance: float = Field(default=1e-6, ge=0, lt=1)
    """Largest relative difference between values that count as equal."""


class MultivariateDriftConfig(Section):
    """When the window's rows can be told from the reference's by all features together."""

    auc: float = Field(default=0.6, gt=0.5, lt=1)
    """Alert at this area under the ROC curve of a classifier that tells them apart; 0.5: it cannot."""
    exclude: tuple[str, ...] = ()
    """Features that it does not see; those that go with time by themselves tell all windows apart."""
