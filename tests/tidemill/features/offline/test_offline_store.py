from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.repo_config import RegistryConfig
from feast.types import Float64, Int64

from tidemill.errors import FeatureError
from tidemill.features.offline.offline_store import PolarsOfflineStore, PolarsOfflineStoreConfig
from tidemill.features.online.online_features import OnlineFeatures

pytestmark = pytest.mark.engine

START = datetime(2013, 1, 1, tzinfo=UTC)
station = Entity(name="station", join_keys=["station"], value_type=ValueType.STRING)
plane = Entity(name="plane", join_keys=["plane"], value_type=ValueType.INT64)


def hours(count):
    return START + timedelta(hours=count)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    config = RepoConfig(
        project="offline",
        provider="local",
        registry=RegistryConfig(path=str(tmp_path / "registry.db")),
        online_store={"type": "sqlite", "path": str(tmp_path / "online.db")},
        offline_store={"type": "tidemill.features.offline.PolarsOfflineStore"},
        entity_key_serialization_version=3,
        repo_path=tmp_path,
    )
    assert isinstance(config.offline_store, PolarsOfflineStoreConfig)
    return FeatureStore(config=config)


def view(tmp_path, name, frame, *, ttl=None, entities=(station,), features=("wind",), path=None, **source):
    if path is None:
        path = f"{name}.parquet"
        frame.write_parquet(tmp_path / path)
    return FeatureView(
        name=name,
        entities=list(entities),
        ttl=ttl,
        schema=[Field(name=feature, dtype=Float64) for feature in features],
        source=FileSource(name=f"{name}_source", path=path, **{"timestamp_field": "time", **source}),
    )


def weather_frame():
    return pl.DataFrame(
        {
            "station": ["A", "A", "B", "B"],
            "time": [hours(0), hours(2), hours(1), hours(1)],
            "created": [hours(0), hours(2), hours(3), hours(2)],
            "wind": [1.0, 2.0, 3.0, 4.0],
        }
    )


def rows(**columns):
    return pd.DataFrame(columns)


def test_keeps_every_row_once_in_order_with_nulls_outside_the_ttl(store, tmp_path):
    store.apply([station, view(tmp_path, "weather", weather_frame(), ttl=timedelta(hours=3))])
    entities = rows(
        station=["B", "A", "A", "C", "A", None, "A"],
        event_timestamp=[hours(n) for n in (1, 9, 1, 1, 2, 2, -1)],
        note=list("tuvwxyz"),
    )
    entities = pd.concat([entities, entities.iloc[[2]]])
    job = store.get_historical_features(entity_df=entities, features=["weather:wind"])
    frame = job.to_df()
    assert frame.columns.tolist() == ["station", "event_timestamp", "note", "wind"]
    assert frame["note"].tolist() == list("tuvwxyzv")
    assert frame["wind"].fillna(-1).tolist()[1:] == [-1, 1, -1, 2, -1, -1, 1]
    assert frame["event_timestamp"].dt.tz is not None
    assert job.metadata.keys == ["station", "note"]
    assert job.metadata.min_event_timestamp == hours(-1)
    assert job.to_arrow().num_rows == 8
    assert entities.columns.tolist() == ["station", "event_timestamp", "note"]


def test_breaks_ties_by_the_created_timestamp(store, tmp_path):
    weather = view(tmp_path, "weather", weather_frame(), created_timestamp_column="created")
    store.apply([station, weather])
    entities = rows(station=["B"], event_timestamp=[hours(9)])
    assert (
        store.get_historical_features(entity_df=entities, features=["weather:wind"]).to_df()["wind"][0] == 3
    )


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_takes_every_resolution_and_reads_naive_as_utc(store, tmp_path, unit, zone):
    store.apply([station, view(tmp_path, "weather", weather_frame())])
    moments = pd.Series([hours(0), hours(1), hours(2)]).dt.tz_localize(None).astype(f"datetime64[{unit}]")
    if zone:
        moments = moments.dt.tz_localize("UTC").dt.tz_convert(zone)
    entities = rows(station=["A"] * 3, event_timestamp=moments)
    frame = store.get_historical_features(entity_df=entities, features=["weather:wind"]).to_df()
    assert frame["wind"].tolist() == [1, 1, 2]
    assert [moment.to_pydatetime() for moment in frame["event_timestamp"]] == [hours(0), hours(1), hours(2)]


