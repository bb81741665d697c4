import itertools
import multiprocessing
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from tidemill.errors import FeatureError
from tidemill.features import feature_store as features
from tidemill.features.online.online_features import OnlineFeatures
from tidemill.project import load_project
from tidemill.settings import Settings

pytestmark = pytest.mark.engine

START = datetime(2013, 1, 1, tzinfo=UTC)


def hours(count):
    return START + timedelta(hours=count)


def row(origin="JFK", carrier="AA", departure=4):
    return {"origin": origin, "carrier": carrier, "departure": hours(departure)}


@pytest.fixture
def reader(project):
    features.apply(project)
    features.materialise(project, hours(3))
    return OnlineFeatures(features.open_store(project), "mini")


def test_reads_the_latest_values_in_the_order_of_the_service_and_of_the_rows(reader):
    first, second, third = reader.read([row(), row("EWR", "UA", 23), row()], [hours(3)] * 3)
    assert list(first.values.items()) == [
        ("hour", 4.0),
        ("wind_squared", 400.0),
        ("late_share", 0.2),
        ("flights", 6.0),
        ("rain", 0.5),
    ]
    assert second.values == {"hour": 23, "wind_squared": None, "late_share": 0.3, "flights": 7, "rain": 0.25}
    assert third == first
    assert first.flags == second.flags == ()
    assert reader.read([], []) == []


def test_flags_what_is_unknown(reader):
    unknown, none = reader.read([row("LGA", "??"), row(None, "AA")], [hours(3)] * 2)
    assert unknown.flags == ("missing:lateness", "missing:weather")
    assert unknown.values == {
        "hour": 4,
        "wind_squared": None,
        "late_share": None,
        "flights": None,
        "rain": None,
    }
    assert none.flags == ("missing:weather",)
    assert none.values["late_share"] == 0.2


def test_a_value_past_its_ttl_is_not_served_and_nothing_is_computed_from_it(reader):
    """The weather of hour 2 holds for three hours."""
    last, expired, all_gone = reader.read([row()] * 3, [hours(5), hours(5.001), hours(24 * 8)])
    assert last.values["rain"] == 0.5
    assert last.flags == ()
    assert expired.values == {**last.values, "rain": None, "wind_squared": None}
    assert expired.flags == ("expired:weather",)
    assert set(all_gone.flags) == {"expired:weather", "expired:lateness"}
    assert all_gone.values["hour"] == 4


def test_a_value_from_after_the_moment_is_served_and_flagged(reader):
    (answer,) = reader.read([row()], [hours(1)])
    assert answer.values["rain"] == 0.5
    assert answer.flags == ("future:weather",)


def test_naive_moments_are_utc(reader):
    naive = reader.read(
        [{**row(), "departure": hours(4).replace(tzinfo=None)}], [hours(3).replace(tzinfo=None)]
    )
    assert naive == reader.read([row()], [hours(3)])


def test_serves_exactly_what_training_saw(project):
    """For all keys, known or not, and at moments before and after expiry."""
    features.apply(project)
    for now in (0, 1, 2, 4, 8, 24 * 9):
        features.materialise(project, hours(now))
        reader = OnlineFeatures(features.open_store(project), "mini")
        rows = [
            row(*keys)
            for keys in itertools.product(["JFK", "EWR", "LGA", None], ["AA", "UA", "??", None], [0, 13])
        ]
        frame = pl.DataFrame(rows).with_columns(event_timestamp=pl.lit(hours(now)))
        trained = features.training_frame(project, frame).select(features.service_features(project))
        served = [answer.values for answer in reader.read(rows, [hours(now)] * len(rows))]
        assert served == trained.to_dicts()


def test_pandas_transformations_work_too(project, define):
    define(
        ('mode="python"', 'mode="pandas"'),
        ("inputs: dict) -> dict:", "inputs):"),
        ("    return {\n", "    import pandas as pd\n\n    return pd.DataFrame({\n"),
        ("    }\n\n\nmini", "    })\n\n\nmini"),
    )
    features.apply(project)
    features.materialise(project, hours(3))
    reader = OnlineFeatures(features.open_store(project), "mini")
    answers = reader.read([row(), row("LGA")], [hours(3)] * 2)
    assert [answer.values["wind_squared"] for answer in answers] == [400.0, None]
    frame = pl.DataFrame([row(), row("LGA")]).with_columns(event_timestamp=pl.lit(hours(3)))
    assert features.training_frame(project, frame)["wind_squared"].to_list() == [400.0, None]


