from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipelines.features import VIEWS, build_features
from pipelines.ingest import tables
from pipelines.lateness import closings
from pipelines.span import NEW_YORK, Span

# In the middle of a day: flights are in the air, the hour's weather is not known yet.
MOMENT = datetime(2013, 2, 10, 19, 30, tzinfo=UTC)


def closing_of(day):
    return datetime(day.year, day.month, day.day, 3, tzinfo=NEW_YORK).astimezone(UTC)


def until(features, moment):
    return {name: table.filter(pl.col("event_timestamp") <= moment) for name, table in features.items()}


@pytest.fixture(scope="session")
def features(winter):
    return build_features(**winter)


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("moment", [MOMENT, datetime(2013, 1, 20, 8, tzinfo=UTC)])
def test_what_happens_later_changes_no_earlier_row(winter, features, view, moment):
    later = {fact: pl.col(fact) > moment for fact in ("scheduled_departure", "departed_at", "arrived_at")}
    flights = winter["flights"].with_columns(
        *(
            pl.when(later["scheduled_departure"]).then(pl.col(key).reverse()).otherwise(key).alias(key)
            for key in ("carrier", "origin", "dest", "tailnum")
        ),
        pl.when(later["departed_at"])
        .then(pl.col("dep_delay") + 77)
        .otherwise("dep_delay")
        .alias("dep_delay"),
        pl.when(later["arrived_at"]).then(-pl.col("arr_delay") - 9).otherwise("arr_delay").alias("arr_delay"),
        (
            pl.col("arrived_at")
            + pl.when(later["arrived_at"]).then(timedelta(hours=5)).otherwise(timedelta(0))
        ),
    )
    observed_later = pl.col("observed_at") > moment - timedelta(hours=1)
    weather = winter["weather"].with_columns(
        pl.when(observed_later).then(pl.col(name) + 3).otherwise(name).alias(name)
        for name in ("temp", "humid", "wind_speed", "wind_dir", "precip", "pressure", "visib")
    )
    changed = build_features(flights, weather, winter["aircraft"])
    assert_frame_equal(until(changed, moment)[view], until(features, moment)[view], check_exact=True)
    if view != "aircraft_profile":
        assert not changed[view].equals(features[view]), "the change must show afterwards"


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
def test_a_shorter_history_has_the_same_rows(csv, features, view):
    known = tables(Span(date(2013, 1, 1), date(2013, 3, 1), MOMENT), *csv)
    shorter = until(build_features(**known), MOMENT)[view]
    assert shorter.height > 50
    assert_frame_equal(shorter, until(features, MOMENT)[view], check_exact=True)


@pytest.mark.parametrize("view", VIEWS)
def test_a_row_per_key_and_moment_all_numbers(features, view):
    table = features[view]
    key = table.columns[0]
    assert not table.select(key, "event_timestamp").is_duplicated().any()
    assert table.schema["event_timestamp"] == pl.Datetime("us", "UTC")
    assert set(table.drop(key, "event_timestamp").dtypes) == {pl.Float64}
    assert not any(table.select(pl.col(pl.Float64).is_nan().any()).row(0))
    assert table["event_timestamp"].is_sorted()


def test_lateness_is_that_of_days_strictly_before(winter, features):
    rows = features["carrier_lateness"]
    clock = rows["event_timestamp"].dt.convert_time_zone(NEW_YORK.key)
    assert set(clock.dt.hour()) == {3}
    closing = closing_of(date(2013, 2, 6))
    day = pl.col("scheduled_departure").dt.convert_time_zone(NEW_YORK.key).dt.date()
    flights = winter["flights"].filter(
        pl.col("carrier") == "UA", pl.col("arr_delay").is_not_null(), pl.col("arrived_at") <= closing
    )
    before = {
        days: flights.filter(day < closing.date(), day >= closing.date() - timedelta(days=days))
        for days in (1, 7, 28)
    }
    row = rows.row(
        by_predicate=(pl.col("carrier") == "UA") & (pl.col("event_timestamp") == closing), named=True
    )
    for days, flown in before.items():
        # a flight of the last evening but these that lands after the closing counts a day later
        assert row[f"carrier_late_share_{days}d"] == pytest.approx((flown["arr_delay"] > 15).mean(), abs=0.02)