def test_takes_timestamps_as_text_and_under_another_name(store, tmp_path):
    store.apply([station, view(tmp_path, "weather", weather_frame())])
    text = rows(station=["A"], event_timestamp=["2013-01-01T01:30:00+01:00"])
    assert store.get_historical_features(entity_df=text, features=["weather:wind"]).to_df()["wind"][0] == 1
    named = rows(station=["A"], moment=[hours(3)])
    assert store.get_historical_features(entity_df=named, features=["weather:wind"]).to_df()["wind"][0] == 2
    for moment in ("yesterday", "20130101", "2013"):
        wrong = rows(station=["A"], event_timestamp=[moment])
        with pytest.raises(
            FeatureError, match="'event_timestamp' of the entity frame does not hold points in time"
        ):
            store.get_historical_features(entity_df=wrong, features=["weather:wind"])


def test_joins_one_view_twice_under_other_keys(store, tmp_path):
    weather = view(tmp_path, "weather", weather_frame())
    service = FeatureService(
        name="both",
        features=[
            weather.with_name("there").with_join_key_map({"station": "dest"}),
            weather.with_name("here").with_join_key_map({"station": "origin"}),
        ],
    )
    store.apply([station, weather, service])
    entities = rows(origin=["A", "B"], dest=["B", "C"], event_timestamp=[hours(1), hours(1)])
    service = store.get_feature_service("both")
    frame = store.get_historical_features(entities, service, full_feature_names=True).to_df()
    assert frame["here__wind"].tolist() == [1, 4]
    assert frame["there__wind"].fillna(-1).tolist() == [4, -1]


def test_refuses_features_that_would_hide_a_column(store, tmp_path):
    store.apply([station, view(tmp_path, "weather", weather_frame())])
    entities = rows(station=["A"], event_timestamp=[hours(1)], wind=[0.0])
    with pytest.raises(FeatureError, match="'wind' of view 'weather' is also a column of the entity frame"):
        store.get_historical_features(entity_df=entities, features=["weather:wind"]).to_df()


def test_joins_on_several_keys_and_on_none(store, tmp_path):
    pair = pl.DataFrame(
        {"station": ["A", "A"], "plane": [1, 2], "time": [hours(0)] * 2, "seats": [10.0, 20.0]}
    )
    fuel = pl.DataFrame({"time": [hours(0), hours(5)], "price": [100.0, 200.0]})
    store.apply(
        [
            station,
            plane,
            view(tmp_path, "pair", pair, entities=(station, plane), features=("seats",)),
            view(tmp_path, "fuel", fuel, entities=(), features=("price",), ttl=timedelta(hours=2)),
        ]
    )
    entities = rows(
        plane=[2, 1, np.nan], station=["A", "B", "A"], event_timestamp=[hours(6), hours(1), hours(4)]
    )
    frame = store.get_historical_features(entity_df=entities, features=["fuel:price", "pair:seats"]).to_df()
    assert frame["seats"].fillna(-1).tolist() == [20, -1, -1]
    assert frame["price"].fillna(-1).tolist() == [200, 100, -1]


def test_materialises_a_view_without_entities(store, tmp_path):
    fuel = pl.DataFrame({"time": [hours(0), hours(5)], "price": [100.0, 200.0]})
    price = view(tmp_path, "fuel", fuel, entities=(), features=("price",))
    store.apply([price, FeatureService(name="fuel", features=[price])])
    store.materialize(START, hours(3))
    assert OnlineFeatures(store, "fuel").read([{}, {}], [hours(6)] * 2)[1].values == {"price": 100.0}


def test_follows_the_field_mapping_of_a_source(store, tmp_path):
    raw = weather_frame().rename({"station": "st", "wind": "w", "time": "t"})
    weather = view(
        tmp_path,
        "weather",
        raw,
        field_mapping={"st": "station", "w": "wind", "t": "time"},
    )
    store.apply([station, weather, FeatureService(name="s", features=[weather])])
    entities = rows(station=["A"], event_timestamp=[hours(1)])
    assert (
        store.get_historical_features(entity_df=entities, features=["weather:wind"]).to_df()["wind"][0] == 1
    )
    store.materialize(START, hours(9))
    assert OnlineFeatures(store, "s").read([{"station": "A"}], [hours(9)])[0].values == {"wind": 2.0}


