"""Split rows by time, so that training rows always precede those of validation and hold-out."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.data.tables.column_names import literal_name
from tidemill.errors import TrainingError

if TYPE_CHECKING:
    from tidemill.project.project_config import DatasetConfig, SplitConfig

__all__ = ["Period", "Split", "blocks_of", "known_before", "known_too_late", "not_learnt", "split_by_time"]

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Period:
    """From ``start`` (included) to ``end`` (not included), both aware.

    >>> from datetime import UTC
    >>> week = Period(datetime(2013, 3, 1, tzinfo=UTC), datetime(2013, 3, 8, tzinfo=UTC))
    >>> week.days, str(week)
    (7.0, '2013-03-01T00:00Z/2013-03-08T00:00Z')
    """

    start: datetime
    end: datetime

    @property
    def days(self) -> float:
        """Length in days."""
        return (self.end - self.start) / _DAY

    def __str__(self) -> str:
        return "/".join(
            moment.isoformat(timespec="minutes").replace("+00:00", "Z") for moment in (self.start, self.end)
        )


@dataclass(frozen=True)
class Split:
    """Three periods, each beginning where the one before it ends."""

    train: Period
    validation: Period
    holdout: Period

    @property
    def fit(self) -> Period:
        """Train and validation together: the period that the final model is fitted on."""
        return Period(self.train.start, self.validation.end)


def split_by_time(as_of: datetime, first: datetime, last: datetime, config: "SplitConfig") -> Split:
    """Split labelled time: the latest part is the hold-out, the one before it validation, the rest training.

    Args:
        as_of: the moment of training; nothing later may be known.
        first: time of the first event whose label is known at ``as_of``.
        last: time of the last such event.
        config: how long validation and hold-out are.

    Raises:
        TrainingError: there is less than one day left to train on.

    >>> from datetime import UTC
    >>> from tidemill.project.project_config import SplitConfig
    >>> split = split_by_time(
    ...     datetime(2013, 4, 1, tzinfo=UTC), datetime(2013, 1, 1, tzinfo=UTC),
    ...     datetime(2013, 3, 29, tzinfo=UTC), SplitConfig(validation_days=14, holdout_days=14))
    >>> print(split.train, split.validation, split.holdout, sep="\\n")
    2013-01-01T00:00Z/2013-03-01T00:00Z
    2013-03-01T00:00Z/2013-03-15T00:00Z
    2013-03-15T00:00Z/2013-03-29T00:00Z
    """
    end = last.replace(microsecond=0) + timedelta(seconds=1)  # include the last event itself
    have = (end - first) / _DAY
    need = config.validation_days + config.holdout_days + 1
    if last > as_of or have < need:
        raise TrainingError(
            f"too little labelled data as of {as_of:%Y-%m-%d %H:%M}: {max(have, 0):.1f} days "
            f"({first:%Y-%m-%d} to {last:%Y-%m-%d}), at least {need} are needed "
            f"({config.validation_days} to validate, {config.holdout_days} held out, 1 to train)",
            hint="train on more months, or make split.validation_days and split.holdout_days shorter",
        )
    holdout = Period(end - config.holdout_period, end)
    validation = Period(holdout.start - config.validation_period, holdout.start)
    return Split(Period(first, validation.start), validation, holdout)


def known_before(rows: pl.DataFrame, period: Period, dataset: "DatasetConfig") -> pl.DataFrame:
    """Return the rows of ``period`` whose label was known when it ended.

    Predictions for the time after the period begin at its end, so a later label would be a leak: a model
    made at that moment could not have learnt from it.
    """
    return rows.filter(
        pl.col(literal_name(dataset.time_column)).is_between(period.start, period.end, closed="left"),
        pl.col(literal_name(dataset.label_known or dataset.time_column)) <= period.end,
    )


def not_learnt(rows: pl.DataFrame, period: Period, dataset: "DatasetConfig") -> pl.DataFrame:
    """Return the rows that a model of `known_before` of ``period`` has not learnt from.

    They are later in time, or their label was known later.
    """
    time = pl.col(literal_name(dataset.time_column))
    known = pl.col(literal_name(dataset.label_known or dataset.time_column))
    return rows.filter((time >= period.end) | (known > period.end))


def known_too_late(
    rows: pl.DataFrame, period: Period, name: str, dataset: "DatasetConfig"
) -> TrainingError | None:
    """Return the error that all labels of a period became known after its end; None if it has no rows."""
    time, known = dataset.time_column, dataset.label_known or dataset.time_column
    inside = rows.filter(pl.col(literal_name(time)).is_between(period.start, period.end, closed="left"))
    if inside.is_empty():
        return None
    after = (inside[known] - inside[time]).median()
    days = after / _DAY if isinstance(after, timedelta) else 0.0
    return TrainingError(
        f"none of the {inside.height:,} labels of the {name} period {period} was known when it ended: "
        f"labels become known {days:.1f} days after their time, the period is {period.days:.1f} days long",
        hint="nothing may be learnt before it was known: make split.validation_days longer than labels take",
    )


def blocks_of(rows: pl.DataFrame, dataset: "DatasetConfig") -> npt.NDArray[Any]:
    """Return the block of each row for resampling: its day, else its group, else itself; shape (rows,)."""
    if dataset.time is not None and dataset.time in rows.columns:
        return rows[dataset.time].dt.date().to_numpy()
    return np.arange(rows.height) if dataset.group is None else rows[dataset.group].rank("dense").to_numpy()