def test_one_view_under_two_keys(project, define):
    define(
        ('"rain", dtype=Float64)]', '"rain", dtype=Float64), Field(name="snow", dtype=Float64)]'),
        (
            "lateness, weather[[",
            'lateness, weather[["snow"]].with_name("there").with_join_key_map({"origin": "dest"}), weather[[',
        ),
    )
    path = project.root / "data" / "weather.parquet"
    pl.read_parquet(path).with_columns(snow=pl.col("rain") * 10).write_parquet(path)
    features.apply(project)
    features.materialise(project, hours(3))
    (answer,) = OnlineFeatures(features.open_store(project), "mini").read(
        [{**row("JFK"), "dest": "EWR"}], [hours(9)]
    )
    assert answer.flags == ("expired:there", "expired:weather")
    (answer,) = OnlineFeatures(features.open_store(project), "mini").read(
        [{**row("JFK"), "dest": "EWR"}], [hours(3)]
    )
    assert answer.values["snow"] == 2.5
    assert answer.values["rain"] == 0.5


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"origin": "JFK", "departure": hours(1)}, "lacks 'carrier', the key of view 'lateness'"),
        ({"origin": "JFK", "carrier": "AA"}, "lacks 'departure', which on-demand view 'schedule' reads"),
        ({**row(), "departure": None}, "on-demand view 'schedule' failed: AttributeError"),
    ],
)
def test_says_what_a_row_lacks(reader, bad, message):
    with pytest.raises(FeatureError, match=message):
        reader.read([bad], [hours(3)])


def test_says_when_moments_and_rows_differ_in_number(reader):
    with pytest.raises(FeatureError, match="1 rows but 0 moments"):
        reader.read([row()], [])


def test_says_when_the_online_store_is_gone(project, reader):
    with sqlite3.connect(project.home / "online.db") as connection:
        connection.execute("DROP TABLE mini_weather")
    with pytest.raises(
        FeatureError, match="'weather' from the online store failed: no such table: mini_weather"
    ):
        reader.read([row()], [hours(3)])


def test_refuses_features_of_types_that_no_model_takes(project, define):
    define(('"rain", dtype=Float64', '"rain", dtype=Bytes'), ("import Float64,", "import Bytes, Float64,"))
    features.apply(project)
    with pytest.raises(FeatureError, match="'rain' of 'weather' is Bytes: models take numbers"):
        OnlineFeatures(features.open_store(project), "mini")


def test_refuses_two_features_of_one_name(project, define):
    define(('weather[["rain"]]]', 'weather[["rain"]], weather[["rain"]].with_name("there")]'))
    features.apply(project)
    with pytest.raises(FeatureError, match="service 'mini' has two features called rain"):
        OnlineFeatures(features.open_store(project), "mini")


def test_says_which_services_there_are(project):
    features.apply(project)
    with pytest.raises(FeatureError, match=r"no feature service 'other' \(there are: mini\)"):
        OnlineFeatures(features.open_store(project), "other")


def _write_again_and_again(root, times, started):
    project = load_project(root, Settings())
    started.set()
    for _ in range(times):
        features.materialise(project, hours(3))


def test_threads_read_while_another_process_writes(project, reader):
    spawn = multiprocessing.get_context("spawn")
    started = spawn.Event()
    writer = spawn.Process(target=_write_again_and_again, args=(project.root, 20, started))
    writer.start()
    assert started.wait(120)
    with ThreadPoolExecutor(4) as pool:
        while writer.is_alive():
            answers = list(pool.map(lambda _: reader.read([row()], [hours(3)])[0], range(50)))
            assert all(answer.values["rain"] == 0.5 and answer.flags == () for answer in answers)
    writer.join()
    assert writer.exitcode == 0
