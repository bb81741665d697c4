"""Three classes, text with gaps, a family by its name: no code of the project, and no feature store."""

import json
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient

from tests.tidemill.retraining.small_table import irises, write_iris_project
from tidemill.features.personal_fields import declared_personal
from tidemill.prediction_log.prediction_log import read_predictions
from tidemill.retraining.turn import TurnRequest, make_turn
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
        labels = [{"prediction_id": answers[0]["prediction_id"], "label": "setosa"}]
        assert api.post("/feedback", json={"labels": labels}).json() == {"accepted": 1}
    span = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    logged = read_predictions(project.predictions, project.model, *span)
    assert logged.height == len(rows) + 1
    assert logged["feature.soil"].null_count() == logged.height  # personal
    assert not any("clay" in instance or "peat" in instance for instance in logged["instance"])


def test_personal_columns_of_requests_are_in_the_inventory(project):
    (field,) = declared_personal(project)
    assert (field.name, field.kind, field.declared) == ("soil", "request", "column soil of features.yaml")
