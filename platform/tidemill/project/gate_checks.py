"""Defines the entries of ``gates`` in ``params.yaml``: checks of a candidate beside those of ``gate``."""

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from tidemill.project.serve_config import Section

__all__ = [
    "CalibrationCheck",
    "CardCheck",
    "DataAgeCheck",
    "FunctionCheck",
    "GateCheck",
    "GateMode",
    "GroupsCheck",
    "KpiCheck",
    "LatencyCheck",
    "LeakageCheck",
    "MetricCheck",
    "RobustnessCheck",
    "SignatureCheck",
    "SizeCheck",
    "SlicesCheck",
    "StageCheck",
]


def _spelt(mode: Any) -> Any:
    return "off" if mode is False else mode  # YAML reads a bare off as false


GateMode = Annotated[Literal["enforce", "dry_run", "off"], BeforeValidator(_spelt)]

_REFERENCE = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
_Positive = Annotated[float, Field(gt=0)]
_Loss = Annotated[float, Field(ge=0)]
_CardField = Literal["purpose", "limits", "owner", "contact", "risk", "kpi"]


class _Check(Section):
    mode: GateMode = "enforce"
    """``enforce`` refuses, ``dry_run`` measures and says what it would do, ``off`` measures nothing."""
    name: str | None = Field(default=None, min_length=1, max_length=60)
    """What it is called in reasons; default: that of the check."""

    @model_validator(mode="before")
    @classmethod
    def _has_known_fields(cls, given: Any) -> Any:
        if isinstance(given, dict) and (unknown := [each for each in given if each not in cls.model_fields]):
            raise ValueError(
                f"there is no field {unknown[0]!r}: choose {', '.join(sorted(cls.model_fields))}"
            )
        return given

    @property
    def title(self) -> str:
        """What it is called in reasons."""
        return self.name or str(getattr(self, "check", ""))


class _Limited(_Check):
    """A check that needs at least one limit."""

    def _limits(self) -> tuple[str, ...]:
        raise NotImplementedError

    @model_validator(mode="after")
    def _has_a_limit(self) -> "_Limited":
        if all(getattr(self, name) is None for name in self._limits()):
            raise ValueError(f"it has no limit, so nothing could fail: give {' or '.join(self._limits())}")
        return self


class MetricCheck(_Limited):
    """A metric on the hold-out, against a floor and against the champion's."""

    check: Literal["metric"]
    metric: str | None = None
    """One of the task's; default: that of ``gate``."""
    floor: float | None = None
    min_gain: float | None = None
    """The champion's must be exceeded by so much; negative: it may be worse by that much."""
    by: Literal["gain", "interval"] = "gain"
    """What must reach ``min_gain``: the gain, or the lower bound of its 90 % interval."""

    def _limits(self) -> tuple[str, ...]:
        return "floor", "min_gain"


class GroupsCheck(_Limited):
    """Differences between groups of rows."""

    check: Literal["groups"]
    column: str
    """A column of the hold-out: a feature, or ``dataset.group``."""
    edges: tuple[float, ...] = ()
    """Of a column of numbers: where groups end."""
    measure: Literal["metric", "demographic_parity", "equal_opportunity"] = "metric"
    """The metric, the share of positive answers, or that share among the truly positive rows."""
    metric: str | None = None
    """For ``measure: metric``; default: that of ``gate``."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """Answers from here on are positive."""
    floor: float | None = None
    """The worst group must reach this."""
    max_difference: _Loss | None = None
    """Between the best and the worst group."""
    min_rows: int = Field(default=50, ge=2)
    """Smaller groups are shown and not judged."""

    def _limits(self) -> tuple[str, ...]:
        return "floor", "max_difference"

    @model_validator(mode="after")
    def _rises(self) -> "GroupsCheck":
        if any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError(f"edges must rise: {', '.join(f'{edge:g}' for edge in self.edges)} do not")
        return self


class SlicesCheck(_Limited):
    """The metric of each value of some columns, against a floor and against the champion's."""

    check: Literal["slices"]
    columns: tuple[str, ...] = Field(min_length=1)
    metric: str | None = None
    floor: float | None = None
    max_loss: _Loss | None = None
    """So much may the candidate be worse than the champion in any slice."""
    min_rows: int = Field(default=100, ge=2)
    """Smaller slices are not judged."""

    def _limits(self) -> tuple[str, ...]:
        return "floor", "max_loss"


