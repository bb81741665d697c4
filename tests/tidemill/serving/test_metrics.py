"""What Prometheus reads: the gauges of the feature store, and counters of flags."""

from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from tests.tidemill.serving.small_project import KNOWN
from tidemill.clock import ReplayClock
from tidemill.errors import FeatureError
from tidemill.features.freshness import ViewFreshness
from tidemill.features.online import FeatureRow
from tidemill.serving.metrics import Metrics
from tidemill.serving.wiring import build_api

WEATHER = ViewFreshness("weather", "fresh", 4, KNOWN, 60.0, None, 0.25, None)


def read(text):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_gauges_and_counters_and_no_second_look_within_seconds():
    looks = []
    metrics = Metrics(lambda: looks.append(1) or [WEATHER])
    assert looks == []
    metrics.count([FeatureRow({}, ("missing:weather", "default:rain")), FeatureRow({}, ("missing:weather",))])
    for _ in range(3):
        found = read(metrics.text().decode())
    assert looks == [1]
    assert found["tidemill_feature_age_seconds", "weather"] == pytest.approx(60, abs=30)
    assert found["tidemill_feature_keys", "weather"] == 4
    assert found["tidemill_feature_expired_ratio", "weather"] == 0.25
    assert found["tidemill_feature_store_up",] == 1
    assert found["tidemill_feature_flags_total", "missing", "weather", "0"] == 2
    assert found["tidemill_feature_flags_total", "default", "rain", "0"] == 1


def test_a_store_that_cannot_be_read_is_down_and_the_rest_stays():
    def look():
        raise FeatureError("gone")

    metrics = Metrics(look)
    metrics.count([FeatureRow({}, ("expired:weather",))])
    found = read(metrics.text().decode())
    assert found["tidemill_feature_store_up",] == 0
    assert found["tidemill_feature_flags_total", "expired", "weather", "0"] == 1
    assert not any(name == "tidemill_feature_keys" for name, *_ in found)


@pytest.mark.engine
def test_the_api_tells_them(served_parcels):
    clock = ReplayClock(KNOWN + timedelta(hours=2))
    with TestClient(build_api(served_parcels, "r1", clock)) as client:
        asked = {"instances": [{"depot": "north"}, {"depot": "atlantis"}]}
        assert client.post("/predict", json=asked).status_code == 200
        answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = read(answer.text)
    assert found["tidemill_feature_age_seconds", "weather"] == pytest.approx(7200, abs=60)
    assert found["tidemill_feature_keys", "weather"] == 2
    assert found["tidemill_feature_flags_total", "missing", "weather", "r1"] == 1
