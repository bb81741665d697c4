"""A real stack that listens beyond loopback, with keys: what can be reached, by whom, and how slowly."""

import json
import shutil
import socket
import time
from contextlib import closing
from dataclasses import replace

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from tests.tidemill.recorded import list_alerts, list_keys
from tests.tidemill.serving.runtime.own_stacks import end_by_ctrl_c, in_foreground
from tests.tidemill.serving.small_project import KNOWN
from tests.warm_ray_workers import with_warm_workers
from tidemill.accounts.api_keys import create_key, revoke_key
from tidemill.cli.main import app
from tidemill.clock import SystemClock
from tidemill.errors import ConfigError, ServingError
from tidemill.orphan_reaper import marked_processes
from tidemill.project import load_project
from tidemill.serving.http.admission import scope_of
from tidemill.serving.http.client import PredictionClient
from tidemill.serving.runtime.bind_policy import Listener, listeners, warnings
from tidemill.serving.runtime.daemon import up
from tidemill.serving.runtime.local_stack import status
from tidemill.serving.runtime.network import free_port
from tidemill.serving.runtime.stack_record import read
from tidemill.settings import Secret, Settings
from tidemill.state import open_state

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

HOST = "127.0.0.2"  # stands for a public address: this machine's, and not where everything else listens


def elsewhere(template, folder):
    root = shutil.copytree(template, folder)
    file = root / "params.yaml"
    params = yaml.safe_load(file.read_text())
    params["serve"] |= {
        "require_keys": "always",
        "timeout_seconds": 2,
        "limits": {"header_seconds": 2, "idle_seconds": 3, "body_bytes": 50_000},
    }
    file.write_text(yaml.safe_dump(params))
    return load_project(root, Settings(num_cpus=2, host=HOST, serve_port=free_port(HOST)))


@pytest.fixture(scope="module")
def project(tmp_path_factory, served_template):
    return elsewhere(served_template, tmp_path_factory.mktemp("elsewhere") / "project")


@pytest.fixture(scope="module")
def keys(project):
    state, now = open_state(project.state_url), SystemClock().now()
    scopes = {"shop": ["predict", "feedback"], "labels": ["feedback"], "prometheus": ["metrics"]}
    scopes["alertmanager"] = ["alerts"]
    return {
        name: create_key(state, name=name, scopes=given, actor="test", now=now).secret
        for name, given in scopes.items()
    }


@pytest.fixture(scope="module")
def stack(project, keys):
    # What a user's shell may hold goes on to the stack, and must not be in its arguments.
    holding = replace(project, settings=replace(project.settings, api_key=keys["shop"]))
    with in_foreground(holding, with_warm_workers("tidemill.cli.main")) as (process, wait_until):
        wait_until("ready")
        yield status(project)
        if process.poll() is None:
            end_by_ctrl_c(project, process)


def ask(stack, method, path, key=None, **more):
    headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
    return httpx.request(method, f"{stack.url}{path}", headers=headers, trust_env=False, **more)


def test_it_does_not_start_without_keys(tmp_path, served_template):
    project = elsewhere(served_template, tmp_path / "project")
    with pytest.raises(ConfigError, match="no API key") as refused:
        up(project)
    assert "tidemill keys create" in refused.value.hint
    assert read(project) is None


def test_only_the_port_of_the_api_is_where_the_host_says(project, stack):
    found = listeners(stack)
    assert len(found) > 10
    there = [one for one in found if one.address.removeprefix("::ffff:") != "127.0.0.1"]
    assert [(one.address, one.port) for one in there] == [(HOST, project.settings.serve_port)]
    purposes = " ".join(one.purpose for one in found)
    for part in ("prediction API", "MLflow", "control store", "scheduler", "statistics"):
        assert part in purposes


def test_the_command_lists_every_port(project, stack):
    asked = ["status", "--ports", "--project", str(project.root)]
    done = CliRunner().invoke(app, [*asked, "--json"], catch_exceptions=False)
    facts = json.loads(done.stdout)
    assert project.settings.serve_port in [one["port"] for one in facts["ports"]]
    assert facts["warnings"] == []
    shown = CliRunner().invoke(app, asked, catch_exceptions=False, env={"COLUMNS": "80"}).stdout
    assert shown.count("address") == 1  # a table, and no block for each port
    assert "the prediction API" in shown
    assert "only this machine can reach them" in shown


def test_what_others_can_reach_and_should_not_is_said():
    meant = Listener(8000, "0.0.0.0", "haproxy", 1, "the prediction API", True, True)
    not_meant = Listener(9101, "10.0.0.7", "haproxy", 1, "statistics", True, False)
    at_home = Listener(9102, "127.0.0.1", "haproxy", 1, "statistics", False, False)
    (sentence,) = warnings([meant, not_meant, at_home])
    assert sentence.startswith("port 9101 on 10.0.0.7 (statistics, process 1) can be reached")


