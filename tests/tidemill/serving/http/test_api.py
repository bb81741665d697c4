"""The prediction API with its real parts: feature store, registry, log, records; only Ray is not there."""

import json
import re
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from tests.tidemill.serving.small_project import KNOWN, crown
from tidemill.prediction_log.prediction_log import count_log, read_labelled, read_predictions
from tidemill.project import load_project
from tidemill.serving.runtime.replica.wiring import build_api
from tidemill.state import open_state
from tidemill.state.tables import ReplicaState

pytestmark = pytest.mark.engine
AT = (KNOWN + timedelta(hours=1)).isoformat()


@pytest.fixture
def api(served_parcels):
    with TestClient(build_api(served_parcels, "r1"), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def shared_parcels(tmp_path_factory, served_template):
    root = tmp_path_factory.mktemp("shared")
    return load_project(shutil.copytree(served_template, root / "project"))


@pytest.fixture(scope="module")
def shared_api(shared_parcels):
    """For requests that are refused, or that leave nothing behind that matters to others."""
    with TestClient(build_api(shared_parcels, "r1"), raise_server_exceptions=False) as client:
        yield client


def predict(api, *instances, at=AT, **headers):
    return api.post("/predict", json={"instances": list(instances), "at": at}, headers=headers)


def log(project, **choices):
    return read_predictions(
        project.predictions, project.model, KNOWN - timedelta(days=9), KNOWN + timedelta(days=9), **choices
    )


def test_an_answer_has_version_probability_decision_and_is_in_the_log(api, served_parcels):
    answer = predict(api, {"depot": "north", "weight": 2.5}, {"depot": "south"})

    assert answer.status_code == 200
    body = answer.json()
    assert (body["model"], body["model_version"]) == ("parcel-delay", "1")
    first = body["predictions"][0]
    assert first["probability"] == pytest.approx(0.2)
    assert first["decision"] == {"advice": "deliver"}
    assert first["flags"] == []
    logged = log(served_parcels)
    assert sorted(logged["prediction_id"]) == sorted(one["prediction_id"] for one in body["predictions"])
    row = logged.filter(prediction_id=first["prediction_id"]).row(0, named=True)
    assert (row["feature.wind"], row["feature.rain"], row["version"], row["replica"]) == (1.0, 0.5, "1", "r1")
    assert json.loads(row["instance"]) == {"depot": "north", "weight": 2.5, "pickup": None}
    assert json.loads(row["keys"])["depot"] == "north"
    assert row["at"] == KNOWN + timedelta(hours=1)
    assert row["milliseconds"] > 0


def test_labels_by_keys_that_no_prediction_has_are_refused(shared_api):
    label = {"keys": {"depot": "north", "depto": "n"}, "predicted_at": AT, "label": 1}
    answer = shared_api.post("/feedback", json={"labels": [label]})
    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert problem["loc"] == ["body", "labels", 0, "keys", "depto"]
    assert problem["msg"] == "Input should be a key of predictions: depot, weight, pickup"


def test_the_documentation_page_loads_nothing_from_elsewhere(shared_api):
    page = shared_api.get("/")
    assert (page.status_code, page.url.path) == (200, "/docs")
    policy = page.headers["content-security-policy"]
    assert ("script-src 'self';" in policy, "http" in policy) == (True, False)
    linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(linked) == 5
    for path in linked:
        assert "//" not in path
        found = shared_api.get(f"/{path}")
        assert (found.status_code, len(found.content) > 100) == (200, True)
    lost = shared_api.get("/prediction")
    assert (lost.status_code, lost.json()["detail"]) == (
        404,
        "there is nothing at this path: GET /docs shows all paths",
    )


def test_an_unknown_key_gets_a_flagged_answer(shared_api):
    answer = predict(shared_api, {"depot": "atlantis"}).json()["predictions"][0]
    assert answer["flags"] == ["missing:weather", "default:rain"]


def test_expired_features_are_replaced_by_the_declared_default(api, served_parcels):
    answer = predict(api, {"depot": "north"}, at=(KNOWN + timedelta(hours=4)).isoformat()).json()
    assert answer["predictions"][0]["flags"] == ["expired:weather", "default:rain"]
    row = log(served_parcels).row(0, named=True)
    assert (row["feature.wind"], row["feature.rain"]) == (None, 0.0)


def test_an_integer_that_no_record_can_hold_is_the_requests_fault(served_parcels):
    root = served_parcels.root
    wide = (root / "parcels_app.py").read_text().replace("    pickup:", "    pieces: int = 0\n    pickup:")
    (root / "counted_parcels_app.py").write_text(wide)
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("parcels_app:app", "counted_parcels_app:app"))
    with TestClient(build_api(load_project(root), "r1"), raise_server_exceptions=False) as api:
        refused = predict(api, {"depot": "north"}, {"depot": "north", "pieces": "9" * 30})
        assert refused.status_code == 422
        (problem,) = refused.json()["detail"]
        assert problem["loc"] == ["body", "instances", 1, "pieces"]
        assert problem["msg"].startswith("Input should be a whole number of at most 64 bits")
        assert predict(api, {"depot": "north", "pieces": 2**63 - 1}).status_code == 200