def test_departures_are_those_of_the_three_hours_before(winter, features):
    moment = datetime(2013, 2, 5, 20, tzinfo=UTC)
    left = winter["flights"].filter(
        pl.col("origin") == "JFK",
        pl.col("departed_at").is_between(moment - timedelta(hours=3), moment, closed="left"),
    )
    row = features["origin_departures"].row(
        by_predicate=(pl.col("origin") == "JFK") & (pl.col("event_timestamp") == moment), named=True
    )
    assert row["departures_3h"] == left.height > 10
    assert row["departures_late_share_3h"] == (left["dep_delay"] > 15).mean()


def test_a_quiet_night_is_no_gap_in_the_feed(features):
    night = features["origin_departures"].filter(
        pl.col("event_timestamp") == datetime(2013, 2, 6, 9, tzinfo=UTC)
    )
    assert night["departures_3h"].to_list() == [0.0] * 3
    assert night["departures_delay_3h"].null_count() == 3


def test_weather_is_known_when_its_hour_is_over(winter, features):
    observed = winter["weather"].filter(pl.col("origin") == "LGA")
    rows = features["origin_weather"].filter(pl.col("origin") == "LGA")
    assert (rows["event_timestamp"] == observed["observed_at"] + timedelta(hours=1)).all()
    wet = observed.with_row_index("n").filter(pl.col("precip") > 0.1).row(0, named=True)
    span = pl.col("observed_at").is_between(
        wet["observed_at"] - timedelta(hours=6), wet["observed_at"], closed="right"
    )
    fallen = observed.filter(span)["precip"].sum()
    assert rows["precipitation_6h"][wet["n"]] == pytest.approx(fallen)


def test_west_wind_blows_to_the_east(winter):
    weather = winter["weather"].head(1).with_columns(wind_dir=270.0, wind_speed=10.0)
    row = build_features(winter["flights"], weather, winter["aircraft"])["origin_weather"].row(0, named=True)
    assert (row["wind_east"], row["wind_north"]) == (pytest.approx(10), pytest.approx(0, abs=1e-9))


def test_an_aircraft_is_judged_by_its_last_flights(winter, features):
    flown = winter["flights"].filter(pl.col("tailnum") == "N14228", pl.col("arr_delay").is_not_null())
    rows = features["aircraft_lateness"].filter(pl.col("tailnum") == "N14228")
    assert rows["aircraft_new_flights"].sum() == flown.height
    last = rows.row(-1, named=True)
    assert last["aircraft_late_share_30"] == (flown["arr_delay"].tail(30) > 15).mean()
    assert last["aircraft_delay_10"] == flown["arr_delay"].tail(10).clip(-60, 180).mean()


def test_a_key_that_vanishes_has_rows_for_four_weeks(winter):
    flights = winter["flights"].filter(
        pl.col("carrier").is_in(["UA"]), pl.col("scheduled_departure") < datetime(2013, 1, 10, tzinfo=UTC)
    )
    back = winter["flights"].filter(
        pl.col("carrier") == "UA", pl.col("scheduled_departure") > datetime(2013, 2, 25, tzinfo=UTC)
    )
    alone = build_features(flights, winter["weather"], winter["aircraft"])["carrier_lateness"]
    both = build_features(pl.concat([flights, back]), winter["weather"], winter["aircraft"])[
        "carrier_lateness"
    ]
    last = closings(flights)["closing"].max()
    assert alone["event_timestamp"].max() == closing_of(last + timedelta(days=27))
    assert_frame_equal(both.head(alone.height), alone, check_exact=True)
    gap = alone["event_timestamp"].max(), closing_of(date(2013, 2, 25))
    assert not both["event_timestamp"].is_between(*gap, closed="none").any()
