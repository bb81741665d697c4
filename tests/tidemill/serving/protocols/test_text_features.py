"""Text features: given in every protocol; compiled and original models score them without a frame."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from tests.tidemill.serving.small_project import add_model
from tidemill.features.request_features import FeatureRow, StoreAndRequest
from tidemill.project.feature_columns import FeatureColumn
from tidemill.registry.versions.model_versions import load_original, load_scorer
from tidemill.serving.inference.calls import Refused
from tidemill.serving.inference.request_application import request_model
from tidemill.serving.protocols.given_features import Features
from tidemill.serving.protocols.mlflow_scoring import MlflowScoring
from tidemill.serving.protocols.model_inputs import Inputs
from tidemill.serving.protocols.open_inference import OpenInference, datatype_of
from tidemill.serving.protocols.open_inference_paths import features_of
from tidemill.serving.protocols.tensors import DATATYPES
from tidemill.serving.routing.loaded_version import LoadedModel
from tidemill.tasks.binary import Binary

NAMES = ("wind", "sky", "rain")


class Parcel(BaseModel):
    depot: str


INPUTS = Inputs("parcels", Parcel, 3, lambda: Features(NAMES, NAMES, ("sky",)))
CALL = [[1.0, "grey", None], [2.0, None, 0.5]]


def plain(matrix):
    return [[None if value != value else value for value in row] for row in matrix.tolist()]


def test_columns_and_rows_hold_text_and_numbers():
    _, found = INPUTS.call({"wind": [1, 2], "sky": ["grey", None], "rain": [None, 0.5]})
    assert plain(found) == CALL
    assert plain(INPUTS.matrix([[1, "grey", None], [2, None, 0.5]])) == CALL


def test_metadata_says_which_whole_numbers_have_no_sign_and_they_are_taken():
    large = 2**64 - 7
    columns = [FeatureColumn("hash", "integer", example=2**63 + 5), FeatureColumn("n", "integer", example=5)]
    codec = OpenInference(Inputs("m", request_model(columns), 3, lambda: None))
    assert {field.name: datatype_of(field) for field in codec.inputs.fields} == {
        "hash": "UINT64",
        "n": "INT64",
    }
    tensors = [("hash", "UINT64", large), ("n", "INT64", 3)]
    body = {"inputs": [{"name": a, "datatype": b, "shape": [1], "data": [c]} for a, b, c in tensors]}
    (row,) = codec.parse(json.dumps(body).encode(), {}, b"").instances
    assert row.model_dump() == {"hash": large, "n": 3}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            {"wind": [1], "sky": [5], "rain": [1]},
            "row 0, sky: Input should be a valid string, and a number was given",
        ),
        (
            {"wind": ["x"], "sky": ["grey"], "rain": [1]},
            "row 0, wind: Input should be a valid number, and text was given",
        ),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(rows, words):
    with pytest.raises(Refused) as refused:
        INPUTS.call(rows)
    assert refused.value.failure.detail == words


def test_mlflows_csv_reads_digits_as_text_where_the_feature_is_text():
    body = b"wind,sky,rain\n1,7,\n2,,0.5\n"
    call = MlflowScoring(INPUTS).parse(body, {b"content-type": b"text/csv"}, b"")
    assert plain(call.features) == [[1.0, "7", None], [2.0, None, 0.5]]


def test_tensors_of_text_are_bytes():
    inputs = [
        {"name": "wind", "datatype": "FP64", "shape": [2], "data": [1, 2]},
        {"name": "sky", "datatype": "BYTES", "shape": [2], "data": ["grey", None]},
        {"name": "rain", "datatype": "FP64", "shape": [2], "data": [None, 0.5]},
    ]
    call = OpenInference(INPUTS).parse(json.dumps({"inputs": inputs}).encode(), {}, b"")
    assert plain(call.features) == CALL


class Asked(BaseModel):
    depot: int | None
    sure: bool | None


def tensor(name, datatype, data):
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": data}


def parsed(*tensors):
    inputs = Inputs("parcels", Asked, 9, lambda: Features(NAMES, NAMES))
    return OpenInference(inputs).parse(json.dumps({"inputs": tensors}).encode(), {}, b"")


@pytest.mark.parametrize("datatype", [one for one in DATATYPES if one != "BOOL"])
def test_a_null_is_unknown_in_tensors_of_every_type(datatype):
    matrix = {**tensor("features", datatype, [1, None, 2, None, 3, None]), "shape": [2, 3]}
    assert plain(parsed(matrix).features) == [[1.0, None, 2.0], [None, 3.0, None]]
    each = [tensor("wind", datatype, [1, None]), tensor("sky", "BOOL", [None, True])]
    call = parsed(*each, tensor("rain", datatype, [None, None]))
    assert plain(call.features) == [[1.0, None, None], [None, 1.0, None]]
    fields = parsed(tensor("depot", datatype, [7, None]), tensor("sure", "BOOL", [None, True]))
    assert [(one.depot, one.sure) for one in fields.instances] == [(7, None), (None, True)]


def test_integers_beside_a_null_keep_their_digits():
    call = parsed(tensor("depot", "INT64", [2**53 + 1, None]), tensor("sure", "BOOL", [True, False]))
    assert [one.depot for one in call.instances] == [2**53 + 1, None]
    with pytest.raises(Refused, match="no INT8 can hold"):
        parsed(tensor("depot", "INT8", [None, 300]), tensor("sure", "BOOL", [True, False]))
    with pytest.raises(Refused, match="is INT64, which takes whole numbers, and a truth value was given"):
        parsed(tensor("depot", "INT64", [None, True]), tensor("sure", "BOOL", [True, False]))


@pytest.mark.engine
def test_compiled_and_original_answer_as_the_estimator_does(parcels):
    frame = pd.DataFrame(
        {"wind": [1.0, 9.0, 5.0, 2.0], "sky": ["clear", "grey", None, ""], "rain": [0.5, 2.0, 1.0, 0.0]}
    )
    sky = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer([("sky", sky, ["sky"])], remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression()).fit(frame[:3], [0, 1, 1])
    version = add_model(parcels, model, frame, Binary(""))
    rows = [FeatureRow(row, ()) for row in frame.to_dict("records")]
    compiled, original = load_scorer(parcels, version), load_original(parcels, version)
    assert (compiled.kind, original.kind, compiled.words) == ("onnx", "skops", ("sky",))
    expected = model.predict_proba(frame)[:, 1]
    for scorer in (compiled, original):
        loaded = LoadedModel(version, scorer, None, datetime.now(UTC))
        np.testing.assert_allclose(loaded.answers(rows), expected, rtol=1e-9)
        np.testing.assert_allclose(loaded.answers(rows[2:3]), expected[2:3], rtol=1e-9)


def test_csv_is_read_as_training_reads_tables():
    formats = {"wind": "1.234,56"}
    codec = MlflowScoring(
        Inputs("parcels", Parcel, 3, lambda: Features(NAMES, NAMES, ("sky",)), formats=formats)
    )
    body = b'wind,sky,rain\n43.113,null,?\n"3,20",grey,-\n'
    found = codec.parse(body, {b"content-type": b"text/csv"}, b"").features
    assert plain(found) == [[43113.0, None, None], [3.2, "grey", None]]
    with pytest.raises(Refused, match=r"'1\.5' is not written as 1\.234,56"):
        codec.parse(b"wind,sky,rain\n1.5,grey,1\n", {b"content-type": b"text/csv"}, b"")


def test_moments_in_csv_are_written_as_in_the_table_or_as_in_json():
    formats = {"wind": "%d.%m.%Y %H:%M"}
    codec = MlflowScoring(
        Inputs("parcels", Parcel, 3, lambda: Features(NAMES, NAMES, NAMES), formats=formats)
    )
    csv = {b"content-type": b"text/csv"}
    body = b"wind,sky,rain\n31.12.2024 10:00,a,b\n2024-12-31T11:00:00+01:00,a,b\n2024-12-31T10:00:00Z,a,b\n"
    assert [row[0] for row in plain(codec.parse(body, csv, b"").features)] == [
        "2024-12-31T10:00:00+00:00"
    ] * 3
    for wrong in (b"2024-12-31T10:00:00", b"31/12/2024", b"3.5"):
        with pytest.raises(
            Refused, match=r"row 0 .*, wind: .* not written as %d.* nor as 2013-04-01T10:15:00Z"
        ):
            codec.parse(b"wind,sky,rain\n" + wrong + b",a,b\n", csv, b"")


def test_words_for_gaps_are_gaps_in_features_that_are_given_directly():
    column = FeatureColumn("sky", "text", False, ("grey", "n/a"), has_gap_words=True)
    store = SimpleNamespace(features=(("weather", "wind"),), keys=("depot",), inputs=(), truths=frozenset())
    reader = StoreAndRequest(store, [column])
    scorer = SimpleNamespace(features=("wind", "sky"), words=("sky",), lists={})
    serving = SimpleNamespace(champion=SimpleNamespace(features=reader, scorer=scorer))
    inputs = Inputs("parcels", Parcel, 9, lambda: features_of(serving))
    words, expected = ["NaN", "", "n/a", "blue", None], [None, None, "n/a", "blue", None]
    rows = [[1.0, word] for word in words]
    for found in (
        inputs.call({"wind": [1.0] * 5, "sky": words})[1],
        inputs.call([{"wind": 1.0, "sky": word} for word in words])[1],
        inputs.matrix_call(rows)[1],
    ):
        assert found[:, 1].tolist() == expected
