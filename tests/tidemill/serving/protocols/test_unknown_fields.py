import json
import time

import pytest
from pydantic import BaseModel, ConfigDict

from tidemill.project.feature_columns import FeatureColumn
from tidemill.serving.inference.calls import Refused, sentence
from tidemill.serving.inference.request_application import request_model
from tidemill.serving.protocols.predict_codec import PredictCodec

MOMENT = "Input should be a moment such as 2013-04-01T10:15:00Z"


class Forecast(BaseModel):
    model_config = ConfigDict(extra="forbid")

    wind: float
    city: str = "Rome"


def said(instance: type[BaseModel], body: object) -> str:
    with pytest.raises(Refused) as refused:
        PredictCodec("rain", instance, 1000).parse(json.dumps(body).encode(), {}, b"")
    return sentence(refused.value.failure.detail)


def test_an_unknown_field_is_refused_with_the_nearest_one():
    told = said(Forecast, {"instances": [{"wind": 1.0}, {"wind": 1.0, "Citty": "Oslo"}]})
    assert told == "row 1, Citty: There is no such field; is 'city' meant?"


def test_an_unknown_field_that_is_near_no_other_is_refused_with_all():
    told = said(Forecast, {"instances": [{"wind": 1.0, "humidity": 3}]})
    assert told == "row 0, humidity: There is no such field; there are: wind, city"
    assert said(Forecast, {"instances": [{"wind": 1.0}], "moment": 3}) == (
        "body.moment: There is no such field; there are: instances, at"
    )


def test_fields_are_named_as_requests_name_them():
    instance = request_model([FeatureColumn("petal length", "number"), FeatureColumn("copy", "number")])
    told = said(instance, {"instances": [{"petal length": 1.0, "copy": 2.0, "petal_length": 1.0}]})
    assert told == "row 0, petal_length: There is no such field; is 'petal length' meant?"


def test_many_unknown_fields_of_a_wide_project_take_no_time():
    instance = request_model([FeatureColumn(f"feature {n}", "number", required=False) for n in range(400)])
    rows = [{f"feature_{n}{'x' * 2000}": 1.0 for n in range(900)}]
    began = time.process_time()
    told = said(instance, {"instances": rows})
    assert time.process_time() - began < 2.0
    assert told.endswith("There is no such field")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ([], "body: Input should be an object, and a list was given"),
        ({"instances": [[1]]}, "row 0: Input should be an object, and a list was given"),
    ],
)
def test_what_is_no_object_is_refused_in_plain_words(body, expected):
    assert said(Forecast, body) == expected


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("seats", 2.5, "Input should be a valid integer, and a number with a fraction was given"),
        ("seats", "2", "Input should be a valid integer, and text was given"),
        ("booked", "soon", f"{MOMENT}, and text was given: input is too short"),
        ("booked", "31.12.2024 10:00", f"{MOMENT}, and text was given: invalid character in year"),
        (
            "booked",
            "2024-12-31T10:00",
            f"{MOMENT}, and one without its offset from UTC was given: with Z at its end it is in UTC",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_expected_and_what_was_given(field, value, expected):
    columns = [
        FeatureColumn("seats", "integer", required=False),
        FeatureColumn("booked", "moment", required=False),
    ]
    told = said(request_model(columns), {"instances": [{field: value}]})
    assert told == f"row 0, {field}: {expected}"
