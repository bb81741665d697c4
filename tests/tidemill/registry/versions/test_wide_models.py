"""Models with 400 features and a parameter of 20,000 characters are trained, registered, and exported."""

import json
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
import yaml

from tests.tidemill.training.small_project import Data, day, make_project, rows
from tidemill.project import load_project
from tidemill.registry.promotion import evaluate_gate, promote
from tidemill.registry.versions.export import export_version
from tidemill.registry.versions.model_cache import cache_model, cached_model
from tidemill.registry.versions.model_versions import (
    compiled_record,
    get_version,
    list_versions,
    load_holdout,
    load_original,
    load_scorer,
    open_files,
)
from tidemill.registry.versions.new_versions import register
from tidemill.state import open_state

pytestmark = pytest.mark.engine

NOW = datetime(2013, 5, 1, tzinfo=UTC)
FEATURES = tuple(f"feature_with_a_name_of_some_length_{n:03d}_{'x' * 200}" for n in range(400))
LONG = "word " * 4000  # 20,000 characters

MODEL = f"""
from sklearn.tree import DecisionTreeClassifier
from tidemill.training.model_spec import Family, TrainingSpec

def fit(params, features, labels):
    assert len(params["words"]) == {len(LONG)}
    yield DecisionTreeClassifier(max_depth=params["max(depth)"]).fit(features, labels)

spec = TrainingSpec((Family("tree" * 80, {{"words": {LONG!r}, "max(depth)": 3}}, fit, rounds=1),))
"""


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A trained project with 400 features whose names have 240 characters, and the run."""

    from tidemill.training.train import train

    project = make_project(tmp_path_factory.mktemp("wide"), trials=1)
    (project.root / "wide_model.py").write_text(MODEL)
    params = yaml.safe_load((project.root / "params.yaml").read_text())
    params["project"]["training"] = "wide_model:spec"
    (project.root / "params.yaml").write_text(yaml.safe_dump(params))
    frame, draw = rows(per_day=12), np.random.default_rng(0)
    others = {name: draw.normal(size=frame.height) for name in FEATURES[1:]}
    frame.select("event_timestamp", "late", "label_known_at", pl.col("wind").alias(FEATURES[0])).with_columns(
        **others
    ).write_parquet(project.dataset_path)
    project = load_project(project.root)
    data = Data(outputs={f"data/day_{n:03d}.parquet": f"{n:032x}" for n in range(500)})
    trained = train(
        project, data, day(100), "turn_1", features=FEATURES, service="small_service", definition="77c2"
    )
    return project, data, trained


def test_a_wide_model_is_registered_judged_loaded_and_given_out(wide, tmp_path):
    project, data, trained = wide
    assert register(project, trained.run_id, "turn_1") == "1"

    found = get_version(project, "1")
    assert found.trained == trained
    assert trained.params == {"words": LONG, "max(depth)": 3}
    assert found.lineage.data == data.outputs
    assert [one.trained.features for one in list_versions(project)] == [FEATURES]
    assert compiled_record(project, found).features == FEATURES
    assert len(found.description) < 500

    scorer, original = load_scorer(project, "1"), load_original(project, "1")
    assert (scorer.kind, scorer.features) == ("onnx", FEATURES)
    held = load_holdout(project, "1").to_pandas()
    assert scorer.predict(held) == pytest.approx(original.predict(held))

    state = open_state(project.state_url)
    assert evaluate_gate(project, state, "1", NOW).passed
    assert promote(project, state, "1", "me", "first", NOW).to_version == "1"
    state.close()

    given = export_version(project, project.model, "1", tmp_path / "edge")
    described = json.loads((given.folder / "model.json").read_text())
    assert [one["name"] for one in described["features"]] == list(FEATURES)

    with open_files(project, "1") as files:
        cache_model(project, found, files)
    assert cached_model(project, "1")[0].trained == trained
