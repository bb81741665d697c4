import sqlite3
from datetime import UTC, datetime, timedelta, timezone

import pandas as pd
import polars as pl
import pytest
from feast import Entity, ValueType

from tidemill.errors import FeatureError
from tidemill.features import feature_store as features
from tidemill.features.online.online_features import OnlineFeatures

pytestmark = pytest.mark.engine

START = datetime(2013, 1, 1, tzinfo=UTC)


def hours(count):
    return START + timedelta(hours=count)


def entity_frame(**changes):
    columns = {
        "origin": ["JFK", "EWR", "JFK", None, "JFK"],
        "carrier": ["AA", "UA", "XX", "AA", "AA"],
        "event_timestamp": [hours(2), hours(3), hours(10), hours(1), hours(1)],
        "departure": [hours(4)] * 5,
        "late": [1, 0, None, 1, 0],
    }
    return pl.DataFrame({**columns, **changes})


def tables(project):
    with sqlite3.connect(project.home / "online.db") as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_a_training_frame_has_every_row_in_order_and_what_was_known_then(project):
    features.apply(project)
    frame = entity_frame()
    joined = features.training_frame(project, frame)
    assert joined.select(frame.columns).equals(frame)
    assert joined.columns[5:] == ["hour", "wind_squared", "late_share", "flights", "rain"]
    assert joined.columns[5:] == list(features.service_features(project))
    assert joined["wind_squared"].to_list() == [400.0, None, None, None, 100.0]
    assert joined["late_share"].to_list() == [0.2, 0.3, None, 0.2, 0.2]
    assert joined["flights"].to_list() == [6, 7, None, 6, 6]
    assert joined["rain"].to_list() == [0.5, 0.25, None, None, 0.0]
    assert joined["hour"].to_list() == [4] * 5


def test_a_training_frame_knows_nothing_that_came_later(project):
    """Whatever happens after a moment, no feature before it changes."""
    features.apply(project)
    early = entity_frame().filter(pl.col("event_timestamp") <= hours(3))
    before = features.training_frame(project, early)
    for name, change in (("weather", pl.col("wind", "rain")), ("lateness", pl.col("late_share"))):
        path = project.root / "data" / f"{name}.parquet"
        history = pl.read_parquet(path)
        later = pl.concat(
            [
                history.with_columns(
                    event_timestamp=pl.lit(hours(3) + gap),
                )
                for gap in (timedelta(microseconds=1), timedelta(days=2))
            ]
        ).with_columns(change * 1000)
        pl.concat([later, history]).write_parquet(path)
    assert features.training_frame(project, early).equals(before)


def test_the_moment_may_be_naive_and_the_frame_empty(project):
    features.apply(project)
    frame = entity_frame().with_columns(pl.col("event_timestamp").dt.replace_time_zone(None))
    joined = features.training_frame(project, frame)
    assert joined["rain"].to_list() == [0.5, 0.25, None, None, 0.0]
    assert joined.schema["event_timestamp"] == pl.Datetime("us")
    assert features.training_frame(project, entity_frame().clear()).shape == (0, 10)


def test_large_numbers_with_gaps_are_the_same_keys(project, define):
    define(
        (
            'name="carrier", join_keys=["carrier"], value_type=ValueType.STRING',
            'name="carrier", join_keys=["carrier"], value_type=ValueType.INT64',
        ),
    )
    path = project.root / "data" / "lateness.parquet"
    large = 2**60
    pl.read_parquet(path).with_columns(carrier=pl.Series([large, large, large + 1])).write_parquet(path)
    features.apply(project)
    frame = entity_frame(carrier=[large, large + 1, None, large, large + 2])
    joined = features.training_frame(project, frame)
    assert joined["late_share"].to_list() == [0.2, 0.3, None, 0.2, None]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (entity_frame().drop("event_timestamp"), "no column 'event_timestamp'"),
        (entity_frame().drop("origin"), "origin"),
        (entity_frame().drop("departure"), "departure"),
        (entity_frame(rain=[0.0] * 5), "named like features: rain"),
    ],
)
def test_says_what_an_entity_frame_lacks(project, frame, message):
    features.apply(project)
    with pytest.raises(FeatureError, match=message):
        features.training_frame(project, frame)


def test_nothing_can_be_materialised_before_the_definitions_are_applied(project):
    with pytest.raises(FeatureError, match="no feature service 'mini'"):
        features.materialise(project, hours(3))


def test_says_when_another_store_loses_rows(project):
    path = project.root / "feature_repo" / "feature_store.yaml"
    features.apply(project)
    path.write_text(path.read_text().replace("tidemill.features.offline.PolarsOfflineStore", "nonsense"))
    with pytest.raises(FeatureError, match=r"opening .*feature_store\.yaml failed"):
        features.training_frame(project, entity_frame())


def test_applying_twice_changes_nothing_and_removing_a_view_removes_its_table(project, define):
    features.apply(project)
    assert tables(project) == {"mini_weather", "mini_lateness"}
    before = features.definition_hash(project)
    features.apply(project)
    assert features.definition_hash(project) == before
    define(
        ("lateness = FeatureView(", "_unused = dict("), ("schedule, lateness, weather", "schedule, weather")
    )
    features.apply(project)
    store = features.open_store(project)
    assert tables(project) == {"mini_weather"}
    assert [view.name for view in store.list_batch_feature_views()] == ["weather"]
    assert {source.name for source in store.list_data_sources()} == {"../data/weather.parquet", "request"}
    assert features.service_features(project) == ("hour", "wind_squared", "rain")


