"""Traces of requests, seen by a small but real collector: OTLP over HTTP, protobuf."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan

from tests.tidemill.serving.small_project import KNOWN
from tidemill.project import load_project
from tidemill.serving.observability.request_tracing import Tracing, open_tracing
from tidemill.serving.runtime.replica.wiring import build_api
from tidemill.settings import Settings

pytestmark = pytest.mark.engine
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ASKED = {"instances": [{"depot": "north"}, {"depot": "atlantis"}], "at": KNOWN.isoformat()}


class Collector(ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Receive)
        self.paths, self.spans, self.resources = [], [], []
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"

    def named(self, name):
        return [span for span in self.spans if span.name == name]


class Receive(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/x-protobuf"
        for part in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.server.resources.append(attributes(part.resource))
            self.server.spans += [span for scope in part.scope_spans for span in scope.spans]
        self.server.paths.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def attributes(thing):
    found = {}
    for item in thing.attributes:
        kind = item.value.WhichOneof("value")
        value = getattr(item.value, kind)
        found[item.key] = [one.string_value for one in value.values] if kind == "array_value" else value
    return found


@pytest.fixture
def collector():
    with Collector() as server:
        yield server
        server.shutdown()


def traced(project, collector, share):
    settings = Settings(otlp_endpoint=collector.address, trace_share=share)
    return TestClient(build_api(load_project(project.root, settings), "r1"), raise_server_exceptions=False)


def test_a_request_of_a_trace_continues_it_with_a_span_for_each_stage(served_parcels, collector):
    with traced(served_parcels, collector, 0.0) as api:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        answer = api.post("/predict", json=ASKED, headers=headers).json()
        api.post("/predict", json=ASKED, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
        api.post("/predict", json=ASKED)  # of these, a share of 0
        assert api.post("/invocations", json={}, headers=headers).status_code == 400
    assert set(collector.paths) == {"/v1/traces"}
    resource = collector.resources[0]
    assert (resource["service.name"], resource["service.instance.id"]) == ("parcel-delay", "r1")

    (request,) = collector.named("POST /predict")
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    told = attributes(request)
    assert told["tidemill.prediction_ids"] == [one["prediction_id"] for one in answer["predictions"]]
    assert told["tidemill.flags"] == ["default:rain", "missing:weather"]
    assert told["tidemill.model.versions"] == ["1"]
    assert told["http.response.status_code"] == 200
    stages = [collector.named(name) for name in ("features", "model", "decide", "log")]
    assert [len(spans) for spans in stages] == [1, 1, 1, 1]
    moments = [request.start_time_unix_nano]
    for (span,) in stages:
        assert (span.trace_id, span.parent_span_id) == (request.trace_id, request.span_id)
        assert attributes(span)["tidemill.batch.rows"] == 2
        moments += [span.start_time_unix_nano, span.end_time_unix_nano]
    assert moments == sorted(moments)
    assert moments[-1] <= request.end_time_unix_nano

    (refused,) = collector.named("POST /invocations")
    assert attributes(refused)["error.type"] == "malformed"
    assert attributes(refused)["http.response.status_code"] == 400
    assert "north" not in str(collector.spans)


def test_a_share_of_the_others_is_traced_and_a_failure_is_one(served_parcels, collector):
    with traced(served_parcels, collector, 1.0) as api:
        api.post("/predict", json=ASKED)
        api.get("/healthz")
    assert len(collector.spans) == 5
    assert len({span.trace_id for span in collector.spans}) == 1


def test_a_collector_that_is_away_costs_no_answer(served_parcels, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    settings = Settings(otlp_endpoint="http://127.0.0.1:9", trace_share=1.0)
    with TestClient(build_api(load_project(served_parcels.root, settings), "r1")) as api:
        assert api.post("/predict", json=ASKED).status_code == 200


def test_opentelemetrys_own_variables_hold(monkeypatch):
    assert open_tracing(Settings(), "m", "r1") is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    tracing = open_tracing(Settings(trace_share=0), "m", "r1")
    assert tracing.begin("POST", "/predict", "predict", {}) is None
    tracing.close()
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    tracing = open_tracing(Settings(trace_share=1), "m", "r1")
    assert tracing.begin("POST", "/predict", "predict", {}) is None
    tracing.close()
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert open_tracing(Settings(), "m", "r1") is None


class Asked:
    """Stands for OpenTelemetry, and counts what it is asked."""

    def __init__(self):
        self.spans = 0

    def get_tracer(self, *_):
        return self

    def start_span(self, *_):
        self.spans += 1
        return NonRecordingSpan(INVALID_SPAN_CONTEXT)


@pytest.mark.parametrize(
    ("parent", "share", "asked"),
    [
        (None, 0.0, 0),
        (None, 1.0, 1000),
        (None, None, 1000),  # its own sampler decides
        (f"00-{TRACE}-{PARENT}-00", 1.0, 0),
        (f"00-{TRACE}-{PARENT}-01", 0.0, 1000),
        ("nonsense", 0.0, 0),
        ("nonsense", 1.0, 1000),
    ],
)
def test_a_request_that_is_not_sampled_asks_nothing_of_opentelemetry(parent, share, asked):
    provider = Asked()
    tracing = Tracing(provider, share)
    headers = {} if parent is None else {b"traceparent": parent.encode()}
    for _ in range(1000):
        tracing.begin("POST", "/predict", "predict", headers)
    assert provider.spans == asked


def test_the_share_of_requests_is_what_was_asked_for():
    provider = Asked()
    tracing = Tracing(provider, 0.25)
    for _ in range(4000):
        tracing.begin("POST", "/predict", "predict", {})
    assert 850 < provider.spans < 1150  # 4.5 standard deviations


def test_without_an_address_nothing_of_opentelemetry_is_asked():
    code = """
import sys
from tidemill.serving.observability.request_tracing import open_tracing
from tidemill.settings import Settings
print(open_tracing(Settings(), "m", "r1"), [name for name in sys.modules if "opentelemetry" in name])
"""
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run([sys.executable, "-c", code], env=quiet, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "[]"]
