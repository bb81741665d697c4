"""A small but whole project to serve: parcels, a feature view by depot, and models of fixed taste."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import yaml
from sklearn.ensemble import HistGradientBoostingClassifier

from tidemill.features.feature_store import apply, materialise
from tidemill.project import Project, load_project
from tidemill.registry.versions.new_versions import register
from tidemill.settings import Settings
from tidemill.tasks.binary import Binary
from tidemill.tasks.task import Task
from tidemill.training.fitting.packaging import log_model, trusted_types
from tidemill.training.splits import Period, Split
from tidemill.training.tracking.mlflow_tracking import connect, experiment_id
from tidemill.training.tracking.run_lineage import Lineage
from tidemill.training.tracking.training_record import log_lineage, log_summary
from tidemill.training.tracking.training_result import TrainedModel

PARAMS = {
    "project": {
        "name": "parcels",
        "model": "parcel-delay",
        "training": "parcels_app:spec",
        "application": "parcels_app:application",
    },
    "dataset": {"path": "data/training_set.parquet", "label": "late"},
    "features": {"service": "parcels"},
    "serve": {"poll_seconds": 0.1, "max_instances": 20},
}

APPLICATION = """
from datetime import datetime
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from tidemill.serving.inference.application import Application


class Parcel(BaseModel):
    model_config = ConfigDict(extra="forbid")
    depot: str = Field(pattern="^[a-z]+$")
    weight: float | None = None
    pickup: AwareDatetime | None = None


def decide(parcel, probability):
    return {"advice": "phone ahead" if probability > 0.5 else "deliver"}


application = Application(
    request=Parcel,
    feature_row=lambda parcel: {"depot": parcel.depot},
    decide=decide,
)
"""

STORE = """
project: parcels
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
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Float64

depot = Entity(name="depot", join_keys=["depot"], value_type=ValueType.STRING)
weather = FeatureView(
    name="weather",
    entities=[depot],
    ttl=timedelta(hours=3),
    schema=[Field(name="wind", dtype=Float64), Field(name="rain", dtype=Float64, tags={"default": "0.0"})],
    source=FileSource(path="../data/weather.parquet", timestamp_field="event_timestamp"),
)
parcels = FeatureService(name="parcels", features=[weather])
"""

KNOWN = datetime(2013, 4, 1, 12, tzinfo=UTC)
"""When the weather of the two depots was known; it expires three hours later."""


def make_project(root: Path, settings: Settings | None = None, **serve) -> Project:
    """Write a project with two depots, ``north`` and ``south``, applied and materialised."""
    (root / "feature_repo").mkdir(parents=True)
    (root / "data").mkdir()
    params = {**PARAMS, "serve": {**PARAMS["serve"], **serve}}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "parcels_app.py").write_text(APPLICATION)
    (root / "feature_repo" / "feature_store.yaml").write_text(STORE)
    (root / "feature_repo" / "parcel_views.py").write_text(DEFINITIONS)
    pl.DataFrame(
        {
            "depot": ["north", "south"],
            "event_timestamp": [KNOWN, KNOWN],
            "wind": [1.0, 9.0],
            "rain": [0.5, 2.0],
        },
        schema_overrides={"event_timestamp": pl.Datetime("us", "UTC")},
    ).write_parquet(root / "data" / "weather.parquet")
    project = load_project(root, settings)
    apply(project)
    materialise(project, KNOWN + timedelta(hours=1))
    return project


def add_version(project: Project, probability: float, features: tuple[str, ...] = ("wind", "rain")) -> str:
    """Register a model that answers ``probability`` (in steps of 0.05) to everything; return its version."""
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(20, len(features))), columns=list(features))
    # No leaf may be that small, so it never splits: it answers the share of ones, whatever it is asked.
    model = HistGradientBoostingClassifier(min_samples_leaf=1000, max_iter=1)
    model.fit(frame, np.arange(20) < round(20 * probability))
    return add_model(project, model, frame, Binary(""))


def add_model(
    project: Project, model: Any, frame: pd.DataFrame, task: Task, lists: dict[str, int] | None = None
) -> str:
    """Register a fitted estimator whose features are the columns of ``frame``; return its version.

    Columns ``<list>.0`` and so on are the elements of a feature in ``lists``.
    """
    features = dict.fromkeys(
        name.partition(".")[0] if name.partition(".")[0] in (lists or {}) else name for name in frame.columns
    )
    trusted = trusted_types(model, ())
    client = connect(project)
    run = client.create_run(experiment_id(client, project)).info.run_id
    uri = log_model(
        client, run_id=run, name="m", estimator=model, task=task, example=frame[:2], trusted=trusted
    ).uri
    trained = TrainedModel(
        run,
        uri,
        {},
        1,
        0,
        "trees",
        {},
        features=tuple(features),
        lists=lists or {},
        trusted_types=tuple(trusted),
        task=task.kind,
        classes=getattr(task, "classes", ()),
    )
    days = [KNOWN - timedelta(days=number) for number in (4, 3, 2, 1)]
    split = Split(*(Period(*pair) for pair in pairwise(days)))
    lineage = Lineage("0" * 40, {}, "parcels", "0", split, KNOWN)
    log_lineage(client, run, lineage)
    log_summary(client, run, trained)
    client.set_terminated(run)
    return register(project, run)


def crown(project: Project, version: str) -> None:
    """Make a version champion."""
    connect(project).set_registered_model_alias(project.model, "champion", version)
