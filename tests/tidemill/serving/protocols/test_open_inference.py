"""The Open Inference Protocol against a real server: JSON as KServe documents it, and Triton's client."""

import json

import httpx
import numpy as np
import pytest
from tritonclient import http

from tests.tidemill.serving.small_project import KNOWN
from tidemill.prediction_log.prediction_log import read_predictions

pytestmark = pytest.mark.engine
AT = "2013-04-01T13:00:00+00:00"
MODEL = "/v2/models/parcel-delay"
OUTPUTS = ["probability", "prediction_id", "model_version", "flags", "decision"]


def tensor(name, data, datatype="BYTES", shape=None):
    return {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": data}


@pytest.fixture
def infer(url):
    def ask(*tensors, path=f"{MODEL}/infer", **more):
        return httpx.post(url + path, json={"inputs": list(tensors), **more}, timeout=30)

    return ask


def test_an_answer_has_all_outputs_and_is_in_the_log(infer, project):
    depots = tensor("depot", ["north", "atlantis"])
    answer = infer(depots, id="abc", parameters={"at": AT, "priority": 3})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["model_name"], body["model_version"], body["id"]) == ("parcel-delay", "1", "abc")
    assert [one["name"] for one in body["outputs"]] == OUTPUTS
    outputs = {one["name"]: one["data"] for one in body["outputs"]}
    assert outputs["probability"] == pytest.approx([0.2, 0.2])
    assert outputs["flags"] == ["", "missing:weather,default:rain"]
    assert json.loads(outputs["decision"][0]) == {"advice": "deliver"}
    assert outputs["model_version"] == ["1", "1"]
    day = (KNOWN.replace(hour=0), KNOWN.replace(hour=23))
    logged = read_predictions(project.predictions, project.model, *day)
    row = logged.filter(prediction_id=outputs["prediction_id"][0]).row(0, named=True)
    assert (row["at"].isoformat(), row["request_id"], row["feature.wind"]) == (AT, "abc", 1.0)


def test_outputs_are_those_asked_for_in_their_order(infer):
    answer = infer(tensor("depot", ["north"]), outputs=[{"name": "flags"}, {"name": "probability"}]).json()
    assert [one["name"] for one in answer["outputs"]] == ["flags", "probability"]
    assert "id" not in answer


@pytest.mark.parametrize(
    "tensors",
    [
        [tensor("features", [1, 0.5, 9, 2], "FP64", [2, 2])],
        [tensor("features", [[1, 0.5], [9, 2]], "FP32", [2, 2])],
        [tensor("wind", [1, 9], "INT64"), tensor("rain", [[0.5], [None]], "FP64", [2, 1])],
    ],
)
def test_features_may_be_given_as_one_tensor_or_one_each(infer, tensors):
    outputs = {one["name"]: one["data"] for one in infer(*tensors).json()["outputs"]}
    assert outputs["flags"] == ["features:given"] * 2
    assert outputs["decision"] == ["{}"] * 2


@pytest.mark.parametrize(
    ("tensors", "more", "words"),
    [
        ([], {}, "at least one tensor"),
        ([tensor("depot", ["north"], shape=[2])], {}, "has 1 value, its shape [2] says 2"),
        ([tensor("depot", ["north"], shape=[1, 1, 1])], {}, "3 dimensions"),
        ([tensor("depot", ["north"], shape=[-1])], {}, "shape must be"),
        ([tensor("depot", ["a", "b"], shape=[1, 2])], {}, "must be [N] or [N, 1]"),
        ([tensor("depot", ["north"], "TEXT")], {}, "datatype must be"),
        ([tensor("depot", [1])], {}, "is BYTES, which takes text, and a number was given"),
        ([tensor("depot", ["north"]), tensor("weight", [True], "INT8")], {}, "and a truth value was given"),
        (
            [tensor("depot", ["north"]), tensor("weight", [2.5], "INT8")],
            {},
            "takes whole numbers, and a number w",
        ),
        ([tensor("depot", ["north"]), tensor("weight", [1e30], "INT64")], {}, "a number beyond 64 bits"),
        ([tensor("depot", ["north"]), tensor("weight", [300], "UINT8")], {}, "no UINT8 can hold"),
        ([tensor("depot", ["north"])] * 2, {}, "two inputs 'depot'"),
        ([tensor("depot", ["N0"])], {}, "row 0, depot: String should match"),
        ([tensor("wind", [1], "FP64")], {}, "missing: rain"),
        ([tensor("depot", ["a"] * 21)], {}, "1 to 20 rows"),
        ([tensor("depot", ["a"])], {"outputs": [{"name": "odds"}]}, "no output 'odds'"),
        ([tensor("depot", ["a"])], {"outputs": [{"name": "flags"}] * 2}, "asked for twice"),
        ([tensor("depot", ["a"])], {"outputs": [{"name": "explanation"}]}, "explain: true"),
        ([tensor("depot", ["a"])], {"parameters": {"at": 5}}, "parameters.at: Input should be a moment"),
        ([tensor("depot", ["a"])], {"id": 7}, "id must be text"),
        ([{"name": "depot", "shape": [10**12, 10**12], "datatype": "BYTES", "data": []}], {}, "are taken"),
        ([{**tensor("depot", []), "parameters": {"shared_memory_region": "x"}}], {}, "shared memory"),
    ],
)
def test_what_does_not_fit_is_a_400_with_an_error(infer, tensors, more, words):
    answer = infer(*tensors, **more)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert words in answer.json()["error"]