class CalibrationCheck(_Limited):
    """The distance of probabilities from frequencies."""

    check: Literal["calibration"]
    max_error: _Positive | None = None
    """Of the expected calibration error; of several classes that of the worst."""
    max_rise: _Loss | None = None
    """Above the champion's."""

    def _limits(self) -> tuple[str, ...]:
        return "max_error", "max_rise"


class LatencyCheck(_Limited):
    """The time of an answer to one row, measured in turns with the champion's."""

    check: Literal["latency"]
    max_ms: _Positive | None = None
    max_ratio: _Positive | None = None
    """The candidate's median divided by the champion's."""

    def _limits(self) -> tuple[str, ...]:
        return "max_ms", "max_ratio"


class SizeCheck(_Limited):
    """The size of what serves: the compiled artefact, or else the model's files."""

    check: Literal["size"]
    max_mb: _Positive | None = None
    max_ratio: _Positive | None = None
    """The candidate's size divided by the champion's."""

    def _limits(self) -> tuple[str, ...]:
        return "max_mb", "max_ratio"


class SignatureCheck(_Check):
    """Whether clients that the champion answers can be answered by the candidate."""

    check: Literal["signature"]


class RobustnessCheck(_Check):
    """The loss in the metric when one feature is spoilt."""

    check: Literal["robustness"]
    changes: tuple[Literal["missing", "unseen", "permuted"], ...] = Field(
        default=("missing", "unseen"), min_length=1
    )
    """The feature is missing in all rows, is a category never seen, or has the values of other rows."""
    max_loss: _Loss
    metric: str | None = None
    rows: int = Field(default=2000, ge=50)
    """Of the hold-out, drawn at random with ``train.seed``."""


class LeakageCheck(_Check):
    """Features that tell the label almost alone."""

    check: Literal["leakage"]
    allowed: tuple[str, ...] = ()
    """Features of which that is known and right."""


class DataAgeCheck(_Check):
    """The age of the newest rows that the candidate was trained and judged by."""

    check: Literal["data_age"]
    max_days: _Positive


class CardCheck(_Check):
    """Fields of ``card.yaml`` that must be filled in."""

    check: Literal["card"]
    required: tuple[_CardField, ...] = Field(min_length=1)


class KpiCheck(_Limited):
    """What a row is worth by the decisions of the project's application, a KPI of the project."""

    check: Literal["kpi"]
    function: str = Field(pattern=_REFERENCE)
    """As that of a monitor's section ``kpi``: takes decisions, labels and a frame of features."""
    columns: tuple[str, ...] = ()
    """Columns of the training set that the application's request needs and that are no features."""
    min_rows: int = Field(default=50, ge=2)
    """Rows that must count for a mean to be judged, of each version's decisions."""
    floor: float | None = None
    """The candidate's mean must reach this."""
    min_gain: float | None = None
    """The champion's must be exceeded by so much; negative: it may be worse by that much."""
    by: Literal["gain", "interval"] = "gain"
    """What must reach ``min_gain``: the gain, or the lower bound of its 90 % interval."""

    def _limits(self) -> tuple[str, ...]:
        return "floor", "min_gain"


class StageCheck(_Check):
    """A stage that the version must have passed."""

    check: Literal["stage"]
    stage: str
    """One of ``stages``; for a stage's own gates one before it."""


class FunctionCheck(_Check):
    """A function of the project: takes a `tidemill.GateRows`, returns a `tidemill.GateFinding`."""

    check: Literal["function"]
    function: str = Field(pattern=_REFERENCE)


GateCheck = Annotated[
    MetricCheck
    | GroupsCheck
    | SlicesCheck
    | CalibrationCheck
    | LatencyCheck
    | SizeCheck
    | SignatureCheck
    | RobustnessCheck
    | LeakageCheck
    | DataAgeCheck
    | CardCheck
    | KpiCheck
    | StageCheck
    | FunctionCheck,
    Field(discriminator="check"),
]