def test_reads_a_folder_of_files(store, tmp_path):
    folder = tmp_path / "parts" / "year=2013"
    folder.mkdir(parents=True)
    for index, part in enumerate(weather_frame().iter_slices(2)):
        part.write_parquet(folder / f"{index}.parquet")
    store.apply([station, view(tmp_path, "weather", None, path="parts")])
    entities = rows(station=["A", "B"], event_timestamp=[hours(1), hours(1)])
    frame = store.get_historical_features(entity_df=entities, features=["weather:wind"]).to_df()
    assert frame["wind"].tolist() == [1, 4]


def pulled(store, how, weather, **changes):
    return how(
        config=store.config,
        data_source=weather.batch_source,
        **{
            "join_key_columns": ["station"],
            "feature_name_columns": ["wind"],
            "timestamp_field": "time",
            "created_timestamp_column": "created",
            "start_date": hours(0),
            "end_date": hours(2),
            **changes,
        },
    ).to_df()


def test_pulls_the_latest_of_each_key_within_a_span_that_includes_its_ends(store, tmp_path):
    weather = view(tmp_path, "weather", weather_frame())
    latest = PolarsOfflineStore.pull_latest_from_table_or_query
    frame = pulled(store, latest, weather).sort_values("station")
    assert frame.columns.tolist() == ["station", "wind", "time", "created"]
    assert frame["wind"].tolist() == [2, 3]
    earlier = pulled(store, latest, weather, end_date=hours(2) - timedelta(microseconds=1))
    assert earlier.sort_values("station")["wind"].tolist() == [1, 3]
    assert pulled(store, latest, weather, start_date=hours(2))["wind"].tolist() == [2]
    assert pulled(store, latest, weather, start_date=hours(3), end_date=hours(4)).empty


def test_pulls_all_within_a_span(store, tmp_path):
    weather = view(tmp_path, "weather", weather_frame())
    everything = PolarsOfflineStore.pull_all_from_table_or_query
    assert pulled(store, everything, weather, end_date=hours(1))["wind"].tolist() == [1, 3, 4]
    assert pulled(store, everything, weather, start_date=None, end_date=None)["wind"].tolist() == [1, 2, 3, 4]
    naive = pulled(store, everything, weather, end_date=hours(1).replace(tzinfo=None))
    assert naive["wind"].tolist() == [1, 3, 4]


def test_persists_a_result_once_unless_told_otherwise(store, tmp_path):
    store.apply([station, view(tmp_path, "weather", weather_frame())])
    entities = rows(station=["A"], event_timestamp=[hours(1)])
    job = store.get_historical_features(entity_df=entities, features=["weather:wind"])
    storage = SavedDatasetFileStorage(path="saved/set.parquet")
    job.persist(storage)
    assert pl.read_parquet(tmp_path / "saved" / "set.parquet")["wind"].to_list() == [1.0]
    with pytest.raises(FeatureError, match=r"^Saved dataset location \S+set.parquet already exists.$"):
        job.persist(storage)
    job.persist(storage, allow_overwrite=True)
    assert [path.name for path in (tmp_path / "saved").iterdir()] == ["set.parquet"]


def test_appends_rows_to_a_source(store, tmp_path):
    weather = view(tmp_path, "weather", weather_frame())
    store.apply([station, weather])
    more = pd.DataFrame(
        {"station": ["A"], "time": [hours(4)], "created": [hours(4)], "wind": [9.0]},
    )
    store.write_to_offline_store("weather", more)
    assert pl.read_parquet(tmp_path / "weather.parquet")["wind"].to_list() == [1.0, 2.0, 3.0, 4.0, 9.0]
    before = (tmp_path / "weather.parquet").read_bytes()
    with pytest.raises(FeatureError, match="have the columns station, wind"):
        PolarsOfflineStore.offline_write_batch(
            store.config, weather, pyarrow.table({"station": ["A"], "wind": [1.0]}), None
        )
    with pytest.raises(FeatureError, match="have another type"):
        PolarsOfflineStore.offline_write_batch(
            store.config,
            weather,
            pyarrow.table({"station": ["A"], "time": ["x"], "created": ["x"], "wind": ["x"]}),
            None,
        )
    assert (tmp_path / "weather.parquet").read_bytes() == before


