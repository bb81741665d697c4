"""The store behind Feast's own services: its Arrow Flight offline server, and its feature monitoring."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from feast import FeatureService, FeatureStore
from feast.feature_logging import FeatureServiceLoggingSource, LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination, SavedDatasetFileStorage
from feast.monitoring.monitoring_service import MonitoringService
from feast.offline_server import OfflineServer
from feast.types import Float64, String

from tidemill.features.offline.offline_store import PolarsOfflineStore

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore:Saving dataset is an experimental feature:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Retrieving datasets is an experimental feature:RuntimeWarning"),
]

START = datetime(2013, 1, 1, tzinfo=UTC)


def hours(count):
    return START + timedelta(hours=count)


def weather(*winds, first=0):
    count = len(winds)
    return pl.DataFrame(
        {"station": ["A"] * count, "time": [hours(first + n) for n in range(count)], "wind": list(winds)},
        schema_overrides={"wind": pl.Float64},
    )


@pytest.fixture
def remote(store, make_view, station) -> Iterator[FeatureStore]:
    """A client of a real offline server on loopback, which serves `PolarsOfflineStore`."""
    view = make_view("weather", weather(1, 2))
    destination = FileLoggingDestination(path="logs")
    service = FeatureService(name="served", features=[view], logging_config=LoggingConfig(destination))
    storage = SavedDatasetFileStorage(path="set.parquet").to_data_source()
    store.apply([station, view, service])
    store.registry.apply_data_source(storage, store.project)
    server = OfflineServer(store, "grpc+tcp://127.0.0.1:0", "127.0.0.1")
    config = store.config.model_copy()
    config.offline_config = {"type": "remote", "host": "127.0.0.1", "port": server.port}
    config._offline_store = None
    try:
        yield FeatureStore(config=config)
    finally:
        server.shutdown()


def test_serves_feasts_remote_store(remote, tmp_path):
    frame = pd.DataFrame({"station": ["A", "B"], "event_timestamp": [hours(1), hours(1)]})
    job = remote.get_historical_features(frame, ["weather:wind"], full_feature_names=True)
    assert job.to_arrow()["weather__wind"].to_pylist() == [2, None]
    span = remote.get_historical_features(features=["weather:wind"], start_date=hours(0), end_date=hours(9))
    assert span.to_df()["wind"].tolist() == [1, 2]
    remote.write_to_offline_store("weather", weather(7, first=2).to_pandas())
    assert pl.read_parquet(tmp_path / "weather.parquet")["wind"].to_list() == [1, 2, 7]
    remote.materialize(hours(0), hours(9))
    assert remote.get_online_features(["weather:wind"], [{"station": "A"}]).to_dict()["wind"] == [7]
    remote.create_saved_dataset(job, "set", SavedDatasetFileStorage(path="set.parquet"))
    assert pl.read_parquet(tmp_path / "set.parquet")["weather__wind"].to_list() == [2, None]
    service = remote.get_feature_service("served")
    schema = FeatureServiceLoggingSource(service, remote.project).get_schema(remote.registry)
    row = {"station": "A", "weather__wind": 1.0, "__log_timestamp": hours(0), "__log_date": date(2013, 1, 1)}
    remote.write_logged_features(pa.Table.from_pylist([row], schema), service)
    assert pl.read_parquet(tmp_path / "logs")["weather__wind"].to_list() == [1]


def test_keeps_what_feasts_monitoring_finds(store, make_view, station, tmp_path):
    rows = weather(*range(48)).with_columns(pl.lit("x").alias("note"))
    view = make_view("weather", rows, features={"wind": Float64, "note": String})
    store.apply([station, view])
    monitoring = MonitoringService(store)
    done = monitoring.compute_metrics(
        "offline", "weather", start_date=date(2013, 1, 1), end_date=date(2013, 1, 2)
    )
    assert done["computed_features"] == 2
    monitoring.compute_metrics("offline", "weather", start_date=date(2013, 1, 1), end_date=date(2013, 1, 2))
    found = {
        row["feature_name"]: row
        for row in monitoring.get_feature_metrics("offline", feature_view_name="weather")
    }
    assert (found["wind"]["row_count"], found["wind"]["mean"], found["wind"]["p50"]) == (48, 23.5, 23.5)
    assert found["note"]["histogram"]["values"] == [{"value": "x", "count": 48}]
    monitoring.compute_baseline("offline", "weather")
    assert len(monitoring.get_baseline("offline", "weather")) == 2
    monitoring.compute_metrics("offline", "weather", ["wind"], set_baseline=True)
    assert {row["feature_name"] for row in monitoring.get_baseline("offline", "weather")} == {"wind"}
    job = monitoring.submit_job("offline", "auto_compute", "weather")
    monitoring.execute_job(job)
    assert monitoring.get_job(job)["status"] == "completed"
    last = PolarsOfflineStore.get_monitoring_max_timestamp(store.config, view.batch_source, "time")
    assert last == hours(47)
    assert len(list((tmp_path / "feast_monitoring").iterdir())) == 4