@pytest.mark.parametrize(("path", "list_of"), [("/predict", "instances"), ("/feedback", "labels")])
def test_a_body_that_is_wrong_a_thousand_times_over_gets_a_short_answer(shared_api, path, list_of):
    answer = shared_api.post(path, json={list_of: [{f"x{n}": 0 for n in range(5000)}]})
    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert problem["type"] == "too_many_errors"
    assert len(answer.content) < 300


def test_test_traffic_is_marked(api, served_parcels):
    predict(api, {"depot": "north"}, **{"X-Tidemill-Test": "1"})
    assert log(served_parcels).height == 0
    assert log(served_parcels, include_test=True)["test"].to_list() == [True]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"instances": [{"depot": "north"}, {"depot": "N0"}]}', ["body", "instances", 1, "depot"]),
        (b'{"instances": [{"depot": "north", "colour": "red"}]}', ["body", "instances", 0, "colour"]),
        (b'{"instances": [{"depot": "north", "weight": "much"}]}', ["body", "instances", 0, "weight"]),
        (b'{"instances": [{"depot": "north", "pickup": "2013-04-01"}]}', ["body", "instances", 0, "pickup"]),
        (b'{"instances": [{"depot": NaN}]}', ["body", 25]),
        (b'{"instances": []}', ["body", "instances"]),
        (b'{"instances": [{"depot": "north"}], "at": "yesterday"}', ["body", "at"]),
        (b'{"instances": [{"depot": "north"}], "at": "0001-01-01T00:00:00+12:00"}', ["body", "at"]),
        (b'{"instances": [{"depot": "north"}], "at": "9999-12-31T23:00:00-12:00"}', ["body", "at"]),
        (b"{}", ["body", "instances"]),
        (b"[]", ["body"]),
        (b'{"instances": ', ["body", 14]),
    ],
)  # fmt: skip
def test_a_malformed_request_is_told_which_field(shared_api, shared_parcels, body, field):
    before = log(shared_parcels, include_test=True).height
    answer = shared_api.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert field in [item["loc"] for item in answer.json()["detail"]]
    assert log(shared_parcels, include_test=True).height == before


