import pytest

from tidemill.dashboard.live.metric_samples import figures, parse_sample, steps

TEXT = """# TYPE tidemill_requests counter
tidemill_requests_total{{protocol="predict",replica="a"}} {requests}
tidemill_requests_total{{protocol="mlflow",replica="b"}} 0
# TYPE tidemill_request_errors counter
tidemill_request_errors_total{{protocol="predict",kind="internal",replica="a"}} {errors}
tidemill_request_errors_total{{protocol="predict",kind="refused",replica="a"}} 900
tidemill_request_errors_total{{protocol="predict",kind="overloaded",replica="a"}} {overloaded}
# TYPE tidemill_request_duration_seconds histogram
tidemill_request_duration_seconds_bucket{{role="champion",version="3",le="0.01",replica="a"}} {fast}
tidemill_request_duration_seconds_bucket{{role="champion",version="3",le="0.1",replica="a"}} {requests}
tidemill_request_duration_seconds_bucket{{role="champion",version="3",le="+Inf",replica="a"}} {requests}
tidemill_request_duration_seconds_bucket{{role="shadow",version="4",le="+Inf",replica="a"}} 5000
# TYPE tidemill_predictions counter
tidemill_predictions_total{{protocol="predict",role="champion",version="3",replica="a"}} {requests}
# TYPE tidemill_in_flight_requests gauge
tidemill_in_flight_requests{{replica="a"}} 2
# TYPE tidemill_degraded gauge
tidemill_degraded{{part="log",replica="a"}} 0
tidemill_degraded{{part="features",replica="a"}} 1
"""


def sample(at, requests, errors=0, overloaded=0, fast=None):
    values = {"requests": requests, "errors": errors, "overloaded": overloaded}
    return parse_sample(TEXT.format(**values, fast=requests if fast is None else fast), at)


def test_rates_and_latencies_are_of_what_happened_between_two_readings():
    before, after = sample(0, 1000), sample(60, 1600, errors=6, overloaded=120, fast=1300)
    found = figures([before, after], 60)
    assert (found.rate, found.errors, found.overloaded) == (10.0, 0.01, 2.0)
    assert found.p50 == pytest.approx(0.01)
    assert 0.09 < found.p99 < 0.1
    assert found.versions == {"3": 10.0}
    assert after.in_flight == 2
    assert after.degraded == ("features",)


def test_a_replica_that_began_again_makes_no_negative_rate():
    found = figures([sample(0, 1000), sample(5, 10), sample(10, 60)], 60)
    assert found.rate == 5.0


def test_one_reading_says_nothing_and_no_request_has_no_latency():
    assert figures([sample(0, 10)], 60) is None
    found = figures([sample(0, 10), sample(5, 10)], 60)
    assert (found.rate, found.errors, found.p99) == (0.0, 0.0, None)


def test_steps_are_few_and_cover_everything():
    samples = [sample(5 * number, 100 * number) for number in range(361)]
    found = steps(samples, 60)
    assert len(found) == 60
    assert found[-1][0] == samples[-1].at
    assert {each.rate for _, each in found} == {20.0}


def test_what_is_no_metric_is_refused():
    with pytest.raises(ValueError, match=r"."):
        parse_sample("<html>not metrics</html>", 0.0)
