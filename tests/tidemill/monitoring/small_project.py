"""A small project that serves while time goes by: weather by origin, lateness by carrier, an on-demand view.

Every hour its values become known and are pushed to the real online store, and predictions are answered by
the real predictor into the real log; a test plants what goes wrong.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import numpy as np
import polars as pl
import yaml
from pydantic import AwareDatetime, BaseModel

from tidemill.clock import SystemClock
from tidemill.features.feature_store import apply, open_store, push
from tidemill.features.online.online_features import OnlineFeatures
from tidemill.features.personal_fields import personal_fields
from tidemill.prediction_log.prediction_log import PredictionLog
from tidemill.prediction_log.writing.redaction import redaction_for
from tidemill.project import Project, load_project
from tidemill.registry.versions.model_versions import CHAMPION
from tidemill.serving.inference.application import Application
from tidemill.serving.inference.predictor import Predictor
from tidemill.serving.routing.loaded_version import LoadedModel
from tidemill.serving.routing.traffic_split import ServingVersions
from tidemill.tasks.binary import Binary
from tidemill.training.splits import Period, Split
from tidemill.training.tracking.mlflow_tracking import connect, experiment_id
from tidemill.training.tracking.reference_rows import ReferenceRows
from tidemill.training.tracking.run_files import log_table
from tidemill.training.tracking.run_lineage import Lineage
from tidemill.training.tracking.training_record import log_lineage, log_summary
from tidemill.training.tracking.training_result import REFERENCE, TrainedModel

START = datetime(2013, 1, 1, tzinfo=UTC)
ORIGINS = ("JFK", "EWR", "LGA")
CARRIERS = ("AA", "UA")
PARAMS = {
    "project": {"name": "flights", "model": "delay", "training": "p:a", "application": "p:b"},
    "dataset": {"path": "data/training_set.parquet", "label": "late"},
    "features": {"service": "delay"},
}
STORE = """
project: mini
provider: local
registry: ../.tidemill/registry.db
online_store: {type: sqlite, path: ../.tidemill/online.db}
offline_store: {type: tidemill.features.offline.PolarsOfflineStore}
entity_key_serialization_version: 3
"""
DEFINITIONS = """
from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, UnixTimestamp

origin = Entity(name="origin", join_keys=["origin"], value_type=ValueType.STRING)
carrier = Entity(name="carrier", join_keys=["carrier"], value_type=ValueType.STRING)


def view(name, entity, ttl, *features):
    return FeatureView(
        name=name,
        entities=[entity],
        ttl=ttl,
        schema=[Field(name=feature, dtype=Float64) for feature in features],
        source=FileSource(path=f"../data/{name}.parquet", timestamp_field="event_timestamp"),
    )


weather = view("weather", origin, timedelta(hours=3), "wind", "rain", "pressure")
lateness = view("lateness", carrier, timedelta(days=7), "late_share")
runways = view("runways", origin, timedelta(0), "runways")
request = RequestSource(name="request", schema=[Field(name="departure", dtype=UnixTimestamp)])


@on_demand_feature_view(
    sources=[request, weather],
    schema=[Field(name="hour", dtype=Int64), Field(name="wind_squared", dtype=Float64)],
    mode="python",
)
def schedule(inputs: dict) -> dict:
    return {
        "hour": [moment.hour for moment in inputs["departure"]],
        "wind_squared": [None if wind is None else wind * wind for wind in inputs["wind"]],
    }


