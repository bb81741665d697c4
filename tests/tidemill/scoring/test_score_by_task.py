"""Batch scoring of every task: the columns of the output, text as features, decisions and the log."""

import json
import shutil

import numpy as np
import pandas as pd
import polars as pl
import pytest
import yaml
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from tests.tidemill.serving.small_project import KNOWN, add_model, crown
from tidemill.prediction_log.prediction_log import read_predictions
from tidemill.project import load_project
from tidemill.registry.versions.model_versions import load_scorer
from tidemill.scoring.score import score
from tidemill.scoring.scoring_job import ScoreRequest, dumped, loaded

pytestmark = pytest.mark.engine
WEATHER = pd.DataFrame(
    {"wind": [1.0, 9.0, 5.0, 2.0], "sky": ["clear", "grey", None, "clear"], "rain": [0.5, 2.0, 1.0, 0.0]}
)
CLASSES = ("calm", "fresh", "wild")


def with_text(model):
    sky = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_pipeline(ColumnTransformer([("sky", sky, ["sky"])], remainder="passthrough"), model)


TASKS = {
    "multiclass": ({"classes": list(CLASSES)}, RandomForestClassifier(3, random_state=0), [0, 2, 1, 0]),
    "regression": ({}, LinearRegression(), 10 * WEATHER["wind"]),
    "custom": ({}, LinearRegression(), WEATHER[["rain", "wind"]]),
}


@pytest.fixture(scope="module", params=TASKS)
def scored(request, tmp_path_factory, template):
    dataset, model, truth = TASKS[request.param]
    root = shutil.copytree(template, tmp_path_factory.mktemp(request.param) / "project")
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["project"]["task"] = request.param
    params["dataset"] |= dataset
    params["train"] = {"metric": "measured_parcels:none"} if request.param == "custom" else {}
    (root / "measured_parcels.py").write_text("def none(truth, answers):\n    return 0.0\n")
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    project = load_project(root)
    crown(project, add_model(project, with_text(model).fit(WEATHER, truth), WEATHER, project.task))
    return request.param, project


def read(path):
    return pl.read_parquet(path / "part-*.parquet")


def test_the_columns_are_those_of_the_task(scored, tmp_path):
    kind, project = scored
    pl.from_pandas(WEATHER).write_parquet(tmp_path / "in.parquet")
    score(project, ScoreRequest((str(tmp_path / "in.parquet"),), str(tmp_path / "out")))
    found = read(tmp_path / "out")
    shown = [project.task.shown(one) for one in load_scorer(project, "champion").predict(WEATHER).tolist()]
    if kind == "multiclass":
        names = ["class", "probability_calm", "probability_fresh", "probability_wild"]
        assert found["class"].to_list() == [one["class"] for one in shown]
        for name in CLASSES:
            assert found[f"probability_{name}"].to_list() == [one["probabilities"][name] for one in shown]
    elif kind == "regression":
        names = ["value"]
        assert found["value"].to_list() == pytest.approx([one["value"] for one in shown])
    else:
        names = ["answer"]
        assert [json.loads(one) for one in found["answer"]] == [one["answer"] for one in shown]
    assert found.columns == ["prediction_id", "model_version", *names, "flags"]


def test_text_features_are_read_from_csv_too(scored, tmp_path):
    _, project = scored
    table = pl.from_pandas(WEATHER)
    table.write_parquet(tmp_path / "in.parquet")
    table.write_csv(tmp_path / "in.csv")
    for name in ("parquet", "csv"):
        score(project, ScoreRequest((str(tmp_path / f"in.{name}"),), str(tmp_path / name)))
    assert (
        read(tmp_path / "csv").drop("prediction_id").equals(read(tmp_path / "parquet").drop("prediction_id"))
    )


def test_the_log_has_whole_answers_and_text(scored, tmp_path):
    _, project = scored
    at = KNOWN.isoformat()
    pl.from_pandas(WEATHER.assign(event_timestamp=at)).write_parquet(tmp_path / "in.parquet")
    score(project, ScoreRequest((str(tmp_path / "in.parquet"),), str(tmp_path / "out"), log=True))
    day = np.timedelta64(1, "D").astype(object)
    rows = read_predictions(project.predictions, project.model, KNOWN - day, KNOWN + day)
    rows = rows.filter(pl.col("prediction_id").is_in(read(tmp_path / "out")["prediction_id"].to_list()))
    rows = rows.sort("feature.wind")
    assert rows["feature.sky"].to_list() == ["clear", "clear", None, "grey"]
    expected = load_scorer(project, "champion").predict(WEATHER.sort_values("wind"))
    assert project.task.given_in_log(rows).tolist() == expected.tolist()


def test_a_job_is_read_back_as_it_was_and_older_ones_answer_probabilities(scored, tmp_path, monkeypatch):
    _, project = scored
    kept = []
    monkeypatch.setattr("tidemill.scoring.score.fingerprint", lambda job: kept.append(job) or "x")
    pl.from_pandas(WEATHER).write_parquet(tmp_path / "in.parquet")
    score(project, ScoreRequest((str(tmp_path / "in.parquet"),), str(tmp_path / "out")))
    assert loaded(dumped(kept[0])) == kept[0]
    facts = json.loads(dumped(kept[0]))
    del facts["answer_fields"]
    assert [field.name for field in loaded(json.dumps(facts).encode()).answer_fields] == ["probability"]