def test_the_online_store_lets_others_read_while_one_writes(project):
    features.apply(project)
    with sqlite3.connect(project.home / "online.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_materialises_what_was_known_by_then_and_catches_up_later(project):
    features.apply(project)
    reader = OnlineFeatures(features.open_store(project), "mini")
    row = {"origin": "JFK", "carrier": "AA", "departure": hours(4)}
    rain = []
    for until in (-1, 0, 1, 2, 2):
        features.materialise(project, hours(until))
        rain.append(reader.read([row], [hours(2)])[0].values["rain"])
    assert rain == [None, 0.0, 0.0, 0.5, 0.5]
    late = pl.DataFrame(
        {"origin": ["JFK"], "event_timestamp": [hours(2.5)], "wind": [1.0], "rain": [7.0]}
    ).vstack(pl.read_parquet(project.root / "data" / "weather.parquet"))
    features.materialise(project, hours(5))
    late.write_parquet(project.root / "data" / "weather.parquet")
    features.materialise(project, hours(5).replace(tzinfo=None))
    assert reader.read([row], [hours(3)])[0].values["rain"] == 7.0


def test_pushes_rows_to_the_online_store(project):
    features.apply(project)
    store = features.open_store(project)
    rows = pd.DataFrame(
        {"carrier": ["ZZ"], "event_timestamp": [hours(1)], "late_share": [0.9], "flights": [1]}
    )
    features.push(store, "lateness", rows)
    features.push(store, "lateness", rows.iloc[:0])
    row = {"origin": None, "carrier": "ZZ", "departure": hours(4)}
    assert OnlineFeatures(store, "mini").read([row], [hours(2)])[0].values["late_share"] == 0.9
    ahead = rows["event_timestamp"].dt.tz_convert(timezone(timedelta(hours=5, minutes=30)))
    features.push(store, "lateness", rows.assign(event_timestamp=ahead, late_share=0.8))
    assert OnlineFeatures(store, "mini").read([row], [hours(2)])[0].values["late_share"] == 0.8
    features.push(store, "lateness", rows.assign(late_share=None, flights=None))
    assert OnlineFeatures(store, "mini").read([row], [hours(2)])[0].values["late_share"] is None
    with pytest.raises(FeatureError, match="no store 'both'"):
        features.push(store, "lateness", rows, to="both")
    with pytest.raises(FeatureError, match="writing 1 rows of 'nothing'"):
        features.push(store, "nothing", rows)
    with pytest.raises(FeatureError, match="late_share"):
        features.push(store, "lateness", rows.drop(columns="late_share"))


def test_says_what_to_do_when_nothing_was_applied(project):
    with pytest.raises(FeatureError, match="has no feature service 'mini'") as raised:
        features.service_features(project)
    assert "apply the definitions first" in raised.value.hint
    with pytest.raises(FeatureError, match="no feature service"):
        features.training_frame(project, entity_frame())


def test_says_what_is_missing(project):
    features.apply(project)
    (project.root / "data" / "weather.parquet").unlink()
    with pytest.raises(FeatureError, match=r"weather\.parquet does not exist"):
        features.materialise(project, hours(3))
    with pytest.raises(FeatureError, match=r"weather\.parquet does not exist"):
        features.training_frame(project, entity_frame())
    (project.root / "feature_repo" / "feature_store.yaml").unlink()
    with pytest.raises(FeatureError, match=r"there is no .*feature_store\.yaml"):
        features.open_store(project)


def test_a_failed_apply_leaves_the_registry_as_it_was(project, define):
    features.apply(project)
    before = (project.home / "registry.db").read_bytes()
    define(('Field(name="hour", dtype=Int64)', 'Field(name="minute", dtype=Int64)'))
    with pytest.raises(FeatureError, match="minute"):
        features.apply(project)
    assert (project.home / "registry.db").read_bytes() == before
    assert not list(project.home.glob(".*.tmp"))


def test_a_view_follows_its_source_when_that_moves(project, define):
    features.apply(project)
    (project.root / "data" / "weather.parquet").rename(project.root / "data" / "climate.parquet")
    define(("weather.parquet", "climate.parquet"))
    features.apply(project)
    assert features.training_frame(project, entity_frame())["rain"].to_list()[0] == 0.5


def test_a_key_with_the_name_of_the_moment_is_refused(project, define):
    define(('join_keys=["carrier"]', 'join_keys=["event_timestamp"]'))
    with pytest.raises(FeatureError, match=r"entity 'carrier': its join key is called event_timestamp"):
        features.apply(project)


def test_who_reads_the_registry_while_it_is_written_finds_a_whole_one(store, station, tmp_path):
    store.apply([station])
    before = (tmp_path / "registry.db").read_bytes()
    with (tmp_path / "registry.db").open("rb") as reader:
        store.apply([Entity(name="carrier", join_keys=["carrier"], value_type=ValueType.STRING)])
        assert reader.read() == before
    assert (tmp_path / "registry.db").read_bytes() != before