delay = FeatureService(name="delay", features=[schedule, weather[["wind", "rain"]], lateness, runways])
"""
FEATURES = ("hour", "wind_squared", "wind", "rain", "late_share", "runways")


def hour(count: float) -> datetime:
    """Return the moment ``count`` hours after the start."""
    return START + timedelta(hours=count)


class Flight(BaseModel):
    """What is asked."""

    origin: str | None
    carrier: str
    departure: AwareDatetime


class Constant:
    """A model that always says 0.2."""

    task, words, mixed, lists = Binary(""), (), None, MappingProxyType({})

    def __init__(self, features):
        self.features = features

    def score(self, matrix):
        """Answer every row."""
        return np.full(len(matrix), 0.2)


def make_project(root: Path, hours: int) -> Project:
    """Write the project with ``hours`` hours of history, and apply its definitions."""
    (root / "feature_repo").mkdir(parents=True)
    (root / "data").mkdir()
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (root / "feature_repo" / "feature_store.yaml").write_text(STORE)
    (root / "feature_repo" / "mini_views.py").write_text(DEFINITIONS)
    random = np.random.default_rng(1)
    weather = pl.DataFrame(
        [(origin, hour(count)) for count in range(hours) for origin in ORIGINS],
        schema={"origin": pl.String, "event_timestamp": pl.Datetime("us", "UTC")},
        orient="row",
    )
    weather = weather.with_columns(
        wind=pl.Series(random.normal(10, 3, weather.height)),
        rain=pl.Series(random.gamma(2, 1, weather.height).round(1)),
        pressure=pl.lit(1013.0),
    )
    lateness = pl.DataFrame(
        [(carrier, hour(count)) for count in range(0, hours, 24) for carrier in CARRIERS],
        schema={"carrier": pl.String, "event_timestamp": pl.Datetime("us", "UTC")},
        orient="row",
    )
    lateness = lateness.with_columns(late_share=pl.Series(random.random(lateness.height)))
    runways = pl.DataFrame({"origin": ORIGINS, "runways": [4.0, 3.0, 2.0]})
    runways = runways.with_columns(event_timestamp=pl.lit(hour(-24 * 365)))
    for name, table in {"weather": weather, "lateness": lateness, "runways": runways}.items():
        table.write_parquet(root / "data" / f"{name}.parquet")
    project = load_project(root)
    apply(project)
    return project


def define(project: Project, *pairs: tuple[str, str]) -> None:
    """Replace pieces of the project's definitions, and apply them."""
    path = project.root / "feature_repo" / "mini_views.py"
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    apply(project)


def on_time(view: str, row: dict, known: datetime) -> datetime:
    """Return when a row reaches the online store: as soon as it is known."""
    return known


@dataclass
class Player:
    """Plays the hours: pushes what has arrived, then asks for every origin and carrier, ten minutes later."""

    project: Project
    arrives: Callable[[str, dict, datetime], datetime | None] = on_time
    version: str = "1"
    pending: list[tuple[datetime, str, dict]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for path in sorted((self.project.root / "data").glob("*.parquet")):
            for row in pl.read_parquet(path).iter_rows(named=True):
                arrives = self.arrives(path.stem, row, row["event_timestamp"])
                if arrives is not None:
                    self.pending.append((arrives, path.stem, row))
        self.pending.sort(key=lambda each: each[0])

    def play(self, first: int, last: int, origins: tuple[str | None, ...] = ORIGINS) -> None:
        """Serve the hours from ``first`` up to, but not including, ``last``, by the definitions of now."""
        store = open_store(self.project)
        redaction = redaction_for(self.project, Flight, personal_fields(store))
        features = OnlineFeatures(store, "delay")
        constant = Constant(tuple(name for _, name in features.features))
        model = LoadedModel(self.version, constant, features, START, redaction)
        log = PredictionLog(self.project.predictions, self.project.model)
        application = Application(
            request=Flight, feature_row=lambda flight: dict(flight), decide=lambda flight, score: {}
        )
        serving = ServingVersions(model)
        predictor = Predictor(application, self.project.model, lambda: serving, log, "r1", SystemClock())
        for count in range(first, last):
            self._push(store, hour(count))
            at = hour(count) + timedelta(minutes=10)
            flights = [
                Flight(origin=origin, carrier=carrier, departure=at + timedelta(hours=2))
                for origin in origins
                for carrier in CARRIERS
            ]
            predictor.predict(flights, at=at)
        log.close()

    def _push(self, store, now: datetime) -> None:
        arrived: dict[str, list[dict]] = {}
        while self.pending and self.pending[0][0] <= now:
            _, view, row = self.pending.pop(0)
            arrived.setdefault(view, []).append(row)
        for view, rows in arrived.items():
            push(store, view, pl.DataFrame(rows).to_pandas())


def crown(project: Project, definition: str) -> str:
    """Register a version that was trained on the definitions of that hash, and make it champion."""
    client = connect(project)
    trained = TrainedModel("", "models:/m-0", {}, 1, 0, "toy", {})
    split = Split(*(Period(hour(24 * day - 96), hour(24 * day - 72)) for day in range(3)))
    lineage = Lineage("c0ffee", {}, "delay", definition, split, START)
    run_id = client.create_run(experiment_id(client, project)).info.run_id
    tags = log_lineage(client, run_id, lineage) | log_summary(client, run_id, trained)
    random = np.random.default_rng(2)
    features = pl.DataFrame({name: random.random(100) for name in ("wind", "rain")})
    reference = ReferenceRows(features, pl.Series([0] * 100), pl.Series(random.random(100)))
    log_table(client, run_id, reference.table(), REFERENCE)
    if not client.search_registered_models():
        client.create_registered_model(project.model)
    version = client.create_model_version(project.model, source=str(project.home), run_id=run_id, tags=tags)
    client.set_registered_model_alias(project.model, CHAMPION, version.version)
    return str(version.version)
