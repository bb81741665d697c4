"""One small model a task, served in process: answers, protocols, schemas, the log and labels."""

import json
import shutil
from datetime import timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest
import yaml
from fastapi.testclient import TestClient
from pydantic import ValidationError
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression

from tests.tidemill.serving.small_project import KNOWN, add_model, crown
from tidemill.errors import ConfigError
from tidemill.prediction_log.prediction_log import read_labelled, read_predictions
from tidemill.project import load_project
from tidemill.serving.protocols.answer_schemas import feedback_schema
from tidemill.serving.runtime.replica.wiring import build_api
from tidemill.tasks.binary import Binary

pytestmark = pytest.mark.engine
AT = (KNOWN + timedelta(hours=1)).isoformat()
DAY = timedelta(days=1)
DECIDING = """
import json
from parcels_app import Parcel
from tidemill.serving.inference.application import Application
application = Application(
    request=Parcel,
    feature_row=lambda parcel: {"depot": parcel.depot},
    decide=lambda parcel, answer: {"saw": json.dumps(answer)},
)
"""
METRIC = """
def closeness(truth, answers):
    return -sum(abs(one[0] - other[0]) for one, other in zip(truth, answers))
"""
WEATHER = pd.DataFrame({"wind": [1.0, 9.0, 5.0, 2.0], "rain": [0.5, 2.0, 1.0, 0.0]})
CLASSES = ("calm", "fresh", "wild")


def multiclass():
    return RandomForestClassifier(3, random_state=0).fit(WEATHER, [0, 2, 1, 0])


def regression():
    return LinearRegression().fit(WEATHER, 10 * WEATHER["wind"])


def custom():
    return LinearRegression().fit(WEATHER, WEATHER[["rain", "wind"]])


TASKS = {
    "multiclass": ({"classes": list(CLASSES)}, {}, multiclass),
    "regression": ({}, {}, regression),
    "custom": ({}, {"metric": "parcels_metric:closeness"}, custom),
}


def make(root, kind):
    """Turn a copy of the small project into one of another task, with a champion."""
    dataset, train, model = TASKS[kind]
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["project"] |= {"task": kind, "application": "deciding_app:application"}
    params["dataset"] |= dataset
    params["train"] = train
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "deciding_app.py").write_text(DECIDING)
    (root / "parcels_metric.py").write_text(METRIC)
    project = load_project(root)
    crown(project, add_model(project, model(), WEATHER, project.task))
    return project


@pytest.fixture(scope="module")
def projects(tmp_path_factory, template):
    return {
        kind: make(shutil.copytree(template, tmp_path_factory.mktemp(kind) / "project"), kind)
        for kind in TASKS
    }


@pytest.fixture(scope="module", params=TASKS)
def served(request, projects):
    project = projects[request.param]
    with TestClient(build_api(project, "r1"), raise_server_exceptions=False) as api:
        yield request.param, project, api


