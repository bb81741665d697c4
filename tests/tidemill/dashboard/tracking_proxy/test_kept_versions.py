"""What serves, and what it was made by, cannot be deleted over MLflow's API; what changes is on record."""

import sqlite3

import pytest
from starlette.responses import JSONResponse, Response

from tests.tidemill.dashboard.tracking_proxy.test_kept_records import (
    MODEL,
    OWN_RUN,
    PLAIN_RUN,
    registry,
    upstream,
)
from tests.tidemill.dashboard.tracking_proxy.test_tracking_proxy import browse, person
from tidemill.accounts.auditing.audit_reading import AuditFilter, all_entries
from tidemill.training.tracking.training_record import SUMMARY

__all__ = ["registry", "upstream"]
API = "/mlflow/api/2.0/mlflow"
DELETE, VERSION = "DELETE", f"{API}/model-versions/delete"


@pytest.fixture
def serving(registry):
    """Version 2 of the project's model serves, 3 is the canary, 1 is somebody's own alias."""
    with sqlite3.connect(registry / "mlflow.db") as database:
        database.executescript(f"""
            CREATE TABLE registered_model_aliases (name, alias, version);
            INSERT INTO registered_model_aliases VALUES ('parcel-delay', 'champion', 2),
                ('parcel-delay', 'canary', 3), ('parcel-delay', 'mine', 1), ('other', 'champion', 1);
            CREATE TABLE runs (run_uuid, experiment_id);
            INSERT INTO runs VALUES ('{OWN_RUN}', 7), ('{"f" * 32}', 8);
        """)
    return registry


LOST = (
    (DELETE, VERSION, b'{"name": "parcel-delay", "version": "2"}', "version 2 of parcel-delay is the champ"),
    (DELETE, VERSION, b'{"name": "parcel-delay", "version": 3}', "version 3 of parcel-delay is the canary"),
    (DELETE, VERSION, b'{"name": "o", "name": "parcel-delay", "version": "1", "version": "2"}', "champion"),
    (DELETE, VERSION, b'{"n\\u0061me": "parcel\\u002ddelay", "version": "2"}', "champion"),
    (DELETE, VERSION, '{"name": "parcel-delay", "version": "2"}'.encode("utf-16"), "champion"),
    (DELETE, f"{API}/registered-models/delete", b'{"name": "parcel-delay"}', "is the"),
    ("POST", f"{API}/registered-models/rename", b'{"name": "parcel-delay", "new_name": "x"}', "is the"),
    ("POST", f"{API}/runs/delete", f'{{"run_id": "{OWN_RUN}"}}'.encode(), OWN_RUN),
    ("POST", f"{API}/runs/delete", f'{{"runId": "{OWN_RUN.upper()}"}}'.encode(), OWN_RUN),
    ("POST", f"{API}/experiments/delete", b'{"experiment_id": "7"}', "experiment 7"),
    (DELETE, f"{API}/registered-models/alias", b'{"name": "parcel-delay", "alias": "champion"}', "alias"),
    (DELETE, f"{API}/logged-models/{MODEL}", b"", MODEL),
    ("PATCH", f"{API}/logged-models/{MODEL}", b'{"model_id": "x", "status": 3}', MODEL),
)  # fmt: skip
OWN_TAG = {"key": SUMMARY.tag, "value": "{}"}
FREE = (
    (DELETE, VERSION, b'{"name": "parcel-delay", "version": "1"}'),
    (DELETE, VERSION, b'{"name": "other", "version": "1"}'),
    ("POST", f"{API}/runs/delete", f'{{"run_id": "{PLAIN_RUN}"}}'.encode()),
    ("POST", f"{API}/experiments/delete", b'{"experiment_id": "8"}'),
    (DELETE, f"{API}/registered-models/alias", b'{"name": "parcel-delay", "alias": "mine"}'),
    ("POST", f"{API}/experiments/restore", b'{"experiment_id": "7"}'),
    (DELETE, f"{API}/logged-models/m-{'9' * 32}", b""),
)


def test_what_serves_and_what_made_it_stays(installation, upstream, serving):
    with browse(installation, person("admin")) as client:
        for method, path, body, said in LOST:
            answer = client.request(method, path, content=body)
            assert answer.status_code == 409, (path, body)
            assert said in answer.json()["message"]
    assert upstream.seen == []


