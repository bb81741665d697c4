"""What MLflow's client registers and deletes is on record and told to webhooks: once, and nothing of ours."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from tests.tidemill.alerting.local_receivers import http_receiver
from tidemill.accounts import audit
from tidemill.alerting.webhooks.registry_events import send_events
from tidemill.clock import SystemClock
from tidemill.registry.deployments import reconcile
from tidemill.registry.version_removal import delete_version
from tidemill.registry.versions.new_versions import register
from tidemill.state import open_state
from tidemill.state.tables import AuditEntry
from tidemill.training.tracking.mlflow_tracking import connect

pytestmark = pytest.mark.engine
HOOK = "webhooks:\n  - {name: ci, url_env: CI_HOOK, secret_env: CI_SECRET}\n"


@pytest.fixture
def looked_at(registered, state):
    """The project after the first look at its registry, which has three versions."""
    reconcile(registered, state)
    assert told(state) == []
    return registered


def told(state):
    """What the registry's own changes put on record, in order."""
    with state.transaction() as session:
        found = session.scalars(select(AuditEntry).where(AuditEntry.actor == "registry"))
        return [(one.action, one.resource_id) for one in found]


def asked_of_mlflow(state, action, **asked):
    """Write what MLflow's pages put on record of what somebody asks there."""
    details = {"by": "mlflow", "asked": json.dumps(asked)}
    with state.transaction() as session:
        audit.append(session, audit.Act("ada", action, "version", "DELETE …", "small-model", details=details))


def test_another_client_s_versions_are_told_once_whoever_looks(looked_at, state, monkeypatch):
    (looked_at.root / "webhooks.yaml").write_text(HOOK)
    monkeypatch.setenv("CI_SECRET", "a secret of 32 characters, or so")
    client, now = connect(looked_at), SystemClock().now()
    with http_receiver() as receiver:
        monkeypatch.setenv("CI_HOOK", f"http://127.0.0.1:{receiver.port}/")
        send_events(looked_at, state, now)
        run_id = client.get_model_version("small-model", "1").run_id
        client.create_model_version("small-model", "file:///nowhere", run_id)
        client.copy_model_version("models:/small-model/1", "small-model")
        client.delete_model_version("small-model", "2")
        second = open_state(looked_at.state_url)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda records: reconcile(looked_at, records), (state, second)))
        second.close()
        assert send_events(looked_at, state, now) == 3
    expected = [("delete", "2"), ("register", "4"), ("register", "5")]
    assert told(state) == expected
    assert [one["X-Tidemill-Event"] for one in receiver.headers] == [f"version.{act}" for act, _ in expected]
    assert receiver.json[1]["details"] == {"run_id": run_id}
    assert receiver.json[1]["reason"] == "it was registered in the registry itself, not by Tidemill"


def test_what_tidemill_or_its_pages_of_mlflow_do_is_not_told_again(looked_at, state, runs):
    client = connect(looked_at)
    delete_version(looked_at, state, "3", actor="ada", reason="a constant")
    assert register(looked_at, runs[2]) == "4"
    client.create_model_version("small-model", "file:///nowhere")  # as MLflow's pages do for ada
    with state.transaction() as session:
        audit.append(session, audit.Act("ada", "register", "version", "5", "small-model"))
    asked_of_mlflow(state, "delete", name="small-model", version="2")
    client.delete_model_version("small-model", "2")
    reconcile(looked_at, state)
    assert told(state) == []
    asked_of_mlflow(state, "delete", name="small-model", version="1")
    asked_of_mlflow(state, f"{audit.FAILED}delete", name="small-model", version="1")
    client.delete_model_version("small-model", "1")  # later, by somebody else
    reconcile(looked_at, state)
    assert told(state) == [("delete", "1")]


def test_a_lost_registry_tells_nothing_and_a_number_given_again_is_another_version(looked_at, state):
    client = connect(looked_at)
    client.delete_registered_model("small-model")  # as where MLflow made an empty database
    reconcile(looked_at, state)
    assert told(state) == []
    client.create_registered_model("small-model")
    client.create_model_version("small-model", "file:///nowhere")
    reconcile(looked_at, state)
    assert told(state) == [("delete", "1"), ("delete", "2"), ("delete", "3"), ("register", "1")]
    client.delete_model_version("small-model", "1")  # the last one: the model is still there
    reconcile(looked_at, state)
    assert told(state)[4:] == [("delete", "1")]
