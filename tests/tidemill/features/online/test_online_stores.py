"""One suite over all online stores: Tidemill's two, and Feast's own two where they can do it."""

import contextlib
import io
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pytest
from feast.data_source import PushMode
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from tests.tidemill.features.online.online_repository import (
    START,
    at,
    definitions,
    make_store,
    online_section,
    write_sources,
)
from tidemill.errors import FeatureError
from tidemill.features.feature_store import push
from tidemill.features.online.freshness import freshness
from tidemill.features.online.online_features import OnlineFeatures
from tidemill.features.online.online_rows import online_rows

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:feast"),
]

OURS = ["sqlite", "redis"]
ALL = [*OURS, "feast-sqlite", "feast-redis"]


def fill(store, end=2.0):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        store.materialize(START - timedelta(days=1), at(end))


@pytest.fixture(scope="module")
def filled(tmp_path_factory, redis_address):
    """Stores of each kind, opened and filled at first need; tests of this fixture only read."""
    opened = {}

    def of_kind(kind):
        if kind not in opened:
            folder = tmp_path_factory.mktemp(kind)
            opened[kind] = make_store(folder, online_section(kind, redis_address))
            write_sources(folder)
            opened[kind].apply(definitions())
            fill(opened[kind])
        return opened[kind]

    return of_kind


@pytest.fixture
def empty(tmp_path, request):
    """A store of its own, applied, with nothing in it."""

    def of_kind(kind):
        address = request.getfixturevalue("redis_address") if "redis" in kind else None
        store = make_store(tmp_path / "repo", online_section(kind, address))
        write_sources(tmp_path / "repo")
        store.apply(definitions())
        return store

    return of_kind


def read(store, origin="JFK", gate=1, hour=2.0):
    [row] = OnlineFeatures(store, "all").read([{"origin": origin, "gate": gate}], [at(hour)])
    return row


@pytest.mark.parametrize("kind", ALL)
def test_features_for_serving_are_the_same_over_every_store(filled, kind):
    reader = OnlineFeatures(filled(kind), "all")
    rows = [
        {"origin": "JFK", "gate": 1},
        {"origin": "JFK", "gate": 2},
        {"origin": "EWR", "gate": 1},
        {"origin": "LGA", "gate": 9},
        {"origin": None, "gate": 1},
    ]
    first, second, third, unknown, none = reader.read(rows, [at(2)] * 5)
    assert first.values == {"wind": 20.0, "rain": 1.5, "queue": 7.0, "open": 1.0, "fuel_price": 3.25}
    assert first.flags == ()
    assert second.values == first.values | {"queue": None, "open": 0.0}
    assert third.values == {"wind": None, "rain": 0.5, "queue": -3.0, "open": None, "fuel_price": 3.25}
    assert third.flags == ("default:rain",)  # NaN is unknown
    assert unknown.values == none.values
    assert unknown.values == {"wind": None, "rain": 0.5, "queue": None, "open": None, "fuel_price": 3.25}
    assert unknown.flags == none.flags == ("missing:weather", "missing:gates", "default:rain")
    expired, early = reader.read(rows[:1] * 2, [at(5.001), at(1.5)])
    assert expired.flags == ("expired:weather", "default:rain")
    assert expired.values["wind"] is None
    assert early.flags == ("future:weather",)
    assert reader.read(rows[:1], [at(5)])[0] == first


@pytest.mark.parametrize("kind", ALL)
def test_feast_reads_every_type_back(filled, kind):
    names = ["double", "single", "short", "long", "flag", "text", "moment", "raw", "many"]
    found = (
        filled(kind)
        .get_online_features(
            features=[f"things:{name}" for name in names], entity_rows=[{"gate": 1}, {"gate": 2}, {"gate": 3}]
        )
        .to_dict()
    )
    assert [found[name][0] for name in names] == [
        *(-0.5, 0.25, -5, 2**62, False, "é", at(5), b"\x00\xff", [1.0, 2.0])
    ]
    assert all(found[name][1:] == [None, None] for name in names)


@pytest.mark.parametrize("kind", ALL)
def test_a_later_materialisation_brings_what_is_new(empty, kind):
    store = empty(kind)
    fill(store, 1)
    assert read(store, hour=1).values["wind"] == 10.0
    with contextlib.redirect_stdout(io.StringIO()):
        store.materialize_incremental(at(2))
    assert read(store).values["wind"] == 20.0
    fill(store, 2)  # again: nothing changes
    assert read(store).values["wind"] == 20.0


def report(origin="JFK", wind=99.0, rain=0.0, hour=2.5):
    return pd.DataFrame({"origin": [origin], "wind": [wind], "rain": [rain], "event_timestamp": [at(hour)]})


