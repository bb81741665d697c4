"""MLflow's scoring protocol: read as MLflow's own server reads it, and answered by a real server."""

import json
from io import StringIO

import httpx
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.scoring_server import _split_data_and_params, infer_and_parse_data, parse_csv_input
from mlflow.version import VERSION
from pydantic import BaseModel

from tidemill.serving.inference.calls import Refused
from tidemill.serving.protocols.given_features import Features
from tidemill.serving.protocols.mlflow_scoring import MlflowScoring
from tidemill.serving.protocols.model_inputs import Inputs

pytestmark = pytest.mark.engine
AT = "2013-04-01T13:00:00+00:00"
NAMES = ("wind", "rain")


class Parcel(BaseModel):
    depot: str
    weight: float | None = None


CODEC = MlflowScoring(Inputs("parcels", Parcel, 100, lambda: Features(NAMES, NAMES)))
JSON = {b"content-type": b"application/json"}
CSV = {b"content-type": b"text/csv"}


def as_mlflow_reads(body, content_type=JSON):
    """Return MLflow's frame; an array gets the features' names in their order, as its schema does."""
    if content_type is CSV:
        frame = parse_csv_input(StringIO(body.decode()))
    else:
        frame = infer_and_parse_data(_split_data_and_params(body.decode())[0])
    if isinstance(frame, dict):
        frame = pd.DataFrame({name: np.atleast_1d(np.ravel(values)) for name, values in frame.items()})
    elif isinstance(frame, list | np.ndarray):
        frame = pd.DataFrame(frame)
    if not {"wind", "depot"} & set(frame.columns):
        frame.columns = list(NAMES)
    return frame


FEATURES = [
    {"dataframe_split": {"columns": ["rain", "wind"], "data": [[1, 2.5], [3, None]]}},
    {"dataframe_split": {"columns": ["rain", "late", "wind"], "data": [[1, 0, 2]], "index": [7]}},
    {"dataframe_split": {"data": [[1.0, 2.0], [3.0, 4.0]]}},
    {"dataframe_records": [{"wind": 1, "rain": 2}, {"rain": 3.5, "wind": None}]},
    {"dataframe_records": [{"wind": 1, "rain": 2}, {"wind": 4}]},
    {"instances": [[1, 2], [3, 4.5]]},
    {"instances": [{"wind": 1, "rain": 2}, {"wind": 3, "rain": 4}]},
    {"inputs": {"wind": [1, 2], "rain": [3, 4]}},
    {"inputs": {"wind": [[1], [2]], "rain": [[3], [4]]}},
    {"inputs": {"wind": 1.5, "rain": 2}},
    {"inputs": [[1, 2]]},
    {"inputs": [{"wind": 1, "rain": 2}]},
]


@pytest.mark.parametrize("content", FEATURES)
def test_features_are_read_as_mlflow_reads_them(content):
    body = json.dumps(content).encode()
    ours = CODEC.parse(body, JSON, b"").features
    np.testing.assert_array_equal(ours, as_mlflow_reads(body)[list(NAMES)].astype(float))