def test_other_things_are_deleted_and_put_on_record_with_who_and_what(installation, upstream, serving):
    with browse(installation, person("ml-engineer")) as client:
        for method, path, body in FREE:
            assert client.request(method, path, content=body).status_code == 200, (path, body)
        alias = b'{"name": "parcel-delay", "alias": "champion", "version": "1"}'
        assert client.post(f"{API}/registered-models/alias", content=alias).status_code == 200
    assert len(upstream.seen) == len(FREE) + 1
    entries = list(all_entries(installation.records, AuditFilter()))
    assert sorted(one.action for one in entries) == ["delete"] * (len(FREE) - 1) + ["promote"] * 2
    last = entries[-1]
    assert (last.resource, last.resource_id) == ("version", "1")
    [other] = [one for one in entries if "other" in one.details]
    assert other.resource_id == f"DELETE {VERSION.removeprefix('/mlflow')}", "of another model"
    assert '\\"version\\": \\"1\\"' in last.details


def test_a_version_is_on_record_with_who_registers_it_and_the_number_that_it_gets(
    installation, upstream, monkeypatch
):
    copied, tags = "models:/parcel-delay/5", [OWN_TAG]
    made = {
        "a": {"name": "parcel-delay", "version": "4", "source": "models:/m-1", "run_id": PLAIN_RUN},
        "of another model": {"name": "other", "version": "9", "source": "models:/m-1"},
        "by Tidemill": {"name": "parcel-delay", "version": "5", "source": "models:/m-2", "tags": tags},
        "a copy": {"name": "parcel-delay", "version": "6", "source": copied, "tags": tags},
    }  # fmt: skip

    async def answer(request):
        found = made.get((await request.json())["description"])
        return JSONResponse({"model_version": found}) if found else Response('{"error_code": "X"}', 400)

    monkeypatch.setattr(upstream, "answer", answer)
    path = f"{API}/model-versions/create"
    with browse(installation, person("data-scientist")) as client:
        for what in (*made, "refused"):
            given = client.post(path, json={"name": "parcel-delay", "description": what})
            assert given.json() == ({"model_version": made[what]} if what in made else {"error_code": "X"})
    entries = list(all_entries(installation.records, AuditFilter()))
    assert {(one.actor, one.action, one.resource) for one in entries} == {("ada", "register", "version")}
    assert {one.resource_id for one in entries} == {"4", "6", f"POST {path.removeprefix('/mlflow')}"}
    assert len(entries) == 3


def test_what_mlflow_refuses_is_on_record_as_refused(installation, upstream, monkeypatch):
    async def refuse(request):
        return Response('{"error_code": "RESOURCE_DOES_NOT_EXIST"}', 404)

    monkeypatch.setattr(upstream, "answer", refuse)
    with browse(installation, person("ml-engineer")) as client:
        method, path, body = FREE[-1]
        assert client.request(method, path, content=body).status_code == 404
    entries = list(all_entries(installation.records, AuditFilter()))
    assert {one.action.removeprefix("fail-") for one in entries} == {entries[0].action}
    assert [one.action.startswith("fail-") for one in entries] == [False, True]


def test_where_the_registry_cannot_say_nothing_is_deleted(installation, upstream, serving):
    (serving / "mlflow.db").write_bytes(b"no database" * 1000)
    with browse(installation, person("admin")) as client:
        assert client.request(DELETE, VERSION, content=LOST[0][2]).status_code >= 400
    assert upstream.seen == []


def test_a_query_language_takes_no_more_than_its_pages_send(installation, upstream):
    with browse(installation, person("viewer")) as client:
        assert client.post("/mlflow/graphql", content=b'{"query": "{ test }"}').status_code == 200
        assert client.post("/mlflow/graphql", content=b"x" * 70_000).status_code == 413
        pieces = iter([b"x" * 40_000] * 2)
        assert client.post("/mlflow/graphql", content=pieces).status_code == 413


def test_a_query_that_mlflow_breaks_at_is_a_wrong_one(installation, upstream, monkeypatch):
    async def broken(request):
        return Response("Internal Server Error", 500)

    monkeypatch.setattr(upstream, "answer", broken)
    with browse(installation, person("viewer")) as client:
        answer = client.post("/mlflow/graphql", content=b'{"query": "{{{"}')
        assert (answer.status_code, "cannot read" in answer.text) == (400, True)
        other = client.post(f"{API}/runs/search", content=b"{}")
        assert other.status_code == 500  # as it is
