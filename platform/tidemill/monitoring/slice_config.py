"""Reads the slices of a monitor: segments of its predictions that are judged apart. Imports no engine."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from tidemill.monitoring.kind_sections import DataDriftConfig, Section

__all__ = [
    "SliceDeclaration",
    "SliceDriftConfig",
    "SliceQualityConfig",
    "Value",
    "Wanted",
    "number_text",
    "tolerance",
]

Value = str | bool | int | float | None


class Wanted(Section):
    """Which values of a feature belong to a segment: one of some, or numbers of a range.

    >>> [str(Wanted.model_validate(given)) for given in ("JFK", ["JFK", None], {"at_least": 5, "below": 9})]
    ['JFK', 'JFK or missing', '5 to 9']
    """

    any_of: tuple[Value, ...] | None = None
    """Also written as a value alone, or as a list; null stands for missing ones."""
    at_least: float | None = None
    below: float | None = None
    """The end of the range, itself not in it."""

    @model_validator(mode="before")
    @classmethod
    def _values_alone(cls, given: Any) -> Any:
        if isinstance(given, Mapping | cls):
            return given
        values = given if isinstance(given, list | tuple) else [given]
        if wrong := [each for each in values if not isinstance(each, Value)]:
            raise ValueError(f"must be text, numbers, true, false or null; {wrong[0]!r} is none of them")
        return {"any_of": values}

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        if self.any_of == () or all(each is None for each in (self.any_of, self.at_least, self.below)):
            raise ValueError("set a value, a list of values, or at_least and below")
        if self.at_least is not None and self.below is not None and self.at_least >= self.below:
            raise ValueError(
                f"at_least ({_said(self.at_least)}) must be less than below ({_said(self.below)})"
            )
        return self

    def __str__(self) -> str:
        """Return it in words."""
        if self.any_of is not None:
            return " or ".join(map(_said, self.any_of))
        if self.below is None:
            return f"≥ {_said(self.at_least)}"
        below = _said(self.below)
        return f"< {below}" if self.at_least is None else f"{_said(self.at_least)} to {below}"


class SliceDeclaration(Section):
    """A segment of predictions, or one for each value of a feature.

    >>> given = {"where": {"origin": "JFK", "distance": {"at_least": 1000}}}
    >>> SliceDeclaration.model_validate(given).title
    'origin JFK, distance ≥ 1000'
    """

    name: str | None = Field(default=None, min_length=1, max_length=80)
    """Of a segment with ``where``; default: its conditions in words."""
    where: dict[str, Wanted] = Field(default_factory=dict)
    """Feature → its values; all of the conditions must hold."""
    by: str | None = None
    """A feature: a segment for each of its values, of numbers with many values for each quarter of them."""

    @model_validator(mode="after")
    def _either(self) -> Self:
        if bool(self.where) == (self.by is not None):
            raise ValueError("set either where or by")
        if self.name is not None and self.by is not None:
            raise ValueError("by makes several segments, which are named by their values: leave name out")
        return self

    @property
    def title(self) -> str:
        """Return its name, or its conditions in words."""
        return self.name or ", ".join(f"{column} {wanted}" for column, wanted in self.where.items())


class SliceQualityConfig(Section):
    """Which slices of the labelled rows are worse than the same slices of the hold-out were."""

    metric: str | None = None
    """One of the task's; default: ``train.metric``."""
    max_drop: float | None = Field(default=None, gt=0)
    """How much lower the metric in a slice may be than in the hold-out's slice, in its own units.

    Default: 0.05, or 15 % of the hold-out's value for metrics that are not between 0 and 1.
    """
    min_rows: int = Field(default=100, ge=30)
    """Labelled rows that a slice needs, in the window and in the hold-out."""
    search: bool = True
    """Whether other slices than the declared ones are tried: values and quarters of features, and pairs."""


class SliceDriftConfig(DataDriftConfig):
    """Thresholds for drift of the features within each declared slice, as those of ``data_drift``."""

    min_rows: int = Field(default=200, ge=30)
    """Rows that a slice needs, in the window and in what it is compared with."""


def tolerance(value: float) -> float:
    """Return how far a number in a column may be from one that is meant: as single precision rounds it.

    Whole numbers next to each other stay two numbers, however large they are.
    """
    return min(1e-7 * abs(value), 1e-3)


def number_text(value: float) -> str:
    """Return a number in as few digits as tell it from others, and whole ones in full.

    >>> [number_text(value) for value in (1000001.0, 0.5, 0.10000000149, 1013.27, 1e300)]
    ['1000001', '0.5', '0.1', '1013.27', '1e+300']
    """
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    texts = (f"{value:.{digits}g}" for digits in range(6, 17))
    return next((text for text in texts if abs(float(text) - value) <= tolerance(value)), repr(value))


def _said(value: Value) -> str:
    if isinstance(value, float):
        return number_text(value)
    return "missing" if value is None else str(value)
