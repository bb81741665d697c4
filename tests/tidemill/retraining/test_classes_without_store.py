"""Three classes, text with gaps, a family by its name: no code of the project, and no feature store."""

import json
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient

from tests.tidemill.retraining.small_table import irises, write_iris_project
from tidemill.features.personal_fields import declared_personal
from tidemill.prediction_log.prediction_log import read_predictions
from tidemill.retraining.turns.turn import make_turn
from tidemill.retraining.turns.turn_begin import TurnRequest
from tidemill.serving.runtime.replica.wiring import build_api
from tidemill.state import open_state

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def project(tmp_path_factory, ray_of_the_session):
    project = write_iris_project(tmp_path_factory.mktemp("classes") / "iris")
    state = open_state(project.state_url)
    turn = make_turn(project, state, TurnRequest(datetime.now(UTC), "a turn", "ada"))
    state.close()
    assert turn.status == "promoted"
    return project


def test_answers_flags_refusals_labels_and_what_is_logged(project):
    table = irises()
    rows = json.loads(table.drop(columns="kind").to_json(orient="records"))
    with TestClient(build_api(project, "r1"), raise_server_exceptions=False) as api:
        answers = api.post("/predict", json={"instances": rows}).json()["predictions"]
        right = [answer["class"] == kind for answer, kind in zip(answers, table["kind"], strict=True)]
        assert sum(right) > 0.9 * len(right)
        unseen = api.post("/predict", json={"instances": [{**rows[0], "soil": "peat"}]}).json()
        assert unseen["predictions"][0]["flags"] == ["unseen:soil"]
        refused = api.post("/predict", json={"instances": [{**rows[0], "soil": 7}]})
        assert refused.status_code == 422
        assert refused.json()["detail"] == [
            {
                "loc": ["body", "instances", 0, "soil"],
                "msg": "Input should be a valid string, and a number was given",
                "type": "string_type",
            }
        ]
        check_gaps(api, project, rows[1])
        labels = [{"prediction_id": answers[0]["prediction_id"], "label": "setosa"}]
        assert api.post("/feedback", json={"labels": labels}).json() == {"accepted": 1}
    span = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    logged = read_predictions(project.predictions, project.model, *span)
    assert logged.height == len(rows) + 1
    assert logged["feature.soil"].null_count() == logged.height  # personal
    assert not any("clay" in instance or "peat" in instance for instance in logged["instance"])


def check_gaps(api, project, row):
    """Check that text that means a gap in the table is one in every protocol, and is not logged as text."""
    test = {"x-tidemill-test": "1"}
    wanted = None
    for soil in (None, "N/A", "", " null", "NaN"):
        given = {**row, "soil": soil}
        tensors = [
            {"name": name, "datatype": "FP64", "shape": [1], "data": [value]}
            for name, value in row.items() if name != "soil"
        ]  # fmt: skip
        tensors.append({"name": "soil", "datatype": "BYTES", "shape": [1], "data": [soil]})
        path = f"/v2/models/{project.model}/infer"
        told = api.post("/predict", json={"instances": [given]}, headers=test).json()["predictions"][0]
        inferred = api.post(path, json={"inputs": tensors}, headers=test).json()["outputs"]
        invoked = api.post("/invocations", json={"dataframe_records": [given]}, headers=test).json()
        found = told["probabilities"], told["flags"]
        wanted = wanted or found
        assert found == wanted
        assert found[1] == []
        [tensor] = [one["data"] for one in inferred if one["name"] == "probabilities"]
        assert tensor == list(wanted[0].values())
        assert invoked["predictions"] == [list(wanted[0].values())]


def test_personal_columns_of_requests_are_in_the_inventory(project):
    (field,) = declared_personal(project)
    assert (field.name, field.kind, field.declared) == ("soil", "request", "column soil of features.yaml")
