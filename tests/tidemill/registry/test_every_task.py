"""A model of every task is trained, registered and judged, and answers as it was trained."""

import json
import subprocess
import sys
import textwrap
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
import yaml

from tests.tidemill.training.small_project import START, Data, day
from tidemill.project import load_project
from tidemill.registry.gates.champion_comparison import compare
from tidemill.registry.versions.export import export_version
from tidemill.registry.versions.model_versions import (
    get_version,
    load_holdout,
    load_reference,
    load_scorer,
)
from tidemill.registry.versions.new_versions import register
from tidemill.settings import Settings
from tidemill.training.compiling.onnx_graph import OUTPUTS
from tidemill.training.search.trial_records import TrialRecord
from tidemill.training.search.tuning import SearchResult
from tidemill.training.train import train

pytestmark = pytest.mark.engine

FEATURES = ("wind", "origin", "wet", "seen_at")
ROWS = 3000
MODEL = textwrap.dedent(
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    from tidemill import Family, TrainingSpec


    def with_encoder(model):
        one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        encoder = ColumnTransformer([("text", one_hot, ["origin"])], remainder="passthrough")
        return make_pipeline(encoder, model)


    def fit_classes(params, features, labels):
        yield with_encoder(HistGradientBoostingClassifier(max_iter=20, random_state=0)).fit(features, labels)


    def fit_value(params, features, labels):
        yield with_encoder(HistGradientBoostingRegressor(max_iter=20, random_state=0)).fit(features, labels)


    classes = TrainingSpec((Family("trees", {}, fit_classes, rounds=1),))
    value = TrainingSpec((Family("trees", {}, fit_value, rounds=1),))


    def within_ten(truth, answers):
        return float((abs(truth - answers) <= 10).mean())
    """
)
TASKS = {
    "text classes": ({"task": "binary"}, {"classes": ["no", "yes"], "positive": "yes"}, "classes", None),
    "multiclass": ({"task": "multiclass"}, {"classes": ["early", "<=15, about", "late"]}, "classes", None),
    "regression, by a metric of its own": (
        {"task": "regression"},
        {},
        "value",
        "task_model:within_ten",
    ),
}


def rows(kind):
    draw = np.random.default_rng(4)
    at = [START + timedelta(minutes=72 * number) for number in range(ROWS)]
    wind, origin = draw.normal(size=ROWS), draw.choice(["EWR", "JFK", "LGA"], ROWS)
    delay = 20 * wind + np.where(origin == "JFK", 15, 0) + draw.normal(0, 5, ROWS)
    label = {
        "text classes": np.where(delay > 15, "yes", "no"),
        "multiclass": np.where(delay > 15, "late", np.where(delay < -15, "early", "<=15, about")),
    }.get(kind, delay)
    whole = pl.DataFrame(
        {
            "event_timestamp": at,
            "wind": wind,
            "origin": origin.tolist(),
            "wet": draw.random(ROWS) < 0.3,
            "seen_at": at,
            "target": label.tolist(),
            "label_known_at": at,
        }
    )
    gaps = [pl.Series(draw.random(ROWS) < 0.1) for _ in range(2)]
    return whole.with_columns(
        pl.when(~gap).then(name).alias(name) for gap, name in zip(gaps, ("wind", "origin"), strict=True)
    )


@pytest.fixture(scope="module", params=TASKS)
def made(request, tmp_path_factory, ray_of_the_session):
    root = tmp_path_factory.mktemp("every")
    project, dataset, spec, metric = TASKS[request.param]
    (root / "task_model.py").write_text(MODEL)
    params = {
        "project": {
            "name": "small",
            "model": "small-model",
            "training": f"task_model:{spec}",
            "application": "none:none",
            **project,
        },
        "dataset": {"path": "data/training_set.parquet", "label": "target", **dataset},
        "features": {"service": "small_service"},
        "train": {"trials": 1, **({"metric": metric} if metric else {})},
        "gate": {"min_rows": 100},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "data").mkdir()
    rows(request.param).write_parquet(root / "data" / "training_set.parquet")
    found = load_project(root, Settings())
    first = train_version(found, "turn_1", 90)
    with pytest.MonkeyPatch.context() as patched:  # the second, to compare with, is found without Ray
        record = TrialRecord(0, "trees", {}, 1, "none")
        patched.setattr(
            "tidemill.training.train.search_by", lambda *_: SearchResult(record, 0.5, 1, trials=1, failed=0)
        )
        return found, [first, train_version(found, "turn_2", 140)]


def train_version(project, turn, until):
    trained = train(
        project, Data(), day(until), turn, features=FEATURES, service="small_service", definition="77c2"
    )
    return register(project, trained.run_id, turn)


def test_the_hold_out_is_judged_by_the_tasks_metrics(made):
    project, (version, _) = made
    metrics, task = get_version(project, version).metrics, project.task
    assert {f"holdout_{name}" for name in task.metrics} <= set(metrics)
    rows = load_holdout(project, version)
    answers = load_scorer(project, version).predict(rows.select(FEATURES).to_pandas())
    found = task.evaluate(task.truth(rows, "target"), answers)
    assert found[task.metric] == pytest.approx(metrics[f"holdout_{task.metric}"], abs=1e-6)


def test_text_and_gaps_and_moments_are_features(made):
    project, (version, _) = made
    reference = load_reference(project, version)
    assert reference.features.schema["origin"] == pl.String
    assert reference.features.schema["seen_at"] == pl.Float64
    assert reference.features["wind"].null_count() > 0
    assert reference.labels.null_count() == 0
    assert reference.scores.is_finite().all()


def test_the_compiled_model_answers_and_runs_alone(made, tmp_path):
    project, (version, _) = made
    scorer = load_scorer(project, version)
    assert (scorer.kind, scorer.reason) == ("onnx", None)
    export_version(project, "small-model", version, tmp_path / "edge")
    described = json.loads((tmp_path / "edge" / "model.json").read_text())
    assert described["output"]["name"] == OUTPUTS[project.task.kind]
    command = [sys.executable, "-I", str(tmp_path / "edge" / "predict.py")]
    checked = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "5 known answers, largest difference 0" in checked
    alone = subprocess.run([*command, "wind=1.5", "origin=JFK"], capture_output=True, text=True, check=True)
    row = pl.DataFrame({"wind": [1.5], "origin": ["JFK"], "wet": [None], "seen_at": [None]}).to_pandas()
    [answer] = scorer.predict(row.astype({"wet": float, "seen_at": float}))
    assert json.loads(alone.stdout) == project.task.shown(answer)


def test_the_gate_compares_versions_by_that_metric(made):
    project, (first, second) = made
    verdict = compare(project, get_version(project, second), get_version(project, first))
    assert verdict.numbers["metric"] == project.task.metric
    assert verdict.numbers["gain_interval"] is not None


def test_a_version_of_another_target_is_no_opponent(made):
    project, (first, second) = made
    text = (project.root / "params.yaml").read_text()
    other = "regression" if project.task.kind != "regression" else "binary"
    params = yaml.safe_load(text)
    params["project"]["task"] = other
    params["dataset"].pop("classes", None)
    params["dataset"].pop("positive", None)
    params["train"].pop("metric", None)
    (project.root / "params.yaml").write_text(yaml.safe_dump(params))
    try:
        changed = load_project(project.root, Settings())
        verdict = compare(changed, get_version(changed, second), get_version(changed, first))
    finally:
        (project.root / "params.yaml").write_text(text)
    assert not verdict.passed
    assert any("for another target" in reason or "labels are not" in reason for reason in verdict.reasons)
