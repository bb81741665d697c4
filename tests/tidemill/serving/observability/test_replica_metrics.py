"""What Prometheus reads: requests and latencies, features, models, the log; of all replicas of a node."""

import os
import shutil
import subprocess
import threading
import time
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from tests.tidemill.serving.small_project import KNOWN
from tidemill.clock import ReplayClock
from tidemill.errors import FeatureError
from tidemill.features.online.view_freshness import ViewFreshness
from tidemill.features.request_features import FeatureRow
from tidemill.serving.observability import metrics_sharing
from tidemill.serving.observability.metrics_sharing import SharedMetrics
from tidemill.serving.observability.metrics_sources import of_shadows
from tidemill.serving.observability.replica_metrics import Metrics
from tidemill.serving.observability.request_counts import RequestCounts, read_request_counts
from tidemill.serving.observability.version_counters import VersionCounters
from tidemill.serving.runtime.replica.wiring import build_api

ENDED_ONES = (("stopped", 2), ("killed", 3))
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
    metrics.flags([FeatureRow({}, ("missing:weather", "default:rain")), FeatureRow({}, ("missing:weather",))])
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
    metrics.flags([FeatureRow({}, ("expired:weather",))])
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


@pytest.mark.engine
def test_a_version_that_fails_is_named(served_parcels, monkeypatch):
    def fail(model, features):
        raise ValueError("no")

    with TestClient(build_api(served_parcels, "r1"), raise_server_exceptions=False) as client:
        monkeypatch.setattr("tidemill.serving.routing.loaded_version.LoadedModel.answers", fail)
        assert client.post("/predict", json={"instances": [{"depot": "north"}]}).status_code == 500
        text = client.get("/metrics").text
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    (errors,) = [one for one in samples if one.name == "tidemill_request_errors_total"]
    assert errors.labels == {"protocol": "predict", "kind": "model", "version": "1", "replica": "r1"}
    assert errors.value == 1


