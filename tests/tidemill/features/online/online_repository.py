"""A Feast repository to try online stores with: each kind of view, each kind of value."""

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, PushSource, ValueType
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp

START = datetime(2013, 1, 1, tzinfo=UTC)
OURS = "tidemill.features"
ENGINE = {"type": f"{OURS}.online.ColumnarComputeEngine"}
_COUNT = itertools.count()

TYPES = {
    "double": Float64,
    "single": Float32,
    "short": Int32,
    "long": Int64,
    "flag": Bool,
    "text": String,
    "moment": UnixTimestamp,
    "raw": Bytes,
    "many": Array(Float64),
}


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def online_section(kind: str, redis: str | None) -> dict[str, Any]:
    return {
        "sqlite": {"type": f"{OURS}.online.SqliteOnlineStore", "path": "online.db"},
        "redis": {"type": f"{OURS}.online.RedisOnlineStore", "connection_string": redis},
        "feast-sqlite": {"type": "sqlite", "path": "online.db"},
        "feast-redis": {"type": "redis", "connection_string": redis},
    }[kind]


def make_store(
    folder: Path, online: dict[str, Any], *, project: str | None = None, engine: bool = True
) -> FeatureStore:
    """Open a repository; projects of different names share a Redis without seeing each other."""
    import yaml

    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "project": project or f"p{next(_COUNT)}",
        "provider": "local",
        "registry": "registry.db",
        "online_store": online,
        "offline_store": {"type": f"{OURS}.offline.PolarsOfflineStore"},
        "entity_key_serialization_version": 3,
        **({"batch_engine": ENGINE} if engine else {}),
    }
    (folder / "feature_store.yaml").write_text(yaml.safe_dump(settings))
    return FeatureStore(repo_path=str(folder))


def source(name: str, **more: Any) -> FileSource:
    return FileSource(name=f"{name}_file", path=f"{name}.parquet", timestamp_field="event_timestamp", **more)


def definitions() -> list[Any]:
    origin = Entity(name="origin", join_keys=["origin"], value_type=ValueType.STRING)
    gate = Entity(name="gate", join_keys=["gate"], value_type=ValueType.INT64)
    weather = FeatureView(
        name="weather",
        entities=[origin],
        ttl=timedelta(hours=3),
        schema=[
            Field(name="wind", dtype=Float64),
            Field(name="rain", dtype=Float64, tags={"default": "0.5"}),
        ],
        source=PushSource(name="station_reports", batch_source=source("weather")),
    )
    gates = FeatureView(
        name="gates",
        entities=[origin, gate],
        schema=[Field(name="queue", dtype=Int64), Field(name="open", dtype=Bool)],
        source=source("gates", field_mapping={"length": "queue"}),
    )
    country = FeatureView(
        name="country",
        entities=[],
        schema=[Field(name="fuel_price", dtype=Float32)],
        source=source("country"),
    )
    things = FeatureView(
        name="things",
        entities=[gate],
        schema=[Field(name=name, dtype=dtype) for name, dtype in TYPES.items()],
        source=source("things", created_timestamp_column="created"),
    )
    service = FeatureService(name="all", features=[weather, gates, country])
    return [origin, gate, weather, gates, country, things, service]


def write_sources(folder: Path) -> None:
    """Write what was known up to hour 2."""
    tables = {
        "weather": {
            "origin": ["JFK", "JFK", "EWR"],
            "wind": [10.0, 20.0, None],
            "rain": [0.0, 1.5, float("nan")],
            "event_timestamp": [at(0), at(2), at(1)],
        },
        "gates": {
            "origin": ["JFK", "JFK", "EWR"],
            "gate": [1, 2, 1],
            "length": [7, None, -3],
            "open": [True, False, None],
            "event_timestamp": [at(0), at(0), at(1)],
        },
        "country": {"fuel_price": [2.5, 3.25], "event_timestamp": [at(0), at(1)]},
        "things": {
            "gate": [1, 2],
            "double": [-0.5, None],
            "single": [0.25, None],
            "short": [-5, None],
            "long": [2**62, None],
            "flag": [False, None],
            "text": ["é", None],
            "moment": [at(5), None],
            "raw": [b"\x00\xff", None],
            "many": [[1.0, 2.0], None],
            "event_timestamp": [at(0), at(0)],
            "created": [at(1), at(1)],
        },
    }
    for name, columns in tables.items():
        pl.DataFrame(columns).write_parquet(folder / f"{name}.parquet")
