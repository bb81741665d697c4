"""Splits by time, and what was known when."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tidemill.training.small_project import START, day, rows
from tidemill.errors import TrainingError
from tidemill.project.project_config import DatasetConfig, SplitConfig
from tidemill.training.splits import Period, known_before, known_too_late, split_by_time

DATASET = DatasetConfig(path="data/training_set.parquet", label="late")


@given(
    days=st.floats(31, 400),
    validation=st.integers(1, 14),
    holdout=st.integers(1, 14),
    delay=st.floats(0, 30),
)
def test_periods_follow_each_other_and_hold_every_event_once(days, validation, holdout, delay):
    last = START + timedelta(days=days)
    config = SplitConfig(validation_days=validation, holdout_days=holdout)
    split = split_by_time(last + timedelta(days=delay), START, last, config)

    assert split.train.start == START
    assert split.train.end == split.validation.start
    assert split.validation.end == split.holdout.start
    assert split.holdout.start < last < split.holdout.end
    assert (split.validation.days, split.holdout.days) == (validation, holdout)
    assert split.train.days >= 1
    assert split.fit == Period(START, split.holdout.start)


def test_too_little_says_how_much_there_is_and_how_much_is_needed():
    with pytest.raises(TrainingError, match=r"20\.0 days .* at least 29 are needed \(14 .* 14") as caught:
        split_by_time(day(30), START, START + timedelta(days=20), SplitConfig())
    assert "split.holdout_days" in caught.value.hint


def test_an_event_after_the_moment_of_training_is_refused():
    with pytest.raises(TrainingError, match="too little"):
        split_by_time(day(100), START, day(101), SplitConfig())


def test_rows_whose_label_came_after_the_period_are_left_out():
    period = Period(day(10), day(20))
    known = known_before(rows(), period, DATASET)

    assert known["event_timestamp"].min() >= period.start
    assert known["label_known_at"].max() <= period.end
    assert known["event_timestamp"].max() <= period.end - timedelta(days=2)
    assert known.height == 8 * 30 + 1  # two days of labels were still to come


def test_labels_that_all_come_after_the_period_are_said_to():
    period = Period(day(0), day(7))
    table = rows(3).with_columns(label_known_at=pl.col("event_timestamp") + timedelta(days=10))
    dataset = DatasetConfig(path="-", label="late")
    assert str(known_too_late(table, period, "validation", dataset)) == (
        "none of the 66 labels of the validation period 2013-01-01T12:00Z/2013-01-08T12:00Z was known when "
        "it ended: labels become known 10.0 days after their time, the period is 7.0 days long"
    )
    assert known_too_late(table, Period(day(50), day(60)), "validation", dataset) is None


def test_a_period_is_half_open():
    period = Period(datetime(2013, 1, 3, tzinfo=UTC), datetime(2013, 1, 5, tzinfo=UTC))
    known = known_before(
        rows().with_columns(pl.col("event_timestamp").alias("label_known_at")), period, DATASET
    )
    assert known["event_timestamp"].min() == period.start
    assert known["event_timestamp"].max() < period.end
