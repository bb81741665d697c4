"""OpenAPI is the truth: some hundred cases of `benchmarks.fuzz_api`, which sends thousands."""

import pytest

from benchmarks.fuzz_api import fuzz

pytestmark = pytest.mark.engine


def test_no_request_gets_a_5xx_or_what_openapi_does_not_declare(url):
    report = fuzz(url, 200, seed=2013)
    assert report.failures == {}
    assert report.cases >= 200
    answered = {operation for operation, status in report.statuses if status == 200}
    assert {"POST /predict", "POST /invocations", "POST /v2/models/parcel-delay/infer"} <= answered
