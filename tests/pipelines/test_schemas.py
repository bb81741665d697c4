from datetime import timedelta

import polars as pl
import pytest

from pipelines import schemas
from tidemill.data.validation import validate


def spoilt(table, **changes):
    """Return 100 rows, with one of them changed."""
    rows = table.head(100).with_row_index("n")
    return rows.with_columns(
        pl.when(pl.col("n") == 7)
        .then(change if isinstance(change, pl.Expr) else pl.lit(change))
        .otherwise(pl.col(name))
        .cast(table.schema[name])
        .alias(name)
        for name, change in changes.items()
    ).drop("n")


def reasons(table, schema):
    return validate(table, schema, "planted").rejected["reason"].to_list()


@pytest.fixture(scope="session")
def arrived(winter):
    return winter["flights"].drop_nulls(["arr_delay", "tailnum"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"arrived_at": pl.col("departed_at") - timedelta(minutes=5)}, "arrival after departure"),
        ({"arrived_at": pl.col("arrived_at") + timedelta(minutes=1)}, "clock and delay agree"),
        ({"air_time": 990}, "no longer in the air than under way"),
        ({"air_time": 11}, "slower than 600 miles an hour"),
        ({"departed_at": None, "dep_delay": None}, "arrived means departed"),
        ({"carrier": "United"}, "carrier: str_matches"),
        ({"carrier": None}, "carrier: not null"),
        ({"origin": "PHL"}, "origin: isin"),
        ({"dest": "?"}, "dest: str_matches"),
        ({"tailnum": "N 1"}, "tailnum: str_matches"),
        ({"distance": 0}, "distance: in_range"),
        ({"dep_delay": 100_000}, "dep_delay: in_range"),
        ({"scheduled_departure": None}, "scheduled_departure: not null"),
    ],
)
def test_a_bad_flight_is_set_aside(arrived, changes, reason):
    [found] = reasons(spoilt(arrived, **changes), schemas.flights)
    assert reason in found


def test_a_flight_that_is_there_twice_is_set_aside(arrived):
    table = arrived.head(100)
    assert len(reasons(pl.concat([table, table.head(1)]), schemas.flights)) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"tailnum": None},
        {"arrived_at": None, "arr_delay": None, "air_time": None},
        {"departed_at": None, "dep_delay": None, "arrived_at": None, "arr_delay": None, "air_time": None},
    ],
    ids=["no tail number", "diverted or in the air", "cancelled"],
)
def test_a_flight_without_outcome_or_tail_number_is_sound(arrived, changes):
    assert reasons(spoilt(arrived, **changes), schemas.flights) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"wind_speed": 1048.4}, "wind_speed: in_range"),
        ({"wind_gust": 1.0}, "gusts at least as fast as the wind"),
        ({"dewp": 80.0}, "dew point at most the temperature"),
        ({"humid": 101.0}, "humid: in_range"),
        ({"observed_at": None}, "observed_at: not null"),
    ],
)
def test_bad_weather_is_set_aside(winter, changes, reason):
    windy = winter["weather"].filter(pl.col("wind_speed") > 5)
    [found] = reasons(spoilt(windy, **changes), schemas.weather)
    assert reason in found


def test_two_observations_of_one_hour_are_set_aside(winter):
    table = winter["weather"].head(100)
    assert len(reasons(pl.concat([table, table.head(1)]), schemas.weather)) == 2


@pytest.mark.parametrize(
    ("changes", "reason"), [({"seats": 2}, "seats: in_range"), ({"year": 2031}, "year: in_range")]
)
def test_an_aircraft_that_cannot_be_is_set_aside(winter, changes, reason):
    sound = winter["aircraft"].filter(pl.col("seats") > 100)
    [found] = reasons(spoilt(sound, **changes), schemas.aircraft)
    assert reason in found


def test_what_the_data_itself_gets_wrong(csv, winter):
    found = {
        name: validate(winter[name], getattr(schemas, name), name).report.broken
        for name in ("flights", "weather", "aircraft")
    }
    assert found == {
        "flights": {},
        "weather": {"wind_speed: in_range(0, 150)": 1},
        "aircraft": {"seats: in_range(15, 900)": 39},
    }
