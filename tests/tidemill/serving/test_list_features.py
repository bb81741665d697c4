"""Lists of numbers as features, from a CSV file to the prediction log, its drift and an explanation."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient

from tests.tidemill.training.made_project import AS_OF, crown, fit, make_project, write_csv
from tidemill.monitoring.drift.drift_columns import compare
from tidemill.monitoring.drift.model_impact import attributions_of
from tidemill.monitoring.kind_sections import DataDriftConfig
from tidemill.prediction_log.prediction_log import features_of, read_predictions
from tidemill.project.feature_columns import read_columns
from tidemill.registry.versions.model_versions import load_original, load_reference, load_scorer
from tidemill.scoring.score import score
from tidemill.scoring.scoring_job import ScoreRequest
from tidemill.serving.runtime.replica.wiring import build_api
from tidemill.training.feature_table import as_features
from tidemill.training.fitting.split_rows import read_split

pytestmark = pytest.mark.engine

N, LENGTH = 400, 4
R = np.random.default_rng(0)
VECTORS = R.normal(size=(N, LENGTH)).round(3)
TABLE = pl.DataFrame(
    {
        "sky": R.choice(["clear", "grey"], N),
        "embedding": [
            None if n % 50 == 0 else [None, *row[1:]] if n % 25 == 1 else row
            for n, row in enumerate(VECTORS.tolist())
        ],
        "wind": R.normal(size=N).round(3),
        "late": np.where(VECTORS[:, 1] + 0.3 * R.normal(size=N) > 0, "yes", "no"),
    }
)
FEATURES = ("sky", "embedding", "wind")
SEEN = {"sky": "clear", "embedding": [0.0, 2.0, 0.5, 0.0], "wind": 0.1}
UNSEEN = {"sky": "grey", "embedding": [0.0, -2.0, 0.5, 0.0], "wind": 0.1}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lists")
    made = make_project(folder / "p", write_csv(TABLE, folder / "t.csv"), "late", positive="yes")
    trained, version = fit(made, FEATURES, "hist_gradient_boosting")
    assert trained.lists == {"embedding": LENGTH}
    assert trained.metrics["holdout_roc_auc"] > 0.8
    crown(made, version)
    return made


@pytest.fixture(scope="module")
def api(project):
    with TestClient(build_api(project, "r1"), raise_server_exceptions=False) as served:
        yield served


def test_init_finds_lists_in_csv_and_declares_their_length(project):
    embedding = read_columns(project)[1]
    assert (embedding.name, embedding.type, embedding.length) == ("embedding", "list", LENGTH)
    assert (len(embedding.example), embedding.required) == (LENGTH, False)


def test_answers_move_with_the_list_that_tells_the_label(project):
    found = attributions_of(project, "1", load_reference(project, "1"), FEATURES)
    assert set(found) == set(FEATURES)
    assert found["embedding"] > 0.5 > 3 * max(found["sky"], found["wind"])


def test_the_model_is_compiled_and_answers_as_the_original(project):
    compiled = load_scorer(project, "1")
    assert compiled.kind == "onnx", compiled.reason
    assert compiled.features == FEATURES
    assert compiled.columns == ("sky", *(f"embedding.{n}" for n in range(LENGTH)), "wind")
    rows = pl.DataFrame([SEEN, UNSEEN, {**SEEN, "embedding": None}]).to_pandas()
    answers = compiled.predict(rows)
    assert answers[0] > 0.6 > 0.4 > answers[1]


def ask(api, *instances, query="", **more):
    return api.post(f"/predict{query}", json={"instances": list(instances), **more})


def test_predict_takes_lists_and_says_what_is_wrong_with_others(api):
    answer = ask(api, SEEN, UNSEEN, {**SEEN, "embedding": None})
    assert answer.status_code == 200, answer.text
    first, second, _ = [one["probability"] for one in answer.json()["predictions"]]
    assert first > 0.6 > 0.4 > second
    for wrong, said in [
        ([1.0, 2.0], "Input should be a list of 4 numbers, and a list of 2 was given"),
        ("near", "Input should be a list of 4 numbers, and text was given"),
        ([1.0, "a", 0.0, 0.0], "Input should be a valid number, and text was given"),
        ([1e300, 0.0, 0.0, 0.0], "Input should lie within ±3.403e+38"),
    ]:
        refused = ask(api, {**SEEN, "embedding": wrong})
        assert refused.status_code == 422
        [problem] = refused.json()["detail"]
        assert problem["loc"][:4] == ["body", "instances", 0, "embedding"]
        assert problem["msg"] == said
    schema = api.get("/openapi.json").json()["components"]["schemas"]["Instance"]["properties"]["embedding"]
    [listed] = [one for one in schema.get("anyOf", [schema]) if one.get("type") == "array"]
    assert (listed["minItems"], listed["maxItems"]) == (LENGTH, LENGTH)
    assert {one["type"] for one in listed["items"]["anyOf"]} == {"number", "null"}


def v2(api, project, *inputs, path="infer"):
    return api.post(f"/v2/models/{project.model}/{path}", json={"inputs": list(inputs)})


def test_the_open_inference_protocol_takes_tensors_of_rows_and_elements(api, project):
    declared = {one["name"]: one for one in api.get(f"/v2/models/{project.model}").json()["inputs"]}
    assert declared["embedding"]["shape"] == [-1, LENGTH]
    assert declared["embedding"]["datatype"] == "FP64"
    tensor = {
        "name": "embedding",
        "datatype": "FP32",
        "shape": [2, LENGTH],
        "data": SEEN["embedding"] + UNSEEN["embedding"],
    }
    others = [
        {"name": "sky", "datatype": "BYTES", "shape": [2], "data": ["clear", "grey"]},
        {"name": "wind", "datatype": "FP64", "shape": [2], "data": [0.1, 0.1]},
    ]
    answer = v2(api, project, tensor, *others)
    assert answer.status_code == 200, answer.text
    expected = [one["probability"] for one in ask(api, SEEN, UNSEEN).json()["predictions"]]
    assert answer.json()["outputs"][0]["data"] == pytest.approx(expected)
    short = {**tensor, "shape": [2, 2], "data": [0.0] * 4}
    refused = v2(api, project, short, *others)
    assert (refused.status_code, "a list of 4 numbers, and a list of 2" in refused.text) == (400, True)


def test_mlflows_protocol_takes_lists_in_json_and_csv(api):
    frame = {"columns": list(FEATURES), "data": [list(SEEN.values()), list(UNSEEN.values())]}
    answer = api.post("/invocations", json={"dataframe_split": frame})
    assert answer.status_code == 200, answer.text
    expected = [one["probability"] for one in ask(api, SEEN, UNSEEN).json()["predictions"]]
    assert answer.json()["predictions"] == pytest.approx(expected)
    text = 'sky,embedding,wind\nclear,"[0.0, 2.0, 0.5, 0.0]",0.1\n'
    read = api.post("/invocations", content=text, headers={"content-type": "text/csv"})
    assert read.status_code == 200, read.text
    assert read.json()["predictions"] == pytest.approx(expected[:1])


def test_an_explanation_sums_over_the_elements(api):
    pytest.importorskip("shap")
    gap = {**SEEN, "embedding": [None, *SEEN["embedding"][1:]]}
    answer = ask(api, SEEN, gap, query="?explain=true")
    assert answer.status_code == 200, answer.text
    for prediction in answer.json()["predictions"]:
        contributions = prediction["explanation"]["contributions"]
        assert list(contributions) == list(FEATURES)
        assert max(contributions, key=lambda name: abs(contributions[name])) == "embedding"


def test_the_log_keeps_lists_and_their_drift_is_seen(api, project):
    moved = [{**SEEN, "embedding": [one + 2 for one in row]} for row in VECTORS[1:50].tolist()]
    usual = [{**SEEN, "embedding": row} for row in TABLE["embedding"][1:50].to_list()]
    found = {}
    for name, rows, at in (("moved", moved, "2030-01-01"), ("usual", usual, "2030-01-02")):
        assert ask(api, *rows, at=f"{at}T00:00:00Z").status_code == 200
        start = datetime.fromisoformat(f"{at}T00:00:00+00:00")
        logged = read_predictions(project.predictions, project.model, start, start.replace(hour=1))
        assert logged.schema["feature.embedding"] == pl.List(pl.Float64)
        features = features_of(logged).select("embedding")
        versions = logged["version"]
        before = TABLE.select("embedding")
        [found[name]] = compare(before, features, DataDriftConfig(numerical=0.5, missing=0.5), versions, "1")
    assert (found["moved"].drifted, found["usual"].drifted) == (True, False)
    assert found["moved"].value > 1 > found["usual"].value
    assert (found["moved"].method, found["usual"].reference_missing) == ("wasserstein", 0.06)


def test_gaps_inside_lists_are_the_same_in_training_requests_tables_and_the_log(api, project, tmp_path):
    """Rows as training has them, as the original answers them, by each way to the version that serves."""
    learnt = read_split(project, FEATURES, AS_OF).fit.filter(pl.col("embedding").arr.get(0).is_null())
    learnt = learnt.filter(pl.col("embedding").is_not_null()).head(6).select(FEATURES)
    assert learnt.height == 6
    expected = load_original(project, "1").predict(as_features(learnt, FEATURES))
    assert len(set(expected.round(4))) > 3
    rows = learnt.to_dicts()
    at = datetime(2030, 1, 3, tzinfo=UTC)
    tensors = [
        {"name": "sky", "datatype": "BYTES", "shape": [6], "data": learnt["sky"].to_list()},
        {"name": "wind", "datatype": "FP64", "shape": [6], "data": learnt["wind"].to_list()},
        {
            "name": "embedding",
            "datatype": "FP64",
            "shape": [6, LENGTH],
            "data": learnt["embedding"].to_list(),
        },
    ]
    frame = {"columns": list(FEATURES), "data": [list(row.values()) for row in rows]}
    listed = learnt.with_columns(pl.col("embedding").arr.to_list())
    text = Path(write_csv(listed, tmp_path / "in.csv")).read_text()
    listed.write_parquet(tmp_path / "in.parquet")
    given = {
        "predict": [one["probability"] for one in ask(api, *rows, at=at.isoformat()).json()["predictions"]],
        "v2": v2(api, project, *tensors).json()["outputs"][0]["data"],
        "mlflow": api.post("/invocations", json={"dataframe_split": frame}).json()["predictions"],
        "csv": api.post("/invocations", content=text, headers={"content-type": "text/csv"}).json()[
            "predictions"
        ],
    }
    for kind in ("csv", "parquet"):
        out = tmp_path / kind
        outcome = score(
            project,
            ScoreRequest(
                (str(tmp_path / f"in.{kind}"),),
                str(out),
                features="columns",
                workers=0,
                log=kind == "csv",
                at=at,
            ),
        )
        assert outcome.manifest["rejected"] == 0
        given[f"score {kind}"] = pl.read_parquet(next(out.glob("*.parquet")))["probability"].to_list()
    logged = read_predictions(project.predictions, project.model, at, at.replace(hour=1))
    assert logged.height == 12
    assert set(logged["feature.embedding"].list.get(0).to_list()) == {None}
    kept = features_of(logged).select(FEATURES)
    again = load_scorer(project, "1").predict(as_features(kept, FEATURES, {"embedding": LENGTH}))
    given["log"] = sorted(again)[::2]
    for way, answers in given.items():
        wanted = sorted(expected) if way == "log" else expected
        assert answers == pytest.approx(list(wanted), abs=1e-6), way


def test_training_names_lists_with_gaps_that_requests_may_not_bring(project, caplog):
    read_split(project, FEATURES, AS_OF)
    assert "gaps inside" not in caplog.text
    file = project.root / "features.yaml"
    written = file.read_text()
    try:
        file.write_text(written.replace("required: false", "required: true"))
        read_split(project, FEATURES, AS_OF)
    finally:
        file.write_text(written)
    assert "lists with gaps inside are learnt from, but requests must bring whole ones" in caplog.text
    assert "`required: false` of them: embedding in 16 rows" in caplog.text
