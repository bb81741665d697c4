"""What only the SQLite store promises: its file, its tables, and who may use them at once."""

import multiprocessing
import os
import sqlite3
import time

import pandas as pd
import pytest
from feast import FeatureView, Field
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Float64, String

from tests.tidemill.features.online.online_repository import (
    START,
    at,
    definitions,
    make_store,
    online_section,
    source,
    write_sources,
)
from tidemill.errors import FeatureError
from tidemill.features.feature_store import push
from tidemill.features.online.online_features import OnlineFeatures

pytestmark = pytest.mark.engine
KEY = EntityKey(join_keys=["origin"], entity_values=[Value(string_val="JFK")])


@pytest.fixture
def store(tmp_path):
    store = make_store(tmp_path / "repo", online_section("sqlite", None), project="station")
    write_sources(tmp_path / "repo")
    store.apply(definitions())
    return store


def report(wind, hour=1.0, origin="JFK"):
    return pd.DataFrame({"origin": [origin], "wind": [wind], "rain": [0.0], "event_timestamp": [at(hour)]})


def stored(store, view="weather", name="wind", key=KEY):
    [(_, values)] = store.provider.online_read(store.config, store.get_feature_view(view), [key], [name])
    return None if values is None or values[name].WhichOneof("val") is None else values[name]


def test_a_row_is_a_row_that_people_can_read(store):
    push(store, "weather", report(7.5))
    with sqlite3.connect(store.repo_path / "online.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        [row] = connection.execute(
            'SELECT event_us, created_us, wind, rain FROM "station_weather"'
        ).fetchall()
    assert row == (int(at(1).timestamp() * 1e6), None, 7.5, 0.0)


def test_of_equal_times_the_later_written_row_stays(store):
    view, key = (
        store.get_feature_view("things"),
        EntityKey(join_keys=["gate"], entity_values=[Value(int64_val=1)]),
    )
    for created, value in ((1, 1.0), (3, 3.0), (2, 2.0), (3, 4.0), (None, 5.0)):
        row = (key, {"double": Value(double_val=value)}, START, None if created is None else at(created))
        store.provider.online_write_batch(store.config, view, [row], None)
    assert stored(store, "things", "double", key).double_val == 4.0


def test_a_zone_of_the_machine_changes_nothing(store, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        push(store, "weather", report(1.0, hour=2.5))
        [row] = OnlineFeatures(store, "all").read([{"origin": "JFK", "gate": 1}], [at(5.5)])
        assert row.values["wind"] == 1.0
        [row] = OnlineFeatures(store, "all").read([{"origin": "JFK", "gate": 1}], [at(5.5001)])
        assert "expired:weather" in row.flags
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


def test_who_still_serves_the_definitions_of_before_goes_on(store):
    push(store, "weather", report(7.5).assign(rain=2.0))
    reader = OnlineFeatures(store, "all")
    definition, _ = changed_weather(Field(name="wind", dtype=Float64))
    store.apply([], objects_to_delete=[store.get_feature_service("all")], partial=False)
    store.apply(definition)
    [row] = reader.read([{"origin": "JFK", "gate": 1}], [at(1)])
    assert (row.values["wind"], row.values["rain"]) == (7.5, 0.5)
    assert "default:rain" in row.flags


def changed_weather(*fields):
    [origin, _, weather, *_] = definitions()
    return [
        origin,
        FeatureView(name="weather", entities=[origin], schema=list(fields), source=source("weather")),
    ], weather


def test_a_feature_that_is_new_or_of_another_type_has_no_value_until_it_is_written(store):
    push(store, "weather", report(7.5))
    reader = OnlineFeatures(store, "all")
    definition, _ = changed_weather(Field(name="wind", dtype=String), Field(name="snow", dtype=Float64))
    store.apply([], objects_to_delete=[store.get_feature_service("all")], partial=False)
    store.apply(definition)
    assert stored(store, name="wind") is None
    assert stored(store, name="snow") is None
    push(
        store,
        "weather",
        pd.DataFrame({"origin": ["JFK"], "wind": ["gale"], "snow": [1.0], "event_timestamp": [at(2)]}),
    )
    assert stored(store, name="wind").string_val == "gale"
    with pytest.raises(
        FeatureError, match="a feature is not of its declared type: could not convert string to float: 'gale'"
    ):
        reader.read([{"origin": "JFK", "gate": 1}], [at(2)])


def test_says_what_sqlite_cannot_hold(store):
    for fields, message in (
        ((Field(name="a", dtype=Float64), Field(name="A", dtype=Float64)), "differ by case only"),
        (
            [Field(name=f"f{n}", dtype=Float64) for n in range(1991)],
            "has 1991 features, and SQLite takes 1990",
        ),
    ):
        definition, _ = changed_weather(*fields)
        with pytest.raises(FeatureError, match=message):
            store.apply(definition)


def test_takes_over_from_feasts_own_store_when_the_definitions_are_applied(tmp_path):
    old = make_store(tmp_path, online_section("feast-sqlite", None), project="same")
    write_sources(tmp_path)
    old.apply(definitions())
    new = make_store(tmp_path, online_section("sqlite", None), project="same")
    with pytest.raises(FeatureError, match="was made by another online store"):
        push(new, "weather", report(1.0))
    new.apply(definitions())
    push(new, "weather", report(1.0))
    assert stored(new).double_val == 1.0


def test_teardown_leaves_no_file_and_no_file_is_an_error_that_says_so(store):
    push(store, "weather", report(1.0))
    store.teardown()
    assert not list(store.repo_path.glob("online.db*"))
    view = definitions()[2]
    with pytest.raises(sqlite3.OperationalError, match="no such file"):
        store.provider.online_read(store.config, view, [KEY], ["wind"])


def test_a_disk_that_is_full_leaves_what_was_there(store):
    push(store, "weather", report(1.0))
    online = store.provider.online_store
    path = store.repo_path / "online.db"
    with online._connections.writing(path) as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    with online._connections._locks[True]:
        online._connections._open[os.getpid(), path, True].execute(f"PRAGMA max_page_count = {pages}")
    many = pd.concat([report(2.0, hour=2, origin=f"{n:0500}") for n in range(100)] + [report(2.0, hour=2)])
    with pytest.raises(FeatureError, match=r"online\.db cannot be written: database or disk is full"):
        push(store, "weather", many)
    assert stored(store).double_val == 1.0


def _read_in_child(store, answer):
    answer.put(stored(store).double_val)


def test_a_forked_child_opens_its_own_connections(store):
    push(store, "weather", report(1.0))
    assert stored(store).double_val == 1.0
    fork = multiprocessing.get_context("fork")
    answer = fork.SimpleQueue()
    child = fork.Process(target=_read_in_child, args=(store, answer))
    child.start()
    assert answer.get() == 1.0
    child.join()
    assert child.exitcode == 0


async def _both(store):
    view = store.get_feature_view("weather")
    row = (KEY, {"wind": Value(double_val=3.0), "rain": Value()}, START, None)
    await store.provider.online_write_batch_async(store.config, view, [row], None)
    return await store.provider.online_read_async(store.config, view, [KEY], ["wind"])


def test_can_be_awaited(store):
    import asyncio

    [(known, values)] = asyncio.run(_both(store))
    assert (known, values["wind"].double_val) == (START, 3.0)
    assert store.provider.async_supported.online.read
