"""What a gate has judged cannot be changed over MLflow's API, nor what is recorded of it forged."""

import sqlite3

import pytest

from tests.tidemill.dashboard.tracking_proxy.test_tracking_proxy import browse, person
from tidemill.dashboard import app as wiring
from tidemill.dashboard.tracking_proxy.reserved_tags import names_reserved_tag
from tidemill.dashboard.tracking_proxy.tracking_proxy import TrackingProxy

pytestmark = pytest.mark.engine

MODEL, OWN_RUN, PLAIN_RUN = "m-" + "a" * 32, "b" * 32, "c" * 32
FILES = "/mlflow/api/2.0/mlflow-artifacts/artifacts"
SET = "/mlflow/api/2.0/mlflow/model-versions/set-tag"
GATE = b'{"name": "m", "version": "2", "key": "tidemill.gate", "value": "{}"}'


@pytest.fixture
def upstream(monkeypatch):
    from tests.tidemill.dashboard.tracking_proxy.test_tracking_proxy import Upstream

    found = Upstream()
    monkeypatch.setattr(wiring, "TrackingProxy", lambda prefix: TrackingProxy(prefix, found.client))
    return found


@pytest.fixture
def registry(installation):
    """A registry with one version of ours and one that a plain script registered."""
    home = installation.home.home
    home.mkdir(exist_ok=True)
    with sqlite3.connect(home / "mlflow.db") as database:
        folder = "file:///srv/artifacts/models"
        database.executescript(f"""
            CREATE TABLE model_versions
                (name, version, source, storage_location, run_id, current_stage, creation_time);
            CREATE TABLE model_version_tags (name, version, key, value);
            INSERT INTO model_versions VALUES
                ('m', 1, '{folder}/{MODEL}/artifacts', NULL, '{OWN_RUN}', 'None', 1),
                ('n', 1, '{folder}/m-{"d" * 32}/artifacts', NULL, '{PLAIN_RUN}', 'None', 1);
            INSERT INTO model_version_tags VALUES
                ('m', 1, 'tidemill.lineage.sha256', 'x'), ('n', 1, 'a', 'b');
        """)
    return home


HELD = (
    ("PUT", f"{FILES}/models/{MODEL}/artifacts/model.skops"),
    ("PUT", f"{FILES}/models/{MODEL}/artifacts/a/b%20c.py"),
    ("DELETE", f"{FILES}/models/{MODEL}/artifacts/model.skops"),
    ("DELETE", f"{FILES}/models/{MODEL}"),
    ("DELETE", f"{FILES}/models"),
    ("DELETE", f"{FILES}/1"),
    ("PUT", f"{FILES}/models/m-{'d' * 32}/artifacts/MLmodel"),
    ("PUT", f"{FILES}/1/{OWN_RUN}/artifacts/lineage.json"),
    ("POST", f"/mlflow/api/2.0/mlflow-artifacts/mpu/create/1/{OWN_RUN}/artifacts/summary.json"),
    ("POST", f"/mlflow/ajax-api/2.0/mlflow/upload-artifact?run_uuid={OWN_RUN}&path=summary.json"),
    ("POST", f"/mlflow/ajax-api/2.0/mlflow/upload-artifact?run_uuid=%62{OWN_RUN[1:]}&path=summary.json"),
)
FREE = (
    f"models/m-{'e' * 32}/artifacts/model.skops",
    f"1/{PLAIN_RUN}/artifacts/more.txt",  # a script that goes on after it registered its model
    "1/notes.txt",
)


def test_files_of_registered_versions_stay_as_they_are(installation, upstream, registry):
    for role in ("data-scientist", "admin"):
        with browse(installation, person(role)) as client:
            for method, path in HELD:
                assert client.request(method, path, content=b"x").status_code == 409, path
    assert upstream.seen == []


def test_other_files_are_written_as_ever(installation, upstream, registry):
    with browse(installation, person("data-scientist")) as client:
        for path in FREE:
            assert client.put(f"{FILES}/{path}", content=b"x").status_code == 200
    assert len(upstream.seen) == len(FREE)


def test_where_the_registry_cannot_say_nothing_is_written(installation, upstream, registry):
    (registry / "mlflow.db").write_bytes(b"no database" * 1000)
    with browse(installation, person("data-scientist")) as client:
        answer = client.put(f"{FILES}/models/{MODEL}/artifacts/model.skops", content=b"x")
    assert answer.status_code >= 400
    assert upstream.seen == []


FORGED = (
        ("POST", SET, GATE),
        ("POST", SET, b'{"key": "a", "key": "tidemill.gate"}'),
        ("POST", SET, b'{"key": "tidemill.gate", "key": "a"}'),
        ("POST", SET, b'{"key": "\\u0074idemill.gate"}'),
        ("POST", SET, GATE.decode().encode("utf-16")),
        ("POST", SET, b'"' + GATE.replace(b'"', b'\\"').replace(b'\\"{}\\"', b"1") + b'"'),
        ("POST", SET, b"[" * 100_000),
        ("DELETE", "/mlflow/api/2.0/mlflow/model-versions/delete-tag", GATE),
        ("POST", "/mlflow/ajax-api/2.0/mlflow/model-versions/create",
         b'{"name": "m", "tags": [{"key": "x"}, {"key": "tidemill.lineage.sha256", "value": "0"}]}'),
        ("POST", "/mlflow/api/2.0/mlflow/runs/log-batch", b'{"tags": [{"key": "tidemill.turn"}]}'),
        ("DELETE", f"/mlflow/api/2.0/mlflow/logged-models/{MODEL}/tags/tidemill.x", b""),
)  # fmt: skip


def test_our_own_tags_are_written_by_who_may_promote_alone(installation, upstream):
    with browse(installation, person("data-scientist")) as client:
        for method, path, body in FORGED:
            answer = client.request(method, path, content=body)
            assert answer.status_code == 403, body[:200]
            assert "Tidemill's own records" in answer.json()["message"]
    assert upstream.seen == []
    with browse(installation, person("ml-engineer")) as client:
        for method, path, body in FORGED:
            assert client.request(method, path, content=body).status_code == 200
    assert len(upstream.seen) == len(FORGED)


def test_other_tags_arrive_as_they_were_sent(installation, upstream):
    body = b'{"name": "m", "version": "1", "key": "team", "value": "tidemill.gate"}'
    with browse(installation, person("data-scientist")) as client:
        assert client.post(SET, content=body).status_code == 200
    assert upstream.seen[0][3] == body


def test_a_body_that_is_read_here_is_bounded(installation, upstream, monkeypatch):
    from tidemill.dashboard.tracking_proxy import tracking_proxy

    monkeypatch.setattr(tracking_proxy, "_BODY_BYTES", 1000)
    create = "/mlflow/api/2.0/mlflow/experiments/create"
    with browse(installation, person("data-scientist")) as client:
        for path in (create, SET):
            pieces = iter([b'{"name": "', b"x" * 2000, b'"}'])
            assert client.post(path, content=pieces).status_code == 413
    assert upstream.seen == []


def test_what_is_no_json_sets_no_tag():
    assert not names_reserved_tag("/api/2.0/mlflow/runs/set-tag", b"key=tidemill.gate")
    assert not names_reserved_tag("/api/2.0/mlflow/runs/set-tag", b"")
