"""What the store writes: rows added to sources, saved data sets, logs, exports; whole or not at all."""

import os
import resource
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from feast import FeatureService, FeatureStore, FileSource, PushSource
from feast.data_source import PushMode
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.feature_logging import FeatureServiceLoggingSource, LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination, SavedDatasetFileStorage
from feast.types import Json, Map, String, Struct

from tidemill.errors import FeatureError
from tidemill.features.offline.offline_store import PolarsOfflineStore
from tidemill.features.offline.parquet_sources import scan
from tidemill.features.offline.parquet_writing import append

pytestmark = pytest.mark.engine

START = datetime(2013, 1, 1, tzinfo=UTC)


def hours(count):
    return START + timedelta(hours=count)


def weather(*winds, station="A", first=0):
    count = len(winds)
    times = [hours(first + n) for n in range(count)]
    return pl.DataFrame(
        {"station": [station] * count, "time": times, "wind": [float(wind) for wind in winds]}
    )


def asked(*stations, at=9):
    return pd.DataFrame({"station": stations, "event_timestamp": [hours(at)] * len(stations)})


def winds_of(store, *stations, at=9, view="weather"):
    job = store.get_historical_features(asked(*stations, at=at), [f"{view}:wind"])
    return job.to_arrow()["wind"].to_pylist()


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@contextmanager
def disk_with_room_for(size):
    """Let the kernel refuse to write files beyond ``size`` bytes, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_reorders_columns_and_refuses_others(store, make_view, station, tmp_path):
    store.apply([station, make_view("weather", weather(1))])
    more = weather(2, first=1).select("wind", "time", "station").to_pandas()
    more.index = [7]
    store.write_to_offline_store("weather", more)
    assert scan(FileSource(path="weather.parquet"), tmp_path).collect().columns == ["station", "time", "wind"]
    assert winds_of(store, "A") == [2]
    with pytest.raises(
        ValueError, match=r"missing_expected_columns: \['wind'\].*extra_unexpected_columns: \['gust'\]"
    ):
        store.write_to_offline_store("weather", more.rename(columns={"wind": "gust"}))
    assert everything(tmp_path) == ["online.db", "registry.db", "weather.parquet"]


def test_what_was_written_is_what_is_read_again_and_again(store, make_view, station, tmp_path):
    view = make_view("weather", weather(0, first=-24), ttl=timedelta(minutes=10))
    store.apply([station, view])
    assert winds_of(store, "A", at=0) == [None]
    for n in range(3):
        store.write_to_offline_store("weather", weather(n, first=n).to_pandas())
        assert winds_of(store, "A", at=n) == [n]
    assert pyarrow.parquet.ParquetFile(tmp_path / "weather.parquet").num_row_groups == 1


def test_takes_pandas_dicts_finer_timestamps_and_mapped_names(store, make_view, station, tmp_path):
    old = pa.table(
        {
            "st": ["A"],
            "time": pa.array([hours(0)], pa.timestamp("us")),
            "config": ['{"a": 1}'],
            "tags": pa.array([[("a", "1")]], pa.map_(pa.string(), pa.string())),
            "profile": pa.array([{"name": "n", "age": "3"}]),
        }
    )
    pyarrow.parquet.write_table(old, tmp_path / "weather.parquet")
    types = {"config": Json, "tags": Map, "profile": Struct({"name": String, "age": String})}
    view = make_view("weather", path="weather.parquet", features=types, field_mapping={"st": "station"})
    store.apply([station, view])
    more = pd.DataFrame(
        {
            "time": [pd.Timestamp("2013-01-01T02:00:00.123456789", tz="America/New_York")],
            "st": ["A"],
            "tags": [{"b": "2"}],
            "profile": [{"name": "m", "age": "4"}],
            "config": ["{}"],
        }
    )
    store.write_to_offline_store("weather", more)
    assert pyarrow.parquet.read_schema(tmp_path / "weather.parquet").equals(old.schema)
    job = store.get_historical_features(asked("A"), [f"weather:{name}" for name in types])
    row = job.to_arrow().to_pylist()[0]
    assert (row["config"], row["tags"], row["profile"]) == ("{}", [("b", "2")], {"name": "m", "age": "4"})


def test_adds_a_file_to_a_folder_and_one_to_each_partition(store, make_view, station, tmp_path):
    weather(1).write_parquet(tmp_path / "flat" / "0.parquet", mkdir=True)
    weather(1).drop("station").write_parquet(tmp_path / "parts" / "station=A" / "0.parquet", mkdir=True)
    more = pl.concat([weather(5, first=1), weather(6, station="B/C")])
    for path, files in {
        "flat": 2,
        "flat/*.parquet": 3,
        "parts": 3,
        "new_folder": 1,
        "new.parquet": 1,
    }.items():
        store.apply([station, make_view("weather", path=path)])
        PolarsOfflineStore.offline_write_batch(
            store.config, store.get_feature_view("weather"), more.to_arrow(), None
        )
        assert winds_of(store, "A", "B/C") == [5, 6]
        assert len(everything(tmp_path / path.split("/")[0])) == files or (tmp_path / path).is_file()
    view = make_view("weather", path="fl*/0.parquet")
    with pytest.raises(FeatureError, match=r"'weather': .* pattern that does not say where"):
        PolarsOfflineStore.offline_write_batch(store.config, view, more.to_arrow(), None)


def test_pushes_to_the_batch_source_of_a_push_source(store, make_view, station, tmp_path):
    view = make_view("weather", weather(1))
    push = PushSource(name="sensor", batch_source=view.batch_source)
    view = type(view)(name="weather", entities=[station], schema=view.schema, source=push)
    store.apply([station, view])
    store.push("sensor", weather(4, first=1).to_pandas(), to=PushMode.OFFLINE)
    assert winds_of(store, "A") == [4]


def test_a_full_disk_leaves_everything_as_it_was(store, make_view, station, tmp_path):
    (tmp_path / "data").mkdir()
    store.apply([station, make_view("weather", weather(1), path="data/w.parquet")])
    job = store.get_historical_features(asked("A"), ["weather:wind"])
    job.persist(SavedDatasetFileStorage(path="data/set"))
    before = {name: (tmp_path / "data" / name).read_bytes() for name in everything(tmp_path / "data")}
    many = weather(*np.random.default_rng(1).random(50_000), first=1)
    view = store.get_feature_view("weather")
    with disk_with_room_for(100_000):
        with pytest.raises(FeatureError, match=r"'weather': .*w\.parquet cannot be written: .*too large"):
            PolarsOfflineStore.offline_write_batch(store.config, view, many.to_arrow(), None)
        big = store.get_historical_features(
            pd.DataFrame({"station": "A", "event_timestamp": many["time"].to_pandas()}), ["weather:wind"]
        )
        for path in ("data/set", "data/other", "data/other.parquet"):
            with pytest.raises(FeatureError, match=r"cannot be written"):
                big.persist(SavedDatasetFileStorage(path=path), allow_overwrite=True)
    assert {name: (tmp_path / "data" / name).read_bytes() for name in everything(tmp_path / "data")} == before
    assert winds_of(store, "A") == [1]


def test_processes_that_add_to_one_file_wait_for_each_other(store, make_view, tmp_path):
    view = make_view("weather", weather(0))

    def add(n):
        PolarsOfflineStore.offline_write_batch(store.config, view, weather(n, first=n).to_arrow(), None)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(1, 25)))
    assert sorted(pl.read_parquet(tmp_path / "weather.parquet")["wind"].to_list()) == list(range(25))


def test_an_interrupted_write_leaves_the_old_file(make_view, tmp_path, monkeypatch):
    view = make_view("weather", weather(1))
    before = (tmp_path / "weather.parquet").read_bytes()

    def interrupt(file):
        stranded = [name for name in everything(tmp_path) if name.endswith(".tmp")]
        shutil.copy(tmp_path / stranded[0], tmp_path / ".stranded.parquet.tmp")  # as a kill leaves it
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            append(weather(2, first=1).to_arrow(), view.batch_source, tmp_path)
    assert (tmp_path / "weather.parquet").read_bytes() == before
    assert everything(tmp_path) == [".stranded.parquet.tmp", "weather.parquet"]
    assert scan(FileSource(path=str(tmp_path)), None).collect().height == 1
    append(weather(2, first=1).to_arrow(), view.batch_source, tmp_path)
    assert scan(FileSource(path=str(tmp_path)), None).collect().height == 2


@pytest.mark.parametrize("path", ["sets/one.parquet", "sets/one"])
@pytest.mark.filterwarnings("ignore:Saving dataset is an experimental feature:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:Retrieving datasets is an experimental feature:RuntimeWarning")
def test_saves_a_data_set_and_finds_it_again(store, make_view, station, tmp_path, path):
    store.apply([station, make_view("weather", weather(1, 2, 3))])
    frame = asked("A", "B", "A", at=1)
    for full in (False, True):
        job = store.get_historical_features(frame, ["weather:wind"], full_feature_names=full)
        storage = SavedDatasetFileStorage(path=path)
        store.create_saved_dataset(job, f"set{full}", storage, tags={"env": "test"}, allow_overwrite=full)
        found = store.get_saved_dataset(f"set{full}").to_df()
        name = "weather__wind" if full else "wind"
        assert found[["station", name]].to_dict("list")["station"] == ["A", "B", "A"]
        pd.testing.assert_series_equal(found[name], job.to_df()[name])
        with pytest.raises(SavedDatasetLocationAlreadyExists) as caught:
            store.create_saved_dataset(job, "again", storage)
        assert isinstance(caught.value, FeatureError)
    assert len(everything(tmp_path / "sets")) == 1
    assert not [name for name in everything(tmp_path) if ".tmp" in name or ".old" in name]


def test_exports_to_the_staging_location(store, make_view, station, tmp_path):
    store.apply([station, make_view("weather", weather(1))])
    job = store.get_historical_features(asked("A"), ["weather:wind"])
    assert not job.supports_remote_storage_export()
    with pytest.raises(FeatureError, match="no folder is set"):
        job.to_remote_storage()
    store.config.offline_store.staging_location = "staging"
    job = FeatureStore(config=store.config).get_historical_features(asked("A", "B"), ["weather:wind"])
    assert job.supports_remote_storage_export()
    one, two = job.to_remote_storage(), job.to_remote_storage()
    assert set(one).isdisjoint(two)
    assert pl.read_parquet(one)["wind"].to_list() == [1, None]


@pytest.mark.parametrize("partition_by", [None, ["__log_date"]])
@pytest.mark.parametrize("as_path", [False, True])
def test_logs_served_features_and_finds_them_again(
    store, make_view, station, tmp_path, partition_by, as_path
):
    view = make_view("weather", weather(1))
    destination = FileLoggingDestination(path="logs", partition_by=partition_by)
    service = FeatureService(name="s", features=[view], logging_config=LoggingConfig(destination))
    store.apply([station, view, service])
    schema = FeatureServiceLoggingSource(service, store.project).get_schema(store.registry)
    for n in range(2):
        logs = pa.Table.from_pylist(
            [
                {
                    "station": "A",
                    "weather__wind": n + k / 2,
                    "weather__wind__timestamp": hours(0),
                    "weather__wind__status": 1,
                    "__log_timestamp": hours(24 * n),
                    "__log_date": date(2013, 1, 1 + n),
                    "__request_id": f"{n}-{k}",
                }
                for k in range(2)
            ],
            schema,
        )
        if as_path:
            (tmp_path / f"raw{n}").mkdir()
            pyarrow.parquet.write_table(logs, tmp_path / f"raw{n}" / "0.parquet")
        store.write_logged_features(tmp_path / f"raw{n}" if as_path else logs, service)
    job = store._get_provider().retrieve_feature_service_logs(
        service, hours(0), hours(25), store.config, store.registry
    )
    found = job.to_df().sort_values("__request_id")
    assert found["weather__wind"].tolist() == [0, 0.5, 1, 1.5]
    assert set(schema.names) <= set(found.columns)
    assert len(everything(tmp_path / "logs")) == 2
    with pytest.raises(FeatureError, match="no column '__log_timestamp'"):
        store.write_logged_features(pa.table({"x": [1]}), service)
    with pytest.raises(FeatureError, match="cannot be read"):
        store.write_logged_features(tmp_path / "nothing", service)
