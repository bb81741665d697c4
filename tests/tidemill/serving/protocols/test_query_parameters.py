"""Query parameters that nothing reads are refused by every protocol: what they ask for would not be done."""

from datetime import timedelta

import httpx
import pytest

from tests.tidemill.serving.small_project import KNOWN
from tidemill.serving.inference.calls import Refused
from tidemill.serving.protocols.query_parameters import wants_explanation

AT = (KNOWN + timedelta(hours=1)).isoformat()
PREDICT = {"instances": [{"depot": "north", "weight": 2.5}], "at": AT}
INVOCATIONS = {"dataframe_records": [{"depot": "north", "weight": 2.5}], "params": {"at": AT}}
INFER = {
    "parameters": {"at": AT},
    "inputs": [
        {"name": "depot", "datatype": "BYTES", "shape": [1], "data": ["north"]},
        {"name": "weight", "datatype": "FP64", "shape": [1], "data": [2.5]},
    ],
}


@pytest.mark.engine
@pytest.mark.parametrize(
    ("path", "body", "status", "where"),
    [
        ("/predict", PREDICT, 422, '{"instances": [...], "at": '),
        ("/invocations", INVOCATIONS, 400, '"params": {"at": '),
        ("/v2/models/parcel-delay/infer", INFER, 400, '"parameters": {"at": '),
        ("/v2/models/parcel-delay/versions/1/infer", INFER, 400, '"parameters": {"at": '),
        ("/feedback", {"labels": []}, 422, "a moment goes into the body"),
    ],
)
def test_a_moment_in_the_query_is_refused_with_its_place_in_the_body(url, path, body, status, where):
    answer = httpx.post(f"{url}{path}", params={"at": "2013-01-01T00:00:00Z"}, json=body, timeout=60)
    assert answer.status_code == status, answer.text
    said = answer.json()
    if path == "/invocations":
        text = said["message"]
    elif path.startswith("/v2"):
        text = said["error"]
    else:
        (problem,) = said["detail"]
        assert (problem["loc"], problem["type"]) == (["query", "at"], "extra_forbidden")
        text = problem["msg"]
    assert where in text


@pytest.mark.engine
def test_a_probe_may_have_a_query(url):
    assert httpx.get(f"{url}/healthz?probe=1", timeout=60).status_code == 200


def test_misspelt_repeated_and_encoded_parameters():
    with pytest.raises(Refused) as refused:
        wants_explanation(b"explian=true&v%C3%A9rsion=2&explain=1", "at")
    found = [(item["loc"][1], item["msg"]) for item in refused.value.failure.detail]
    assert found == [
        ("explian", "There is no such query parameter; is 'explain' meant?"),
        ("vérsion", "There is no such query parameter; there are: explain"),
    ]
    assert wants_explanation(b"explain=false&expl%61in=TRUE", "at")
    with pytest.raises(Refused, match="explain"):
        wants_explanation(b"explain", "at")
