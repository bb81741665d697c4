"""A small project with a training set of text, gaps and numbers, for models made elsewhere."""

import shutil
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
import yaml

from tests.tidemill.training.small_project import START, Data, day
from tidemill.project import load_project
from tidemill.registry.importing.model_import import ImportRequest, ProjectState, import_version
from tidemill.settings import Settings

ROWS, FEATURES = 900, ("wind", "delay", "origin", "hour")
TASKS = {
    "binary": ({"task": "binary"}, {"label": "churned", "classes": ["stayed", "left"], "positive": "left"}),
    "multiclass": ({"task": "multiclass"}, {"label": "kind", "classes": ["short", "medium", "long"]}),
    "regression": ({"task": "regression"}, {"label": "minutes"}),
    "custom": ({"task": "custom"}, {"label": "minutes"}),
}


def table():
    draw = np.random.default_rng(4)
    at = [START + timedelta(hours=2 * number) for number in range(ROWS)]
    wind, delay, hour = draw.normal(size=ROWS), draw.normal(size=ROWS), draw.integers(0, 24, ROWS)
    origin = draw.choice(["EWR", "JFK", "LGA"], ROWS)
    minutes = 20 * wind + 10 * delay + np.where(origin == "JFK", 15, 0) + draw.normal(0, 5, ROWS)
    kinds = np.where(minutes > 15, "long", np.where(minutes < -15, "short", "medium"))
    found = pl.DataFrame(
        {
            "event_timestamp": at,
            "wind": wind,
            "delay": delay,
            "origin": origin.tolist(),
            "hour": hour,
            "churned": np.where(minutes > 5, "left", "stayed").tolist(),
            "kind": kinds.tolist(),
            "minutes": minutes,
            "label_known_at": at,
        }
    )
    gaps = [pl.Series(draw.random(ROWS) < 0.1) for _ in range(2)]
    return found.with_columns(
        pl.when(~gap).then(name).alias(name) for gap, name in zip(gaps, ("wind", "origin"), strict=True)
    )


@pytest.fixture(scope="session")
def rows():
    return table()


@pytest.fixture(scope="session")
def stores(tmp_path_factory):
    """A project of each task, whose store is made."""
    from tidemill.training.tracking.mlflow_tracking import connect, experiment_id

    made = {}
    for kind, (task, dataset) in TASKS.items():
        root = tmp_path_factory.mktemp(kind)
        params = {
            "project": {
                "name": "small",
                "model": "small-model",
                "training": "none:none",
                "application": "none:none",
                **task,
            },
            "dataset": {"path": "data/training_set.parquet", **dataset},
            "features": {"service": "small_service"},
            "gate": {"min_rows": 50},
            "train": {"metric": "none:closeness"} if kind == "custom" else {},
        }
        (root / "none.py").write_text(
            "from tidemill import Family, TrainingSpec\n"
            "none = TrainingSpec((Family('none', {}, print, 1),))\n"
            "def closeness(truth, answers):\n"
            "    return -sum(abs(want - given['high']) for want, given in zip(truth, answers)) / len(truth)\n"
        )
        (root / "params.yaml").write_text(yaml.safe_dump(params))
        (root / "data").mkdir()
        table().write_parquet(root / "data" / "training_set.parquet")
        if made:  # making the tables takes seconds
            shutil.copytree(made["binary"] / ".tidemill", root / ".tidemill")
        project = load_project(root, Settings())
        experiment_id(connect(project), project)
        made[kind] = root
    return made


@pytest.fixture
def project_of(stores, tmp_path):
    """A function that copies the project of a task, and loads it."""

    def copy(kind):
        ignore = shutil.ignore_patterns("*.lock")
        return load_project(shutil.copytree(stores[kind], tmp_path / kind, ignore=ignore), Settings())

    return copy


@pytest.fixture
def imported():
    """A function that imports a model into a project."""

    def run(project, address, **choices):
        state = ProjectState(Data(), FEATURES, "small_service", "77c2", ())
        return import_version(project, ImportRequest(str(address), day(70), **choices), state)

    return run
