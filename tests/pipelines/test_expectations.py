from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from tidemill.data.expectations.declarations import load_expectations
from tidemill.data.validation.in_memory import validate_frames

DECLARED = load_expectations(Path(__file__).parents[2])


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


@pytest.fixture
def reasons(winter):
    def of(name, table):
        others = {key: winter[key] for key in winter if key != name}
        return validate_frames({**others, name: table}, DECLARED)[name].rejected["reason"].to_list()

    return of


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
def test_a_bad_flight_is_set_aside(reasons, arrived, changes, reason):
    [found] = reasons("flights", spoilt(arrived, **changes))
    assert reason in found


def test_a_flight_that_is_there_twice_is_set_aside(reasons, arrived):
    table = arrived.head(100)
    assert len(reasons("flights", pl.concat([table, table.head(1)]))) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"tailnum": None},
        {"arrived_at": None, "arr_delay": None, "air_time": None},
        {"departed_at": None, "dep_delay": None, "arrived_at": None, "arr_delay": None, "air_time": None},
    ],
    ids=["no tail number", "diverted or in the air", "cancelled"],
)
def test_a_flight_without_outcome_or_tail_number_is_sound(reasons, arrived, changes):
    assert reasons("flights", spoilt(arrived, **changes)) == []


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
def test_bad_weather_is_set_aside(reasons, winter, changes, reason):
    windy = winter["weather"].filter(pl.col("wind_speed") > 5)
    [found] = reasons("weather", spoilt(windy, **changes))
    assert reason in found


def test_two_observations_of_one_hour_are_set_aside(reasons, winter):
    table = winter["weather"].head(100)
    assert len(reasons("weather", pl.concat([table, table.head(1)]))) == 2


@pytest.mark.parametrize(
    ("changes", "reason"), [({"seats": 2}, "seats: in_range"), ({"year": 2031}, "year: in_range")]
)
def test_an_aircraft_that_cannot_be_is_set_aside(reasons, winter, changes, reason):
    sound = winter["aircraft"].filter(pl.col("seats") > 100)
    [found] = reasons("aircraft", spoilt(sound, **changes))
    assert reason in found


def test_what_the_data_itself_gets_wrong(winter):
    found = {name: table.report for name, table in validate_frames(winter, DECLARED).items()}
    assert not any(report.failed for report in found.values())
    broken = {name: report.broken for name, report in found.items()}
    assert broken == {
        "flights": {},
        "weather": {"wind_speed: in_range(0, 150)": 1},
        "aircraft": {"seats: in_range(15, 900)": 39},
    }