@pytest.mark.parametrize("kind", OURS)
def test_what_is_older_never_replaces_what_is_newer(empty, kind):
    store = empty(kind)
    push(store, "station_reports", report(wind=1.0, hour=2.5))
    push(store, "station_reports", report(wind=2.0, hour=2.4999))
    fill(store, 2)
    assert read(store, hour=3).values["wind"] == 1.0
    push(store, "station_reports", report(wind=3.0, hour=2.5))  # a correction
    assert read(store, hour=3).values["wind"] == 3.0
    push(store, "station_reports", report(wind=None, rain=None, hour=2.6))
    assert read(store, hour=3).values == {
        **{"wind": None, "rain": 0.5, "queue": 7.0, "open": 1.0, "fuel_price": 3.25}
    }
    both = pd.concat([report(wind=5.0, hour=2.8), report(wind=6.0, hour=2.7)])
    push(store, "weather", both)
    assert read(store, hour=3).values["wind"] == 5.0


def test_a_view_without_entities_has_its_key_also_when_feast_took_it_away(empty):
    store = empty("sqlite")
    rows = pa.table({"fuel_price": [3.0], "event_timestamp": pa.array([at(1)])})
    whole = store.registry.get_feature_view("country", store.project)
    [listed] = [view for view in store.list_feature_views() if view.name == "country"]
    assert (listed.entities, listed.entity_columns) == ([], [])
    assert online_rows(listed, rows).keys == online_rows(whole, rows).keys


@pytest.mark.parametrize("kind", ALL)
def test_feast_pushes_online_offline_and_both(empty, kind):
    store = empty(kind)
    for hour, mode in ((3, PushMode.ONLINE), (4, PushMode.OFFLINE), (5, PushMode.ONLINE_AND_OFFLINE)):
        store.push("station_reports", report(wind=float(hour), hour=hour), to=mode)
    assert read(store, hour=5).values["wind"] == 5.0
    asked = pd.DataFrame({"origin": ["JFK"] * 3, "event_timestamp": [at(3.5), at(4.5), at(5.5)]})
    trained = store.get_historical_features(asked, features=["weather:wind"]).to_df()
    assert trained["wind"].tolist() == [20.0, 4.0, 5.0]


@pytest.mark.parametrize("kind", OURS)
def test_our_push_goes_the_same_ways(empty, kind):
    store = empty(kind)
    push(store, "station_reports", report(wind=4.0, hour=4), to="offline")
    assert "missing:weather" in read(store, hour=4).flags
    push(store, "station_reports", report(wind=5.0, hour=5), to="online_and_offline")
    assert read(store, hour=5).values["wind"] == 5.0


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wind": ["strong"]}, "view 'weather': column 'wind' is declared DOUBLE and holds string"),
        ({"origin": [1.5]}, "view 'weather': column 'origin' is declared STRING and holds double"),
        ({"origin": [None]}, "view 'weather': column 'origin' is null in 1 of 1 rows"),
        ({"event_timestamp": ["noon"]}, "view 'weather': column 'event_timestamp' holds string"),
    ],
)
def test_a_column_of_another_type_is_named_and_nothing_is_written(empty, kind, change, message):
    store = empty(kind)
    with pytest.raises(FeatureError, match=message):
        push(store, "station_reports", report().assign(**change))
    with pytest.raises(FeatureError, match="rows for view 'weather' have no column 'rain'"):
        push(store, "station_reports", report().drop(columns="rain"))
    assert "missing:weather" in read(store).flags


@pytest.mark.parametrize("kind", OURS)
def test_a_message_of_another_type_is_named(empty, kind):
    store = empty(kind)
    key = EntityKey(join_keys=["origin"], entity_values=[Value(string_val="JFK")])
    rows = [(key, {"wind": Value(int64_val=3), "rain": Value(double_val=0.0)}, START, None)]
    view = store.get_feature_view("weather")
    with pytest.raises(
        FeatureError, match="view 'weather': column 'wind' is declared DOUBLE and gets a int64_val"
    ):
        store.provider.online_write_batch(store.config, view, rows, None)


@pytest.mark.parametrize("kind", OURS)
def test_times_are_exact_to_the_microsecond_before_1970_too(empty, kind):
    store = empty(kind)
    view = store.get_feature_view("weather")
    key = EntityKey(join_keys=["origin"], entity_values=[Value(string_val="JFK")])
    moment = datetime(1969, 7, 20, 20, 17, 40, 123457, tzinfo=UTC)
    for shift, wind in ((0, 1.0), (-1, 2.0), (1, 3.0), (0, 4.0)):
        values = {"wind": Value(double_val=wind), "rain": Value()}
        when = moment + timedelta(microseconds=shift)
        store.provider.online_write_batch(store.config, view, [(key, values, when, None)], None)
    [(known, answer)] = store.provider.online_read(store.config, view, [key], ["wind"])
    assert known == moment + timedelta(microseconds=1)
    assert answer["wind"].double_val == 3.0