@pytest.mark.parametrize(
    "body",
    [
        b"wind,rain\n1,2\n,4.5\n",
        b'rain,wind\r\n"1",2e3\r\nNaN,-1\r\n',
        b"\xef\xbb\xbfwind,rain\n1,2",
        b"tail,wind,rain\nN0,1,2\n,3,4\n",
    ],
)
def test_csv_is_read_as_mlflow_reads_it(body):
    ours = CODEC.parse(body, CSV, b"").features
    frame = pd.read_csv(StringIO(body.decode("utf-8-sig")))
    np.testing.assert_array_equal(ours, frame[list(NAMES)].astype(float))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"dataframe_split": {"columns": ["depot", "weight"], "data": [["n", 2], ["s", null]]}}', JSON),
        (b'{"dataframe_records": [{"depot": "n", "weight": 2}, {"depot": "s"}]}', JSON),
        (b'{"inputs": {"depot": ["n", "s"], "weight": [2, null]}}', JSON),
        (b"depot,weight\nn,2\ns,\n", CSV),
    ],
)
def test_fields_are_read_as_mlflow_reads_them(body, kind):
    ours = [one.model_dump() for one in CODEC.parse(body, kind, b"").instances]
    theirs = as_mlflow_reads(body, kind).astype(object)
    assert ours == theirs.where(theirs.notna(), None).to_dict("records")


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b"[[1, 2]]",
        b'{"wind": [1]}',
        b'{"instances": [[1, 2]], "inputs": [[1, 2]]}',
        b'{"dataframe_records": {"wind": 1}}',
        b'{"dataframe_records": 5}',
        b'{"dataframe_split": [[1, 2]]}',
        b'{"dataframe_split": {"columns": ["wind", "rain"]}}',
        b'{"dataframe_split": {"columns": ["wind"], "data": [[1, 2]]}}',
        b'{"dataframe_split": {"columns": ["wind", "rain"], "data": [[1, 2]], "rows": 1}}',
        b'{"inputs": ',
        b'{"inputs": "\xff"}',
    ],
)
def test_what_mlflow_refuses_we_refuse(body):
    with pytest.raises((MlflowException, UnicodeDecodeError)):
        as_mlflow_reads(body)
    with pytest.raises(Refused):
        CODEC.parse(body, JSON, b"")


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b'{"instances": [[1, 2, 3]]}', JSON, "2 columns (wind, rain), these have 3"),
        (b'{"instances": [[1, 2], [1]]}', JSON, "different widths: 1, 2"),
        (
            b'{"instances": [[1, "x"]]}',
            JSON,
            "row 0, rain: Input should be a valid number, and text was given",
        ),
        (b'{"instances": []}', JSON, "1 to 100 rows"),
        (b'{"dataframe_split": {"columns": ["wind", "wind"], "data": [[1, 2]]}}', JSON, "twice"),
        (b'{"dataframe_split": {"data": [[1, 2]], "index": [1, 2]}}', JSON, "one entry a row"),
        (b'{"inputs": {"wind": [1], "rain": 2}}', JSON, "an array for each column"),
        (b'{"inputs": [[1, 2]], "params": {"temperature": 1}}', JSON, "than at, test, explain"),
        (b'{"inputs": [[1, 2]], "params": {"test": 1}}', JSON, "params.test must be"),
        (b"", CSV, "no header"),
        (b"wind,rain\n1\n", CSV, "row 0 of the CSV has 1 value, its header 2 names"),
        (b"wind,rain\n1,x\n", CSV, "row 0, rain: Input should be a valid number, and text was given"),
        (b"depot,weight\nn,x\n", CSV, "row 0 of the CSV, weight: Input should be a number"),
        (b"depot,weight\nn,1_0\n", CSV, "row 0 of the CSV, weight: Input should be a number"),
        (b"depot;weight\nn;1,5\n", CSV, "must be separated by commas, and its header has semicolons"),
        (b'{"instances": [[1, 2]], "at": "2030-01-01T00:00:00Z"}', JSON, "at belongs in params"),
        (b"wind,rain\n\xff,1\n", CSV, "UTF-8"),
        (b'wind,rain\n"1,2', CSV, "not CSV"),
    ],
)
def test_what_does_not_fit_is_named(body, kind, words):
    with pytest.raises(Refused) as refused:
        CODEC.parse(body, kind, b"")
    assert words in refused.value.failure.detail


def test_a_real_server_answers_like_mlflows_and_says_more(url):
    asked = {"dataframe_records": [{"depot": "north"}, {"depot": "atlantis"}], "params": {"at": AT}}
    answer = httpx.post(f"{url}/invocations", json=asked)
    assert answer.status_code == 200
    body = answer.json()
    assert body["predictions"] == pytest.approx([0.2, 0.2])
    assert (body["model_version"], body["model_versions"]) == ("1", ["1", "1"])
    assert body["flags"] == [[], ["missing:weather", "default:rain"]]
    assert body["decisions"][0] == {"advice": "deliver"}
    assert len(set(body["prediction_ids"])) == 2
    table = httpx.post(
        f"{url}/invocations",
        content=" wind ,rain\n1,2\n",
        headers={"Content-Type": "text/csv; charset=utf-8"},
    )
    assert table.json()["flags"] == [["features:given"]]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 400),
        (b"depot\nN0\n", "text/csv", 400),
        (b"depot\nnorth\n", "text/csv; charset=latin-1", 415),
        (b"PAR1", "application/vnd.apache.parquet", 415),
        (b"x" * 300_000, "text/csv", 413),
    ],
)
def test_errors_have_mlflows_shape(url, content, kind, status):
    answer = httpx.post(f"{url}/invocations", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert set(answer.json()) == {"error_code", "message"}


def test_the_small_paths(url):
    assert [httpx.get(url + path).text for path in ("/ping", "/health")] == ["\n", "\n"]
    assert httpx.get(f"{url}/version").text == VERSION
