"""What the client of the API sends."""

import pytest

from tidemill.errors import UsageError
from tidemill.serving.http.client import PredictionClient


@pytest.mark.parametrize("value", ["\ud800", 2**70])
def test_what_json_does_not_hold_is_named_before_anything_is_sent(value):
    with (
        PredictionClient("http://127.0.0.1:9") as client,
        pytest.raises(UsageError, match="cannot be written as JSON"),
    ):
        client.predict([{"a": value}])