def test_says_which_view_lacks_what(store, tmp_path):
    store.apply([station, view(tmp_path, "weather", weather_frame())])
    job = store.get_historical_features(
        entity_df=rows(station=["A"], event_timestamp=[hours(1)]), features=["weather:wind"]
    )
    weather_frame().drop("wind").write_parquet(tmp_path / "weather.parquet")
    with pytest.raises(FeatureError, match="'weather': its source has no column 'wind'"):
        job.to_df()
    (tmp_path / "weather.parquet").write_text("no parquet")
    with pytest.raises(FeatureError, match=r"weather\.parquet is not readable parquet"):
        job.to_df()
    (tmp_path / "weather.parquet").unlink()
    with pytest.raises(FeatureError, match=r"weather\.parquet does not exist"):
        job.to_df()
    without_key = rows(other=["A"], event_timestamp=[hours(1)])
    with pytest.raises(FeatureError, match="entity frame"):
        PolarsOfflineStore.get_historical_features(
            store.config, [], [], "SELECT 1", store.registry, "offline"
        )
    weather_frame().write_parquet(tmp_path / "weather.parquet")
    with pytest.raises(FeatureError, match="the entity frame has no column 'station'") as caught:
        store.get_historical_features(entity_df=without_key, features=["weather:wind"]).to_df()
    assert caught.value.hint == "there are: other, event_timestamp"


def test_agrees_with_a_search_through_all_rows_over_several_views(store, tmp_path):
    random = np.random.default_rng(7)
    views, sources = [], []
    for index, ttl in enumerate([None, timedelta(hours=5), timedelta(days=2)]):
        frame = pl.DataFrame(
            {
                "plane": random.integers(0, 12, 300),
                "time": [
                    START + timedelta(minutes=int(m)) for m in random.choice(20_000, 300, replace=False)
                ],
                f"f{index}": random.random(300),
            }
        ).with_columns(pl.when(pl.col(f"f{index}") > 0.1).then(pl.col(f"f{index}")))
        views.append(view(tmp_path, f"v{index}", frame, ttl=ttl, entities=(plane,), features=(f"f{index}",)))
        sources.append((frame.rows(), ttl))
    store.apply([plane, *views])
    entities = rows(
        plane=random.integers(0, 15, 500),
        event_timestamp=[START + timedelta(minutes=int(m)) for m in random.integers(-500, 22_000, 500)],
        weight=np.arange(500),
    )
    features = [f"v{index}:f{index}" for index in range(3)]
    frame = store.get_historical_features(entity_df=entities, features=features).to_df()
    assert frame["weight"].tolist() == list(range(500))
    for index, (source, ttl) in enumerate(sources):
        for key, at, value in zip(
            entities["plane"], entities["event_timestamp"], frame[f"f{index}"], strict=True
        ):
            known = max(
                ((t, v) for k, t, v in source if k == key and t <= at), default=None, key=lambda x: x[0]
            )
            expected = None if known is None or (ttl and at - known[0] > ttl) else known[1]
            assert (None if pd.isna(value) else value) == expected


def test_int_features_keep_their_type(store, tmp_path):
    frame = pl.DataFrame({"station": ["A"], "time": [hours(0)], "n": [2**60 + 1]})
    frame.write_parquet(tmp_path / "n.parquet")
    counted = FeatureView(
        name="counted",
        entities=[station],
        schema=[Field(name="n", dtype=Int64)],
        source=FileSource(path="n.parquet", timestamp_field="time"),
    )
    store.apply([station, counted])
    entities = rows(station=["A", "B"], event_timestamp=[hours(1)] * 2)
    table = store.get_historical_features(entity_df=entities, features=["counted:n"]).to_arrow()
    assert table["n"].to_pylist() == [2**60 + 1, None]
