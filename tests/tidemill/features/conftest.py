"""A small but real project: weather by origin, lateness by carrier, an on-demand view."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.repo_config import RegistryConfig
from feast.types import Float64

from tidemill.project import Project, load_project
from tidemill.settings import Settings

PARAMS = {
    "project": {"name": "mini", "model": "mini", "training": "a:b", "application": "a:b"},
    "dataset": {"path": "data/training_set.parquet", "label": "late"},
    "features": {"service": "mini"},
}

STORE = """
project: mini
provider: local
registry: ../.tidemill/registry.db
online_store:
    type: tidemill.features.online.SqliteOnlineStore
    path: ../.tidemill/online.db
offline_store:
    type: tidemill.features.offline.PolarsOfflineStore
entity_key_serialization_version: 3
"""

DEFINITIONS = """
from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String, UnixTimestamp

origin = Entity(name="origin", join_keys=["origin"], value_type=ValueType.STRING)
carrier = Entity(name="carrier", join_keys=["carrier"], value_type=ValueType.STRING)

weather = FeatureView(
    name="weather",
    entities=[origin],
    ttl=timedelta(hours=3),
    schema=[Field(name="wind", dtype=Float64), Field(name="rain", dtype=Float64)],
    source=FileSource(path="../data/weather.parquet", timestamp_field="event_timestamp"),
)
lateness = FeatureView(
    name="lateness",
    entities=[carrier],
    ttl=timedelta(days=7),
    schema=[Field(name="late_share", dtype=Float64), Field(name="flights", dtype=Int64)],
    source=FileSource(path="../data/lateness.parquet", timestamp_field="event_timestamp"),
)
request = RequestSource(name="request", schema=[Field(name="departure", dtype=UnixTimestamp)])


@on_demand_feature_view(
    sources=[request, weather],
    schema=[Field(name="hour", dtype=Int64), Field(name="wind_squared", dtype=Float64)],
    mode="python",
)
def schedule(inputs: dict) -> dict:
    # the wind's force goes with its square
    return {
        "hour": [moment.hour for moment in inputs["departure"]],
        "wind_squared": [None if wind is None else wind * wind for wind in inputs["wind"]],
    }


mini = FeatureService(name="mini", features=[schedule, lateness, weather[["rain"]]])
"""

START = datetime(2013, 1, 1, tzinfo=UTC)


def hours(count: float) -> datetime:
    return START + timedelta(hours=count)


def make(root: Path) -> Project:
    (root / "feature_repo").mkdir(parents=True)
    (root / "data").mkdir()
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (root / "feature_repo" / "feature_store.yaml").write_text(STORE)
    (root / "feature_repo" / "mini_views.py").write_text(DEFINITIONS)
    pl.DataFrame(
        {
            "origin": ["JFK", "JFK", "EWR"],
            "event_timestamp": [hours(0), hours(2), hours(1)],
            "wind": [10.0, 20.0, None],
            "rain": [0.0, 0.5, 0.25],
        }
    ).write_parquet(root / "data" / "weather.parquet")
    pl.DataFrame(
        {
            "carrier": ["AA", "AA", "UA"],
            "event_timestamp": [hours(-24), hours(0), hours(0)],
            "late_share": [0.1, 0.2, 0.3],
            "flights": [5, 6, 7],
        }
    ).write_parquet(root / "data" / "lateness.parquet")
    return load_project(root, Settings())


@pytest.fixture
def make_project() -> Callable[[Path], Project]:
    return make


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make(tmp_path / "project")


@pytest.fixture
def define(project: Project) -> Callable[..., None]:
    """Replace pieces of text in the project's definitions."""

    def replace(*pairs: tuple[str, str]) -> None:
        path = project.root / "feature_repo" / "mini_views.py"
        text = path.read_text()
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)

    return replace


STATION = Entity(name="station", join_keys=["station"], value_type=ValueType.STRING)


@pytest.fixture
def station() -> Entity:
    return STATION


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """An empty Feast store on `PolarsOfflineStore`; its repository is ``tmp_path``."""
    config = RepoConfig(
        project="offline",
        provider="local",
        registry=RegistryConfig(path=str(tmp_path / "registry.db")),
        online_store={"type": "sqlite", "path": str(tmp_path / "online.db")},
        offline_store={"type": "tidemill.features.offline.PolarsOfflineStore"},
        entity_key_serialization_version=3,
        repo_path=tmp_path,
    )
    return FeatureStore(config=config)


@pytest.fixture
def make_view(tmp_path: Path) -> Callable[..., FeatureView]:
    """Declare a view of stations (or others) over a parquet file, which is written if rows are given."""

    def declare(
        name: str,
        rows: pl.DataFrame | None = None,
        *,
        path: str | None = None,
        entities: tuple[Entity, ...] = (STATION,),
        features: dict[str, Any] | tuple[str, ...] = ("wind",),
        ttl: timedelta | None = None,
        **source: Any,
    ) -> FeatureView:
        where = path or f"{name}.parquet"
        if rows is not None:
            rows.write_parquet(tmp_path / where, mkdir=True)
        types = features if isinstance(features, dict) else dict.fromkeys(features, Float64)
        return FeatureView(
            name=name,
            entities=list(entities),
            ttl=ttl,
            schema=[Field(name=feature, dtype=dtype) for feature, dtype in types.items()],
            source=FileSource(name=f"{name}_source", path=where, **{"timestamp_field": "time", **source}),
        )

    return declare
