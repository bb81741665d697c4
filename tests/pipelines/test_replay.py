import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipelines.features import VIEWS
from pipelines.replay import FlightReplay


def day(month, day_):
    return datetime(2013, month, day_, 4, tzinfo=UTC)


@pytest.fixture(scope="session")
def replay():
    return FlightReplay()


@pytest.mark.slow
def test_importing_reads_nothing():
    code = "from pipelines.replay import replay; print(sorted(vars(replay)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "['_source']"


@pytest.mark.slow
def test_a_sample_of_each_day_in_order(replay):
    rows = replay.requests(day(4, 1), day(4, 8), 20, seed=1)
    assert rows.columns == [
        *("carrier", "origin", "dest", "tailnum"),
        *("scheduled_departure", "at", "label", "label_at"),
    ]
    assert rows.height == 7 * 20
    assert rows["at"].is_sorted()
    assert rows["at"].min() >= day(4, 1)
    assert rows["at"].max() < day(4, 8)
    assert (rows["scheduled_departure"] - rows["at"] == timedelta(hours=2)).all()
    assert (rows["label_at"] - rows["scheduled_departure"] == timedelta(days=2)).all()
    assert set(rows["label"].drop_nulls()) == {0, 1}


def test_the_draw_depends_on_day_and_seed_alone(replay):
    week = replay.requests(day(4, 1), day(4, 8), 20, seed=1)
    part = week.filter(pl.col("at") >= day(4, 3), pl.col("at") < day(4, 5))
    assert_frame_equal(replay.requests(day(4, 3), day(4, 5), 20, seed=1), part)
    eastern = timezone(timedelta(hours=-4))
    same = replay.requests(day(4, 3).astimezone(eastern), day(4, 5).astimezone(eastern), 20, seed=1)
    assert_frame_equal(same, part)
    assert not replay.requests(day(4, 1), day(4, 8), 20, seed=2).equals(week)
    more = replay.requests(day(4, 1), day(4, 8), 30, seed=1)
    assert more.join(week, on=week.columns, how="inner", nulls_equal=True).height >= week.height


def test_cancelled_flights_are_asked_about_and_have_no_label(replay):
    rows = replay.requests(day(2, 8), day(2, 10), 1000, seed=0)  # a snow storm
    assert rows["label"].null_count() > 300


def test_no_requests_outside_the_year(replay):
    assert replay.requests(
        datetime(2014, 6, 1, tzinfo=UTC), datetime(2014, 7, 1, tzinfo=UTC), 9, 0
    ).is_empty()


@pytest.mark.slow
def test_updates_come_when_they_became_known(replay):
    updates = replay.updates(day(4, 1), day(4, 3))
    moments = [moment for moment, _, _ in updates]
    assert moments == sorted(moments)
    assert day(4, 1) <= moments[0] <= moments[-1] < day(4, 3)
    assert len({(moment, view) for moment, view, _ in updates}) == len(updates)
    assert {view for _, view, _ in updates} == set(VIEWS) - {"aircraft_profile"}
    for moment, _, rows in updates:
        assert set(rows["event_timestamp"]) == {moment}


def test_updates_of_two_spans_are_those_of_both_together(replay):
    whole = replay.updates(day(4, 1), day(4, 3))
    parts = replay.updates(day(4, 1), day(4, 2)) + replay.updates(day(4, 2), day(4, 3))
    assert [update[:2] for update in whole] == [update[:2] for update in parts]
    assert all(a.equals(b) for (_, _, a), (_, _, b) in zip(whole, parts, strict=True))