def test_a_version_that_answers_has_its_own_path_and_others_are_404(url, infer):
    depots = tensor("depot", ["north"])
    assert infer(depots, path=f"{MODEL}/versions/1/infer").json()["model_version"] == "1"
    for path in (f"{MODEL}/versions/2/infer", "/v2/models/strange/infer"):
        answer = infer(depots, path=path)
        assert (answer.status_code, list(answer.json())) == (404, ["error"])
    for path in (f"{MODEL}/versions/2", f"{MODEL}/versions/2/ready", "/v2/models/strange", "/v2/nothing"):
        answer = httpx.get(url + path)
        assert (answer.status_code, list(answer.json())) == (404, ["error"])
    assert httpx.get(f"{url}{MODEL}/infer").status_code == 405


def test_metadata_is_what_infer_takes_and_gives(url, infer):
    metadata = httpx.get(url + MODEL).json()
    assert metadata["versions"] == ["1"]
    assert [one["name"] for one in metadata["outputs"]] == [*OUTPUTS, "explanation"]
    required = {one["name"] for one in metadata["inputs"] if not one.get("parameters", {}).get("optional")}
    assert required == {"depot"}
    values = {"depot": ["north"], "weight": [1.5], "pickup": [AT]}
    tensors = [tensor(one["name"], values[one["name"]], one["datatype"]) for one in metadata["inputs"]]
    answered = infer(*tensors).json()["outputs"]
    declared = {one["name"]: one["datatype"] for one in metadata["outputs"]}
    assert {one["name"]: one["datatype"] for one in answered} == {name: declared[name] for name in OUTPUTS}
    given = metadata["parameters"]["features"]
    assert infer(tensor(given["name"], [1, 2], given["datatype"], [1, given["shape"][1]])).status_code == 200
    assert given["columns"] == ["wind", "rain"]


@pytest.fixture
def triton(url):
    with http.InferenceServerClient(url.removeprefix("http://")) as client:
        yield client


def test_tritons_client_finds_the_server_and_the_model(triton):
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("parcel-delay")
    assert triton.is_model_ready("parcel-delay", "1")
    assert not triton.is_model_ready("parcel-delay", "2")
    assert "binary_tensor_data" in triton.get_server_metadata()["extensions"]
    assert triton.get_model_metadata("parcel-delay", "1")["name"] == "parcel-delay"


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_tritons_client_is_answered_in_binary_and_in_json(triton, binary_in, binary_out):
    depot = http.InferInput("depot", [2, 1], "BYTES")
    depot.set_data_from_numpy(np.array([["north"], ["atlantis"]], dtype=object), binary_data=binary_in)
    weight = http.InferInput("weight", [2], "FP32")
    weight.set_data_from_numpy(np.array([1.5, np.nan if binary_in else 2], np.float32), binary_data=binary_in)
    wanted = binary_out is not None and [
        http.InferRequestedOutput(name, binary_data=binary_out) for name in ("probability", "flags")
    ]
    result = triton.infer(
        "parcel-delay", [depot, weight], outputs=wanted or None, request_id="t1", parameters={"at": AT}
    )
    np.testing.assert_allclose(result.as_numpy("probability"), [0.2, 0.2])
    flags = [text if isinstance(text, str) else text.decode() for text in result.as_numpy("flags")]
    assert flags == ["", "missing:weather,default:rain"]
    assert result.get_response()["id"] == "t1"
    assert result.get_response()["model_version"] == "1"


def test_tritons_client_gives_features_and_learns_what_is_wrong(triton):
    features = http.InferInput("features", [2, 2], "FP64")
    features.set_data_from_numpy(np.array([[1.0, np.nan], [2.0, 3.0]]))
    assert triton.infer("parcel-delay", [features]).as_numpy("probability").shape == (2,)
    features.set_shape([1, 4]).set_data_from_numpy(np.zeros((1, 4)))
    with pytest.raises(http.InferenceServerException, match=r"features have 2 columns \(wind, rain\)"):
        triton.infer("parcel-delay", [features])


@pytest.mark.parametrize(
    ("declared", "tail", "words"),
    [
        (
            {"shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 9}},
            b"123",
            "has no 9 bytes",
        ),
        ({"shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 3}}, b"123", "not 1 texts"),
        (
            {"shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 5}},
            b"\1\0\0\0\xff",
            "UTF-8",
        ),
        (
            {"shape": [2], "datatype": "FP64", "parameters": {"binary_data_size": 8}},
            b"12345678",
            "not the 16 of 2 values",
        ),
        ({"shape": [1], "datatype": "BYTES", "data": ["north"]}, b"123", "ends with 3 bytes of no input"),
    ],
)
def test_binary_data_that_does_not_fit_is_refused(url, declared, tail, words):
    text = json.dumps({"inputs": [{"name": "depot", **declared}]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    answer = httpx.post(f"{url}{MODEL}/infer", content=text + tail, headers=headers)
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    headers["Inference-Header-Content-Length"] = str(len(text) + 100)
    assert httpx.post(f"{url}{MODEL}/infer", content=text + tail, headers=headers).status_code == 400
