import json
import time

import pytest
from pydantic import BaseModel, ConfigDict

from tidemill.project.feature_columns import FeatureColumn
from tidemill.serving.inference.calls import Refused, sentence
from tidemill.serving.inference.request_application import request_model
from tidemill.serving.protocols.predict_codec import PredictCodec


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
