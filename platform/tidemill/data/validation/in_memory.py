"""Validates frames in memory by the declared rules, as stage validate does with files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from tidemill.data.expectations.rules import Expectations
from tidemill.data.validation.examination import CheckInputs, Writer, WriterFactories, examine_set
from tidemill.data.validation.pandera_checks import coerced, comparable, misdeclared
from tidemill.data.validation.validation_report import SetReport
from tidemill.errors import ConfigError

__all__ = ["ValidatedFrame", "validate_frames"]


@dataclass(frozen=True)
class ValidatedFrame:
    """A data set, split into accepted and rejected rows in their original order."""

    accepted: pl.DataFrame
    rejected: pl.DataFrame
    """Rejected rows, with the reasons as the last column."""
    report: SetReport


@dataclass
class _Collected:
    """Collects rows in memory."""

    schema: pl.Schema
    frames: list[pl.DataFrame] = field(default_factory=list)

    def write(self, frame: pl.DataFrame) -> None:
        self.frames.append(frame)

    def close(self) -> None:
        pass

    def frame(self) -> pl.DataFrame:
        return pl.concat([pl.DataFrame(schema=self.schema), *self.frames])


def validate_frames(
    frames: Mapping[str, pl.DataFrame], declared: Expectations, as_of: datetime | None = None
) -> dict[str, ValidatedFrame]:
    """Validate frames by the rules of the data sets of their names; bad data raises no error.

    Schemas in Python, bias and earlier versions are not checked.

    Args:
        frames: by the name of the data set; data sets that they refer to must be included.
        declared: the declaration.
        as_of: the moment at which data must be fresh; None: freshness is not judged.

    Raises:
        ConfigError: a data set is not declared, or its declaration makes no sense for its columns.

    >>> from tidemill.data.expectations.rules import Expectations
    >>> declared = Expectations.model_validate({"datasets": {"flights": {
    ...     "source": "flights.parquet", "max_rejected": 0.5,
    ...     "columns": {"delay": {"max": 1440}, "plane": {"type": "string"}},
    ... }}})
    >>> flights = pl.DataFrame({"delay": [5, 99999, 7], "plane": ["N1", None, "N3"]})
    >>> parted = validate_frames({"flights": flights}, declared)["flights"]
    >>> parted.accepted["delay"].to_list(), parted.rejected["reason"].to_list()
    ([5, 7], ['delay: less_than_or_equal_to(1440); plane: not null'])
    """
    found = {}
    for name, frame in frames.items():
        rules = declared.datasets.get(name)
        others = [reference.to for reference in rules.references] if rules else []
        if rules is None or any(other not in frames for other in others):
            raise ConfigError(
                f"{name}, or a data set that it refers to, is not declared or not there",
                hint="declare both, and give a frame for each",
            )
        table = frame.lazy()
        schema = table.with_columns(coerced(rules, frame.schema).values()).collect_schema()
        if rules.mode != "off" and (wrong := misdeclared(rules, schema)):
            raise ConfigError(
                f"the expectations of {name} are wrong: {'; '.join(wrong)}",
                hint="docs/validation.md describes every field",
            )
        asked = CheckInputs(
            name=name,
            rules=rules,
            table=table,
            others={other: _typed(frames[other], other, declared) for other in others},
            pandera=None,
            as_of=as_of,
            earlier=[],
        )
        sides: list[_Collected] = []
        report = examine_set(asked, WriterFactories(_collect(sides), _collect(sides)), lambda _done: None)
        accepted, rejected = (side.frame() for side in sides)
        found[name] = ValidatedFrame(accepted, rejected, report)
    return found


def _typed(frame: pl.DataFrame, name: str, declared: Expectations) -> pl.LazyFrame:
    rules = declared.datasets[name]
    return comparable(frame.lazy().with_columns(coerced(rules, frame.schema).values()))


def _collect(sides: list[_Collected]) -> Callable[[pl.Schema], Writer]:
    def begin(schema: pl.Schema) -> _Collected:
        sides.append(_Collected(schema))
        return sides[-1]

    return begin