def told(metrics):
    """Return sample name → labels and value, without prometheus_client's own order of labels."""
    return {
        (sample.name, frozenset(set(sample.labels.items()) - {("replica", "0")})): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def of(name, /, **labels):
    return name, frozenset(labels.items())


def test_what_was_counted_is_told():
    metrics = Metrics(list)
    metrics.answered("predict", "champion", "1", 2, 0.0002)
    metrics.answered("predict", "champion", "1", 1, 0.003)
    metrics.answered("predict", "canary", "2", 1, 60.0, further=True)
    metrics.failed("mlflow", "malformed")
    metrics.failed("predict", "model", "2")
    for rows in (1, 3, 4096):
        metrics.batch(rows)
    metrics.add_cache(lambda: [("weather", 3, 1)])
    metrics.add_cache(lambda: [("weather", 1, 0)])  # of definitions that came later
    counters = VersionCounters()
    counters.dropped("shadow", "3", 5)
    metrics.add(of_shadows(counters.counts))
    metrics.in_flight(7)
    metrics.flag("fallback:log", 2)
    found = told(metrics)
    champion = {"protocol": "predict", "role": "champion", "version": "1"}
    assert found[of("tidemill_requests_total", protocol="predict")] == 3
    assert found[of("tidemill_requests_total", protocol="mlflow")] == 1
    assert found[of("tidemill_request_errors_total", protocol="predict", kind="model", version="2")] == 1
    assert found[of("tidemill_predictions_total", **champion)] == 3
    seconds = "tidemill_request_duration_seconds"
    assert found[of(f"{seconds}_bucket", le="0.00025", **champion)] == 1
    assert found[of(f"{seconds}_bucket", le="0.002", **champion)] == 1
    assert found[of(f"{seconds}_bucket", le="0.003", **champion)] == 2
    assert found[of(f"{seconds}_count", **champion)] == 2
    assert found[of(f"{seconds}_sum", **champion)] == pytest.approx(0.0032)
    slow = {"protocol": "predict", "role": "canary", "version": "2"}
    assert (found[of(f"{seconds}_bucket", le="10.0", **slow)], found[of(f"{seconds}_count", **slow)]) == (
        0,
        1,
    )
    assert found[of("tidemill_batch_rows_bucket", le="4.0")] == 2
    assert found[of("tidemill_batch_rows_sum")] == 4100
    assert found[of("tidemill_feature_cache_lookups_total", view="weather", result="hit")] == 4
    assert found[of("tidemill_feature_cache_lookups_total", view="weather", result="miss")] == 1
    assert found[of("tidemill_shadow_predictions_total", outcome="dropped")] == 5
    assert found[of("tidemill_feature_flags_total", flag="fallback", name="log")] == 2
    assert found[of("tidemill_in_flight_requests")] == 7
    assert found[of("tidemill_replica_resident_memory_bytes")] > 1e6


def test_no_thread_loses_a_count():
    metrics = Metrics(list)

    def work():
        for _ in range(2000):
            metrics.answered("predict", "champion", "1", 1, 0.001)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = told(metrics)
    assert found[of("tidemill_requests_total", protocol="predict")] == 16_000


def test_labels_are_bounded_and_the_latest_versions_stay():
    metrics = Metrics(list)
    for number in range(500):
        metrics.answered("predict", "champion", str(number), 1, 0.001)
        metrics.failed("predict", f"kind{number}")
        metrics.add_cache(lambda number=number: [(f"view{number}", 1, 1)])
        metrics.flag(f"missing:view{number}")
    found = told(metrics)
    assert len(found) < 64 * 30 + 3 * 300
    assert of("tidemill_predictions_total", protocol="predict", role="champion", version="499") in found
    assert of("tidemill_predictions_total", protocol="predict", role="champion", version="0") not in found
    assert found[of("tidemill_requests_total", protocol="predict")] == 1000
    assert found[of("tidemill_request_errors_total", protocol="other", kind="other", version="")] == 500 - 256


def replicas(metrics):
    name = "tidemill_requests_total"
    return {
        labels[-1]: value
        for (found, *labels), value in read(metrics.text().decode()).items()
        if found == name
    }


def test_whoever_is_asked_tells_of_all_replicas_until_they_are_gone(tmp_path):
    first, second = (Metrics(list, name, SharedMetrics(tmp_path, name)) for name in ("a/1", "b#2"))
    for metrics in (first, second):
        metrics.answered("predict", "champion", "1", 1, 0.001)
        metrics.start()
    try:
        assert replicas(first) == replicas(second) == {"a/1": 1, "b#2": 1}
        second.failed("predict", "model")
        deadline = time.monotonic() + 20
        while replicas(first)["b#2"] != 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        second.stop()
    assert replicas(first) == {"a/1": 1}
    (folder,) = (tmp_path / "metrics").iterdir()
    killed, torn = folder / "killed.json", folder / "torn.json"
    killed.write_bytes((folder / "a_1.json").read_bytes())
    os.utime(killed, (time.time() - 60,) * 2)
    torn.write_bytes(b'[{"name": "tide')
    assert replicas(first) == {"a/1": 1}
    assert not killed.exists()
    first.stop()
    assert sorted(each.name for each in folder.iterdir()) == [
        "a_1.ended",
        "b_2.ended",
        "killed.ended",
        "torn.json",
    ]


def test_what_replicas_counted_stays_when_they_stop_or_are_killed(tmp_path):
    for name, refused in ENDED_ONES:
        metrics = Metrics(list, name, SharedMetrics(tmp_path, name))
        metrics.start()
        metrics.answered("http", "champion", "1", 1, 0.001)
        for _ in range(refused):
            metrics.failed("http", "malformed")  # after the file was written
        metrics.stop()
    (folder,) = (tmp_path / "metrics").iterdir()
    killed = (folder / "killed.ended").rename(folder / "killed.json")
    os.utime(killed, (time.time() - 60,) * 2)
    counted = {name: RequestCounts(1 + refused, {"malformed": refused}) for name, refused in ENDED_ONES}
    assert read_request_counts(tmp_path) == counted
    assert read_request_counts(tmp_path, ended=False) == {}
    Metrics(list, "other", SharedMetrics(tmp_path, "other")).text()
    assert not killed.exists()
    assert read_request_counts(tmp_path) == counted


def test_files_of_the_latest_replicas_that_ended_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(metrics_sharing, "_MOST_ENDED", 2)
    for number in range(4):
        metrics = Metrics(list, f"r{number}", SharedMetrics(tmp_path, f"r{number}"))
        metrics.answered("http", "champion", "1", 1, 0.001)
        metrics.start()
        metrics.stop()
        for file in tmp_path.glob("metrics/*/*"):
            os.utime(file, (1000 + int(file.stem[1:]),) * 2)
    assert len(read_request_counts(tmp_path)) <= 3
    assert "r3" in read_request_counts(tmp_path)


@pytest.mark.engine
def test_promtool_takes_what_the_api_tells(served_parcels):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool (on Debian: apt-get install prometheus)")
    with TestClient(build_api(served_parcels, "r1")) as client:
        for body in ({"instances": [{"depot": "north"}]}, {"instances": []}):
            client.post("/predict", json=body)
        client.post("/invocations", json={"instances": [[1, 2]]})
        text = client.get("/metrics").text
    families = {family.name for family in text_string_to_metric_families(text)}
    assert {"tidemill_model_info", "tidemill_log_up", "tidemill_degraded", "tidemill_batch_rows"} <= families
    assert read(text)["tidemill_in_flight_requests", "r1"] == 0
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