def ask(api, *depots):
    body = {"instances": [{"depot": depot} for depot in depots], "at": AT}
    answer = api.post("/predict", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


SHOWN = {
    "multiclass": {"class": "wild", "probabilities": {"calm": 0.0, "fresh": 1 / 3, "wild": 2 / 3}},
    "regression": {"value": 90.0},
    "custom": {"answer": [2.0, 9.0]},
}
"""What the models answer for the depot in the south."""


def test_answers_are_shown_decided_on_and_logged_as_the_task_has_them(served):
    kind, project, api = served
    one = ask(api, "south")[0]
    shown = {name: one[name] for name in SHOWN[kind]}
    assert shown.keys() == SHOWN[kind].keys()
    if kind == "multiclass":
        assert shown["class"] == "wild"
        assert list(shown["probabilities"]) == list(CLASSES)
        assert sum(shown["probabilities"].values()) == pytest.approx(1)
    else:
        (name,) = shown
        assert shown[name] == pytest.approx(SHOWN[kind][name])
    saw = json.loads(one["decision"]["saw"])
    assert saw == (shown["value"] if kind == "regression" else shown)
    row = read_predictions(project.predictions, project.model, KNOWN - DAY, KNOWN + DAY).filter(
        prediction_id=one["prediction_id"]
    )
    given = project.task.given_in_log(row)
    again = project.task.shown(given[0].tolist() if kind == "multiclass" else given[0])
    assert again == shown


LABELS = {
    "multiclass": ("fresh", 1.0, "rough"),
    "regression": (12.5, 12.5, "twelve"),
    "custom": ([1, 2], [1, 2], None),
}
"""A label, what is read back, and a wrong one."""


def test_labels_are_those_of_the_task(served):
    kind, project, api = served
    label, truth, wrong = LABELS[kind]
    made = ask(api, "north")[0]
    sent = {"prediction_id": made["prediction_id"], "label": label, "at": AT}
    assert api.post("/feedback", json={"labels": [sent]}).json() == {"accepted": 1}
    rows = read_labelled(project.predictions, project.model, KNOWN - DAY, KNOWN + DAY, KNOWN + DAY).filter(
        prediction_id=made["prediction_id"]
    )
    assert project.task.truth_of_log(rows).tolist() == [truth]
    if wrong is not None:
        refused = api.post("/feedback", json={"labels": [{**sent, "label": wrong}]})
        assert refused.status_code == 422
        assert refused.json()["detail"][0]["loc"] == ["body", "labels", 0, "label"]


def test_the_open_inference_protocol_gives_tensors_of_the_task(served):
    kind, project, api = served
    path = f"/v2/models/{project.model}"
    declared = {one["name"]: one for one in api.get(path).json()["outputs"]}
    inputs = [{"name": "depot", "datatype": "BYTES", "shape": [2], "data": ["north", "south"]}]
    answer = api.post(f"{path}/infer", json={"inputs": inputs, "parameters": {"at": AT}})
    assert answer.status_code == 200, answer.text
    outputs = {one["name"]: one for one in answer.json()["outputs"]}
    for name, one in outputs.items():
        assert one["datatype"] == declared[name]["datatype"]
        assert one["shape"] == [2, *declared[name]["shape"][1:]]
    if kind == "multiclass":
        assert outputs["class"]["data"] == ["calm", "wild"]
        assert outputs["probabilities"]["shape"] == [2, 3]
        assert np.reshape(outputs["probabilities"]["data"], (2, 3)).argmax(axis=1).tolist() == [0, 2]
    elif kind == "regression":
        assert outputs["value"]["data"] == pytest.approx([10.0, 90.0])
    else:
        assert json.loads(outputs["answer"]["data"][1]) == pytest.approx([2.0, 9.0])
    wrong = api.post(f"{path}/infer", json={"inputs": inputs, "outputs": [{"name": "probability"}]})
    assert (wrong.status_code, "there is no output 'probability'" in wrong.text) == (400, True)


def test_mlflows_protocol_gives_what_the_model_gives(served):
    kind, _, api = served
    body = {"dataframe_split": {"columns": ["wind", "rain"], "data": [[1.0, 0.5], [9.0, 2.0]]}}
    answer = api.post("/invocations", json=body).json()
    if kind == "multiclass":
        assert (answer["classes"], answer["class"]) == (list(CLASSES), ["calm", "wild"])
        assert np.shape(answer["predictions"]) == (2, 3)
    elif kind == "regression":
        assert answer["predictions"] == pytest.approx([10.0, 90.0])
    else:
        assert answer["predictions"] == [pytest.approx([0.5, 1.0]), pytest.approx([2.0, 9.0])]


def test_every_way_in_gives_the_estimators_own_answer(served):
    kind, project, api = served
    _, _, make_estimator = TASKS[kind]
    estimator = make_estimator()
    own = estimator.predict_proba(WEATHER) if kind == "multiclass" else estimator.predict(WEATHER)
    split = {"dataframe_split": {"columns": list(WEATHER), "data": WEATHER.to_numpy().tolist()}}
    text = WEATHER.to_csv(index=False)
    tensors = [
        {"name": name, "datatype": "FP64", "shape": [len(WEATHER)], "data": WEATHER[name].tolist()}
        for name in WEATHER
    ]
    named = {"multiclass": "probabilities", "regression": "value", "custom": "answer"}[kind]
    given = [
        api.post("/invocations", json=split).json()["predictions"],
        api.post("/invocations", content=text, headers={"content-type": "text/csv"}).json()["predictions"],
    ]
    path = f"/v2/models/{project.model}/infer"
    answer = api.post(path, json={"inputs": tensors}).json()
    (output,) = (one for one in answer["outputs"] if one["name"] == named)
    rows = [json.loads(one) for one in output["data"]] if kind == "custom" else output["data"]
    given.append(np.reshape(rows, own.shape))
    stored = ask(api, "north", "south")  # the first two rows of the weather
    values = [list(one[named].values()) if kind == "multiclass" else one[named] for one in stored]
    for answers in (*given, values):
        assert np.asarray(answers) == pytest.approx(own[: len(answers)], rel=1e-9, abs=1e-12)


def test_labels_by_key_reach_the_predictions_of_that_key_and_moment(served):
    kind, project, api = served
    label, truth, _ = LABELS[kind]
    at = (KNOWN + timedelta(minutes=90)).isoformat()
    body = {"instances": [{"depot": "north"}, {"depot": "south"}], "at": at}
    north, south = (one["prediction_id"] for one in api.post("/predict", json=body).json()["predictions"])
    sent = {"keys": {"depot": "north"}, "predicted_at": at, "label": label, "at": at}
    assert api.post("/feedback", json={"labels": [sent]}).json() == {"accepted": 1}
    rows = read_labelled(project.predictions, project.model, KNOWN - DAY, KNOWN + DAY, KNOWN + DAY)
    found = rows.filter(pl.col("prediction_id").is_in([north, south]))
    assert found["prediction_id"].to_list() == [north]
    assert project.task.truth_of_log(found).tolist() == [truth]


def test_openapi_says_what_the_task_answers_and_takes(served):
    kind, _, api = served
    schemas = api.get("/openapi.json").json()["components"]["schemas"]
    one = schemas["PredictionOut"]["properties"]
    assert set(SHOWN[kind]) <= set(one)
    assert "probability" not in one
    example = schemas["PredictionResponse"]["example"]["predictions"][0]
    assert set(SHOWN[kind]) <= set(example)
    label = schemas["LabelIn"]["properties"]["label"]
    found = {"multiclass": label.get("enum"), "regression": label.get("type"), "custom": None}[kind]
    assert found == {"multiclass": list(CLASSES), "regression": "number", "custom": None}[kind]


def test_a_wrong_field_is_refused_by_name(served):
    kind, _, api = served
    refused = api.post("/predict", json={"instances": [{"depot": "north", "weight": "heavy"}]})
    assert refused.status_code == 422
    problem = refused.json()["detail"][0]
    assert problem["loc"] == ["body", "instances", 0, "weight"]
    assert "number" in problem["msg"]
    sent = {"prediction_id": "p", "label": LABELS[kind][0]}
    for body, place, message in (
        ({"labels": [sent, {**sent, "lable": 1}]}, [1, "lable"], "There is no such field; is 'label' meant?"),
        (
            {"labels": [{**sent, "colour": 1}]},
            [0, "colour"],
            "There is no such field; there are: prediction_id, keys, predicted_at, label, at",
        ),
        ({"labels": [{**sent, "prediction_id": 5}]}, [0, "prediction_id"], "and a number was given"),
    ):
        refused = api.post("/feedback", json=body)
        (problem,) = refused.json()["detail"]
        assert (refused.status_code, problem["loc"]) == (422, ["body", "labels", *place])
        assert message in problem["msg"]
    (problem,) = api.post("/feedback", json={"labels": [sent], "label": 1}).json()["detail"]
    assert problem["msg"] == "There is no such field; is 'labels' meant?"


def test_a_gap_that_the_model_does_not_take_is_told_by_row_and_feature(served):
    kind, _, api = served
    if kind == "multiclass":  # its trees take gaps
        return
    given = api.post("/invocations", json={"dataframe_records": [{"wind": 1, "rain": None}]})
    assert (given.status_code, given.json()["error_code"]) == (400, "BAD_REQUEST")
    assert given.json()["message"].startswith("row 0, rain: Input should not be missing: version 1 of")
    stored = api.post("/predict", json={"instances": [{"depot": "north"}, {"depot": "nowhere"}], "at": AT})
    assert stored.status_code == 500
    assert "takes no gaps, and the store has no wind for row 1" in stored.json()["detail"]


@pytest.mark.parametrize("classes", [("False", "True"), ("true", "false"), ("0", "1")])
def test_labels_may_be_truth_values_and_numbers_in_any_spelling(classes):
    schema = feedback_schema(Binary("", classes=classes))
    for place, name in enumerate(classes):
        truth = name.lower() in ("true", "1")
        for value in (truth, int(truth), float(truth), str(truth), str(truth).upper(), f"{int(truth)}.0"):
            (label,) = schema.model_validate({"labels": [{"prediction_id": "p", "label": value}]}).labels
            assert label.label == (place, None)
    for value in (2, "yes", "", None):
        with pytest.raises(ValidationError, match="must be " + " or ".join(classes)):
            schema.model_validate({"labels": [{"prediction_id": "p", "label": value}]})


def test_a_composition_needs_probabilities(projects):
    project = projects["regression"]
    (project.root / "composing_app.py").write_text(
        DECIDING.replace(
            'answer: {"saw": json.dumps(answer)},', "answer: {},\n    composition=Composition({}, None),"
        ).replace("import json\n", "from tidemill.serving.inference.composition import Composition\n")
    )
    params = project.root / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("deciding_app", "composing_app"))
    try:
        with pytest.raises(ConfigError, match=r"project\.task is regression"):
            build_api(load_project(project.root), "r1")
    finally:
        params.write_text(before)