def test_every_route_but_those_of_health_asks_for_its_key(stack, keys):
    for path in ("/healthz", "/readyz", "/ping", "/v2/health/ready"):
        assert ask(stack, "GET", path).status_code == 200
    schema = ask(stack, "GET", "/openapi.json", keys["shop"]).json()
    assert schema["security"] == [{"bearer": []}, {"header": []}]
    closed = [
        (method.upper(), path.replace("{", "").replace("}", ""))
        for path, methods in schema["paths"].items()
        for method in methods
        if path not in ("/healthz", "/readyz", "/ping", "/health", "/v2/health/live", "/v2/health/ready")
    ]
    assert len(closed) > 8
    assert "admin" not in [scope_of(*one) for one in closed]  # each was given a scope of its own
    for method, path in [*closed, ("GET", "/docs"), ("GET", "/openapi.json"), ("GET", "/surprise")]:
        answer = ask(stack, method, path)
        assert (path, answer.status_code) == (path, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        said = next(iter(answer.json()))  # each protocol in its own shape
        assert said == {"/v2": "error", "/in": "error_code"}.get(path[:3], "detail")
    assert ask(stack, "POST", "/predict", keys["labels"]).status_code == 403
    assert ask(stack, "GET", "/metrics", keys["shop"]).status_code == 403
    assert ask(stack, "GET", "/metrics", keys["prometheus"]).status_code == 200


def test_alertmanager_tells_alerts_with_a_key_that_opens_nothing_else(project, stack, keys):
    told = {
        "status": "firing", "labels": {"alertname": "RedisDown"}, "annotations": {"summary": "Redis is down"},
        "startsAt": "2026-01-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "c0ffee",
    }  # fmt: skip
    body = {"version": "4", "alerts": [told]}
    assert ask(stack, "POST", "/alerts", keys["shop"], json=body).status_code == 403
    assert ask(stack, "POST", "/predict", keys["alertmanager"]).status_code == 403
    assert ask(stack, "POST", "/alerts", keys["alertmanager"], json=body).json()["raised"] == 1
    assert ask(stack, "POST", "/alerts", keys["alertmanager"], json=body).json()["seen"] == 1
    (alert,) = (one for one in list_alerts(open_state(project.state_url)) if one.kind == "external")
    assert (alert.monitor, alert.message) == ("alertmanager/RedisDown", "Redis is down")


def test_the_client_sends_its_key_and_the_log_has_its_id(project, stack, keys):
    with PredictionClient(stack.url, key=keys["shop"]) as client:
        answer = client.predict([{"depot": "north"}], at=KNOWN)
    with (
        PredictionClient(stack.url, key=Secret("tmk_none_x")) as client,
        pytest.raises(ServingError) as no,
    ):
        client.predict([{"depot": "north"}])
    assert "401" in str(no.value)
    assert "tidemill keys create" in no.value.hint
    state = open_state(project.state_url)
    ids = {key.name: key.id for key in list_keys(state, SystemClock().now())}
    logged = b"".join(file.read_bytes() for file in project.predictions.rglob("*") if file.is_file())
    assert answer.predictions[0].prediction_id.encode() in logged
    assert f'"caller":"{ids["shop"]}"'.encode() in logged.replace(b": ", b":")


def test_a_revoked_key_is_refused_within_seconds(project, stack, keys):
    revoke_key(open_state(project.state_url), "labels", actor="ann", now=SystemClock().now())
    deadline = time.monotonic() + 10
    while ask(stack, "POST", "/feedback", keys["labels"], json={"labels": []}).status_code != 401:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_no_secret_is_in_a_process_list_or_a_log(project, stack, keys):
    secrets = [key.get_secret_value().split("_", 2)[2] for key in keys.values()]
    lines = [" ".join(process.cmdline()) for process in marked_processes(stack.mark)]
    assert len(lines) > 5
    content = "\n".join(lines).encode()
    content += b"".join(file.read_bytes() for file in project.logs.rglob("*") if file.is_file())
    assert not [secret for secret in secrets if secret.encode() in content]


def test_a_head_or_a_body_that_never_ends_is_cut_off_and_the_others_are_answered(project, stack, keys):
    where = (HOST, project.settings.serve_port)
    secret = keys["shop"].get_secret_value()
    start = "POST /predict HTTP/1.1\r\nHost: x\r\n"
    body = f"{start}X-API-Key: {secret}\r\nContent-Length: 1000\r\n\r\n"
    slow = [start, body + "{", body.replace("/predict", "/feedback") + "{"]
    sockets = [socket.create_connection(where, timeout=60) for _ in range(45)]
    try:
        for number, one in enumerate(sockets):
            one.sendall(slow[number % 3].encode())
        assert ask(stack, "GET", "/readyz", timeout=30).status_code == 200
        ends = [one.recv(100)[:12] for one in sockets]  # an answer, or the end of the connection
        assert set(ends[::3]) <= {b"HTTP/1.1 408", b""}
        assert set(ends[1::3]) | set(ends[2::3]) == {b"HTTP/1.1 408"}
    finally:
        for one in sockets:
            one.close()


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("X-Long: " + "x" * 40_000 + "\r\n", {b"400", b"431"}),
        ("".join(f"X-{number}: 1\r\n" for number in range(300)), {b"400", b"431"}),
        ("Content-Length: 50001\r\n", {b"413"}),
        ("Content-Length: abc\r\n", {b"400"}),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", {b"400", b"422", b"408", b"504"}),
    ],
)
def test_heads_that_are_too_large_or_make_no_sense_are_refused(project, stack, keys, head, expected):
    sent = f"POST /predict HTTP/1.1\r\nHost: x\r\nX-API-Key: {keys['shop'].get_secret_value()}\r\n{head}\r\n"
    with closing(socket.create_connection((HOST, project.settings.serve_port), timeout=10)) as one:
        one.sendall(sent.encode())
        assert one.recv(100)[9:12] in expected


def test_deep_and_chunked_bodies_meet_their_limits(stack, keys):
    deep = b'{"instances": [{"depot": ' + b"[" * 500 + b"]" * 500 + b"}]}"
    key = {"X-API-Key": keys["shop"].get_secret_value(), "Content-Type": "application/json"}
    post = lambda content: httpx.post(  # noqa: E731
        f"{stack.url}/predict", content=content, headers=key, trust_env=False
    )
    assert post(deep).status_code == 422
    assert post(iter([b'{"instances": "', b"x" * 60_000, b'"}'])).status_code == 413