@pytest.mark.parametrize(
    "body",
    [b'{"instances": "\xff"}', b'{"labels": [', b"[" * 100_000, b'{"instances": ' + b"1" * 5000 + b"}"],
)
@pytest.mark.parametrize("path", ["/predict", "/feedback"])
def test_a_body_that_cannot_be_parsed_is_told_it_is_not_json(shared_api, path, body):
    answer = shared_api.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert (problem["loc"][0], problem["type"]) == ("body", "json_invalid")
    assert problem["msg"].startswith("the body is not JSON: ")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (
            "/predict",
            '{"instances": [{"depot": "north"}, {"depot": "north", "depot" : "south"}], "at": "AT"}',
        ),
        ("/predict", '{"instances": [{"depot": "\\u003a", "depot": "north"}]}'),
        ("/feedback", '{"labels": [{"prediction_id": "p", "label": 1, "label": 0}]}'),
        ("/invocations", '{"dataframe_records": [{"depot": "north", "depot": "south"}]}'),
        ("/v2/models/parcel-delay/infer", '{"inputs": [{"name": "depot", "depot": 1, "depot": 2}]}'),
    ],
)
def test_a_field_that_is_given_twice_is_refused_by_name(shared_api, path, body):
    sent = body.replace("AT", AT)
    answer = shared_api.post(path, content=sent, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert "'depot' is given twice" in answer.text or "'label' is given twice" in answer.text


@pytest.mark.parametrize("path", ["/predict", "/feedback"])
def test_a_body_of_another_content_type_is_told_which_is_wanted(shared_api, path):
    answer = shared_api.post(path, content=b'{"labels": []}', headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415
    assert answer.json()["detail"] == "the body must be application/json, and the content type is text/plain"


def test_too_many_instances_are_refused(shared_api):
    answer = predict(shared_api, *[{"depot": "north"}] * 21)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "instances"]


@pytest.mark.parametrize("path", ["/predict", "/feedback"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_huge_body_is_refused_unread(shared_api, chunked, path):
    body = b'{"instances": "' + b"x" * 300_000 + b'"}'
    content = iter([body[:1000], body[1000:]]) if chunked else body
    answer = shared_api.post(path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert "larger than" in answer.json()["detail"]


def test_labels_meet_their_predictions(api, served_parcels):
    made = predict(api, {"depot": "north"}, {"depot": "south"}).json()["predictions"]
    labels = [{"prediction_id": one["prediction_id"], "label": n, "at": AT} for n, one in enumerate(made)]
    labels.append({"prediction_id": "pred_unknown", "label": 1})
    answer = api.post("/feedback", json={"labels": labels})
    assert (answer.status_code, answer.json()) == (200, {"accepted": 3})
    labelled = read_labelled(
        served_parcels.predictions,
        "parcel-delay",
        KNOWN,
        KNOWN + timedelta(days=1),
        KNOWN + timedelta(days=1),
    )
    assert dict(labelled.select("prediction_id", "label").rows()) == {
        one["prediction_id"]: n for n, one in enumerate(made)
    }
    assert count_log(served_parcels.predictions, "parcel-delay").unmatched == 1


@pytest.mark.parametrize("label", [2, -1, "one", 0.5, None, [1], {"a": 1}, ""])
def test_a_label_is_0_or_1(shared_api, label):
    answer = shared_api.post("/feedback", json={"labels": [{"prediction_id": "p", "label": label}]})
    assert answer.status_code == 422
    [problem] = answer.json()["detail"]
    assert problem["loc"] == ["body", "labels", 0, "label"]
    assert "must be 0 or 1" in problem["msg"]


@pytest.mark.parametrize("at", ["1900-01-01T00:00:00+14:00", "2200-12-31T23:59:59-12:00"])
def test_the_first_and_the_last_moment_are_answered(shared_api, at):
    assert predict(shared_api, {"depot": "north"}, at=at).status_code == 200


def test_a_label_does_not_become_known_in_the_future(shared_api):
    """It would win over every later one for as long."""
    soon = (datetime.now(UTC) + timedelta(minutes=2)).isoformat()  # by a clock that is a little ahead
    moments = ["1900-01-01T00:00:00+14:00", soon, "2099-01-01T00:00:00Z"]
    labels = [{"prediction_id": "p", "label": 1, "at": at} for at in moments]
    answer = shared_api.post("/feedback", json={"labels": labels})
    assert answer.status_code == 422
    [problem] = answer.json()["detail"]
    assert problem["loc"] == ["body", "labels", 2, "at"]
    assert problem["msg"] == "Input should not lie in the future: it is when the label became known"
    assert shared_api.post("/feedback", json={"labels": labels[:2]}).json() == {"accepted": 2}


@pytest.mark.parametrize(("key", "given"), [([1], "a list"), (2**64, "a number"), ("\ud800", "text")])
def test_a_key_that_cannot_be_one_is_one_error(shared_api, key, given):
    label = {"keys": {"depot": key}, "predicted_at": AT, "label": 1}
    sent = json.dumps({"labels": [label]})
    answer = shared_api.post("/feedback", content=sent, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert problem["loc"] == ["body", "labels", 0, "keys", "depot"]
    assert problem["msg"].endswith(f"true, false or null, and {given} was given")


def test_a_label_is_of_a_year_that_can_be_meant(shared_api):
    label = {"prediction_id": "p", "label": 1, "at": "0001-01-01T00:00:00+12:00"}
    answer = shared_api.post("/feedback", json={"labels": [label]})
    assert answer.status_code == 422
    assert answer.json()["detail"] == [
        {
            "loc": ["body", "labels", 0, "at"],
            "msg": "Input should lie in the years 1900 to 2200",
            "type": "datetime_range",
        }
    ]


def test_a_full_disk_is_flagged_in_the_answer(api, served_parcels):
    shutil.rmtree(served_parcels.predictions, ignore_errors=True)
    served_parcels.predictions.write_text("a file where the folder should be")
    answer = predict(api, {"depot": "north"})
    assert answer.status_code == 200
    assert answer.json()["predictions"][0]["flags"] == ["fallback:log"]
    served_parcels.predictions.unlink()


def test_without_a_champion_it_lives_but_is_not_ready(parcels):
    with TestClient(build_api(parcels, "r1")) as api:
        assert api.get("/healthz").status_code == 200
        assert api.get("/readyz").status_code == 503
        assert predict(api, {"depot": "north"}).status_code == 503
        assert api.get("/model").json()["version"] is None


def test_it_says_which_version_answers(api, served_parcels):
    assert api.get("/readyz").json() == {"status": "ready", "model_version": "1", "degraded": []}
    state = api.get("/model").json()
    assert (state["version"], state["wanted"], state["error"]) == ("1", "1", None)
    with open_state(served_parcels.state_url).transaction() as session:
        replica = session.get(ReplicaState, "r1")
        assert (replica.version, replica.error) == ("1", None)


def test_the_alias_moves_and_the_next_answers_are_the_new_versions(api, served_parcels):
    import time

    crown(served_parcels, "2")
    deadline = time.monotonic() + 10
    versions = set()
    while time.monotonic() < deadline and "2" not in versions:
        answer = predict(api, {"depot": "north"})
        assert answer.status_code == 200
        versions.add(answer.json()["model_version"])
        probability = answer.json()["predictions"][0]["probability"]
        assert probability == pytest.approx({"1": 0.2, "2": 0.8}[answer.json()["model_version"]])
    assert "2" in versions


def test_no_websocket_gets_past_the_front(shared_api):
    with pytest.raises(WebSocketDisconnect), shared_api.websocket_connect("/predict"):
        pass


def test_openapi_says_how_a_key_is_sent(api):
    schema = api.get("/openapi.json").json()
    assert set(schema["components"]["securitySchemes"]) == {"bearer", "header"}
    assert {} in schema["security"]  # on loopback it works without


def test_openapi_says_how_a_request_is_refused_and_what_is_open(api):
    paths = api.get("/openapi.json").json()["paths"]
    refused = api.get("/model", headers={"host": "models.example.com"})
    assert (refused.status_code, set(refused.json())) == (421, {"detail"})
    for path, operations in paths.items():
        for method, operation in operations.items():
            is_open = path in (
                "/healthz",
                "/readyz",
                "/ping",
                "/health",
                "/v2/health/live",
                "/v2/health/ready",
            )
            assert (operation.get("security") == []) == is_open, (method, path)
            wanted = {"403", "421"} if is_open else {"401", "403", "421", "429"}
            assert wanted <= set(operation["responses"]), (method, path)


def test_openapi_names_the_applications_own_fields(api):
    schemas = api.get("/openapi.json").json()["components"]["schemas"]
    assert set(schemas["Parcel"]["properties"]) == {"depot", "weight", "pickup"}
    assert schemas["ParcelPredictions"]["properties"]["instances"]["maxItems"] == 20