@pytest.mark.parametrize("kind", OURS)
def test_says_how_fresh_each_view_is(empty, kind):
    store = empty(kind)
    before = {view.view: view for view in freshness(store, "all", at(4), sources=True)}
    assert {view.state for view in before.values()} == {"empty"}
    assert before["weather"].source_newest == at(2)
    fill(store)
    weather, gates, country = freshness(store, "all", at(4.5))
    assert (weather.view, weather.state, weather.keys) == ("weather", "fresh", 2)
    assert (weather.newest, weather.age_seconds, weather.ttl_seconds) == (at(2), 2.5 * 3600, 3 * 3600)
    assert weather.expired == 0.5  # EWR's is of hour 1
    assert weather.source_newest is None
    assert (gates.state, gates.keys, gates.ttl_seconds, gates.expired) == ("fresh", 3, None, 0.0)
    assert country.keys == 1
    assert freshness(store, "all", at(6))[0].state == "stale"


def test_a_project_whose_name_ends_like_ours_is_another(tmp_path, redis_address):
    for project in ("north", "orth"):
        store = make_store(tmp_path / project, online_section("redis", redis_address), project=project)
        write_sources(tmp_path / project)
        store.apply(definitions())
        fill(store, {"north": 2, "orth": 0}[project])
    assert [view.keys for view in freshness(store, "all", at(2))] == [1, 2, 1]
    assert freshness(store, "all", at(2))[0].newest == at(0)


@pytest.mark.parametrize("kind", OURS)
def test_what_is_no_longer_defined_is_removed(empty, kind):
    store = empty(kind)
    fill(store)
    view = store.get_feature_view("gates")
    key = EntityKey(join_keys=["origin", "gate"], entity_values=[Value(string_val="JFK"), Value(int64_val=1)])
    store.apply([], objects_to_delete=[store.get_feature_service("all"), view], partial=False)
    store.apply([thing for thing in definitions() if thing.name == "gates"])
    [(_, found)] = store.provider.online_read(store.config, view, [key], ["queue"])
    assert found is None or found["queue"].WhichOneof("val") is None
    store.teardown()


@pytest.mark.parametrize("kind", OURS)
def test_what_feast_wrote_the_slow_way_is_the_same(empty, kind, tmp_path):
    """The same rows as messages, through Feast's own local engine."""
    store = empty(kind)
    fill(store)
    ours = [read(store, *key) for key in (("JFK", 1), ("JFK", 2), ("EWR", 1))]
    other = make_store(tmp_path / "other", store.config.online_config, engine=False)
    write_sources(tmp_path / "other")
    other.apply(definitions())
    fill(other)
    assert [read(other, *key) for key in (("JFK", 1), ("JFK", 2), ("EWR", 1))] == ours


def test_redis_stores_read_what_the_other_wrote(tmp_path, redis_address):
    stores = [
        make_store(tmp_path / kind, online_section(kind, redis_address), project="shared")
        for kind in ("redis", "feast-redis")
    ]
    for store in stores:
        write_sources(store.repo_path)
        store.apply(definitions())
    fill(stores[0])
    assert read(stores[1]) == read(stores[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stores[1].push("station_reports", report(wind=7.0, hour=2.6))
    assert read(stores[0], hour=2.6).values["wind"] == 7.0


def test_a_redis_that_is_gone_is_an_error_that_says_so(tmp_path):
    store = make_store(tmp_path, {**online_section("redis", "127.0.0.1:1")})
    write_sources(tmp_path)
    store.apply(definitions())
    with pytest.raises(FeatureError, match="Redis does not answer"):
        read(store)
    with pytest.raises(FeatureError, match="writing view 'weather' to Redis failed"):
        push(store, "station_reports", report())


@pytest.mark.parametrize("kind", OURS)
def test_of_racing_writers_the_newest_value_stays(empty, kind):
    store = empty(kind)

    own = [make_store(store.repo_path, store.config.online_config, project=store.project) for _ in range(2)]

    def write(writer, first):
        for wind in range(first, 0, -2):
            push(writer, "weather", report(wind=float(wind), hour=wind / 1000))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, own, (60, 59)))
    assert read(store, hour=1).values["wind"] == 60.0
