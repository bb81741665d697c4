"""Digits are no moment, as a number or as text, wherever a protocol takes one: nobody can know the unit."""

import json
from types import SimpleNamespace

import orjson
import pytest
from pydantic import BaseModel

from tidemill.cli.options import moment as option
from tidemill.clock import SystemClock
from tidemill.errors import DataError, UsageError
from tidemill.prediction_log.bulk_labels import import_label_file
from tidemill.serving.inference.calls import Refused
from tidemill.serving.jobs.submission import Jobs
from tidemill.serving.protocols.given_features import Features
from tidemill.serving.protocols.mlflow_scoring import MlflowScoring
from tidemill.serving.protocols.model_inputs import Inputs
from tidemill.serving.protocols.open_inference import OpenInference, sentence
from tidemill.serving.protocols.predict_codec import PredictCodec
from tidemill.serving.protocols.predict_schema import Feedback, Moment
from tidemill.tasks.binary import Binary

TEXTS = ["1387552500", "1387552500000", "1387552500.5", "-1387552500", "+1387552500", "20131220"]
DIGITS = [*TEXTS, 1387552500, 1.5]
EXAMPLE = "2013-04-01T10:15:00Z"


class Flight(BaseModel):
    departs: Moment
    carrier: str = "UA"


INPUTS = Inputs("flights", Flight, 10, lambda: Features(("wind",), ("wind",)))
PREDICT = PredictCodec("flights", Flight, 10)
OPEN_INFERENCE = OpenInference(INPUTS)
MLFLOW = MlflowScoring(INPUTS)


def departing(value):
    return {"instances": [{"departs": value}]}


def tensor(value, datatype="BYTES", **parameters):
    shape = {"name": "departs", "shape": [1], "datatype": datatype, "data": [value]}
    return {"inputs": [shape], "parameters": parameters}


def parsed(codec, content, headers=()):
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    return codec.parse(body, dict(headers), b"")


def refused(codec, content, headers=()):
    with pytest.raises(Refused) as error:
        parsed(codec, content, headers)
    assert error.value.failure.kind == "malformed"
    return sentence(error.value.failure.detail)


def datatype(value):
    return {str: "BYTES", int: "INT64", float: "FP64"}[type(value)]


@pytest.mark.parametrize("digits", DIGITS)
@pytest.mark.parametrize(
    ("codec", "field", "make"),
    [
        (PREDICT, "departs", departing),
        (PREDICT, "at", lambda value: departing(EXAMPLE) | {"at": value}),
        (OPEN_INFERENCE, "departs", lambda value: tensor(value, datatype(value))),
        (OPEN_INFERENCE, "at", lambda value: tensor(EXAMPLE, at=value)),
        (MLFLOW, "departs", lambda value: {"dataframe_records": [{"departs": value}]}),
        (MLFLOW, "departs", lambda value: {"dataframe_split": {"columns": ["departs"], "data": [[value]]}}),
        (MLFLOW, "departs", lambda value: {"inputs": {"departs": [value]}}),
        (MLFLOW, "at", lambda value: {"inputs": {"departs": [EXAMPLE]}, "params": {"at": value}}),
    ],
)
def test_every_protocol_refuses_digits_names_the_field_and_shows_a_moment(codec, field, make, digits):
    message = refused(codec, make(digits))
    assert field in message
    assert EXAMPLE in message
    parsed(codec, make(EXAMPLE))


def test_csv_has_only_text_and_digits_in_it_are_no_moment():
    csv = {b"content-type": b"text/csv"}
    message = refused(MLFLOW, b"departs\n1387552500\n", csv)
    assert "departs" in message
    assert EXAMPLE in message
    assert parsed(MLFLOW, f"departs\n{EXAMPLE}\n".encode(), csv).instances[0].departs.year == 2013


@pytest.mark.parametrize("digits", DIGITS)
def test_jobs_and_labels_refuse_digits(digits):
    jobs = Jobs(None, "flights", Flight, None, None, type("Limits", (), {"max_instances": 5}), None)
    for content in (departing(digits), departing(EXAMPLE) | {"at": digits}):
        with pytest.raises(Refused, match=EXAMPLE):
            jobs._read(orjson.dumps(content), None)
    by_keys = {"keys": {"origin": "EWR"}, "label": 1}
    for label in (
        {"prediction_id": "p", "label": 1, "at": digits},
        by_keys | {"predicted_at": digits},
    ):
        with pytest.raises(ValueError, match=EXAMPLE):
            Feedback.model_validate({"labels": [label]})


@pytest.mark.parametrize("digits", TEXTS)
def test_options_and_files_of_labels_refuse_digits(tmp_path, digits):
    with pytest.raises(UsageError) as error:
        option(digits)
    assert "2013-04-01" in error.value.hint
    file = tmp_path / "labels.jsonl"
    file.write_text(json.dumps({"prediction_id": "p", "label": 1, "at": digits}) + "\n")
    declared = SimpleNamespace(dataset=SimpleNamespace(classes=None))
    project = SimpleNamespace(task=Binary("roc_auc"), config=declared)
    with pytest.raises(DataError, match=r"at .* is not a moment") as wrong:
        import_label_file(project, file, SystemClock())
    assert "2013-04-01" in wrong.value.hint
