"""Versions are put away and deleted, unless something uses them."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from tests.tidemill.registry.test_promotion import with_gate
from tidemill.cli.main import app
from tidemill.errors import ModelNotFound, RegistryError, UsageError
from tidemill.registry.deployments import DeployRequest, deploy, stop
from tidemill.registry.history.serving_history import decisions_for
from tidemill.registry.promotion import evaluate_gate, promote, rollback
from tidemill.registry.version_removal import archive_version, delete_version, unarchive_version
from tidemill.registry.versions.model_versions import get_version, list_versions
from tidemill.registry.versions.registry_reader import read_registered
from tidemill.state.tables import Approval, AuditEntry

pytestmark = pytest.mark.engine

NOW = datetime(2013, 6, 1, tzinfo=UTC)
WHO = {"actor": "ada", "reason": "superseded"}


@pytest.fixture
def crowned(registered, state):
    project = with_gate(registered, mode="off")
    promote(project, state, "1", "ada", "first", NOW)
    return project


def test_what_serves_or_is_deployed_is_neither_archived_nor_deleted(crowned, state):
    deploy(crowned, state, DeployRequest("shadow", "2", 1.0, "ada", "look"), NOW)
    for change, word in ((archive_version, "archived"), (delete_version, "deleted")):
        with pytest.raises(RegistryError, match=f"small-model 1 cannot be {word}: it is champion"):
            change(crowned, state, "champion", **WHO)
        with pytest.raises(RegistryError, match="it is shadow, it is deployed beside the champion"):
            change(crowned, state, "2", **WHO)
    stop(crowned, state, ["shadow"], "enough", "ada")
    asked = {"model": "small-model", "action": "promote", "version": "2", "reason": "", "asked_by": "bob"}
    with state.transaction() as session:
        session.add(
            Approval(id="ask_1", person="name:bob", status="waiting", asked_at=datetime.now(UTC), **asked)
        )
    with pytest.raises(RegistryError, match="a request for a second person waits"):
        delete_version(crowned, state, "2", **WHO)
    with state.transaction() as session:  # nobody answered, and no controller ran meanwhile
        session.get_one(Approval, "ask_1").asked_at -= timedelta(days=8)
    assert delete_version(crowned, state, "2", **WHO) == "2"
    with pytest.raises(ModelNotFound):
        get_version(crowned, "2")
    with state.transaction() as session:
        [entry] = session.scalars(select(AuditEntry).where(AuditEntry.action == "delete"))
    assert (entry.actor, entry.resource_id, entry.reason) == ("ada", "2", "superseded")
    assert json.loads(entry.details)["run_id"]


def test_what_is_archived_is_not_listed_and_nothing_promotes_or_deploys_it(crowned, state):
    long = {"actor": "ada", "reason": f"superseded {'again ' * 20_000}"}  # MLflow takes 100,000 characters
    archive_version(crowned, state, "3", **long)
    with state.transaction() as session:
        [entry] = session.scalars(select(AuditEntry).where(AuditEntry.action == "archive"))
    assert entry.reason == long["reason"]
    for act in (
        lambda: promote(crowned, state, "3", "bob", "", NOW),
        lambda: deploy(crowned, state, DeployRequest("shadow", "3", 1.0, "bob", ""), NOW),
    ):
        with pytest.raises(RegistryError, match="small-model 3 was archived by ada: superseded"):
            act()
    with pytest.raises(RegistryError, match="archived already"):
        archive_version(crowned, state, "3", **WHO)
    assert [one.archived for one in read_registered(crowned)] == [True, False, False]

    def listed(*options):
        done = CliRunner().invoke(app, ["models", "list", *options, "--json", "-p", str(crowned.root)])
        return [one["version"] for one in json.loads(done.stdout)]

    assert (listed(), listed("--all")) == (["2", "1"], ["3", "2", "1"])
    with pytest.raises(RegistryError, match="was archived by ada"):
        evaluate_gate(crowned, state, "3", NOW)
    assert decisions_for(state, "small-model", "3") == []
    unarchive_version(crowned, state, "3", **WHO)
    with pytest.raises(RegistryError, match="is not archived"):
        unarchive_version(crowned, state, "3", **WHO)
    assert listed() == ["3", "2", "1"]
    promote(crowned, state, "2", "ada", "", NOW)
    archive_version(crowned, state, "1", **WHO)
    with pytest.raises(RegistryError, match="small-model 1 was archived by ada: superseded") as refused:
        rollback(crowned, state, "ada", "", NOW)
    assert "unarchive 1" in str(refused.value.hint)


def test_what_a_schedule_or_git_names_is_neither_archived_nor_deleted(registered):
    (registered.root / "monitoring").mkdir(exist_ok=True)
    (registered.root / "monitoring" / "schedules.yaml").write_text(
        "schedules:\n  - {name: nightly, input: a.csv, output: b.csv, every: 1d, overwrite: true, "
        "model_version: '3'}\n"
    )
    (registered.root / "deployments.yaml").write_text("challenger: 3\n")
    for act in (["archive"], ["delete", "--yes"]):
        done = CliRunner().invoke(app, ["models", *act, "3", "--reason", "x", "-p", str(registered.root)])
        assert isinstance(done.exception, RegistryError)
        said = "deployments.yaml names it as challenger, the schedule nightly scores with it"
        assert said in str(done.exception)


def test_nothing_is_deleted_by_mistake(registered):
    done = CliRunner().invoke(app, ["models", "delete", "3", "--reason", "x", "-p", str(registered.root)])
    assert isinstance(done.exception, UsageError)
    assert len(list_versions(registered)) == 3


def test_what_mlflow_refuses_is_on_record_as_refused(registered, state):
    with closing(sqlite3.connect(registered.home / "mlflow.db")) as store:
        store.execute(
            "CREATE TRIGGER full BEFORE INSERT ON model_version_tags "
            "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        )
        store.commit()
    with pytest.raises(RegistryError, match=r"small-model 3 cannot be archived: .*the disk is full"):
        archive_version(registered, state, "3", **WHO)
    with state.transaction() as session:
        last = session.scalars(select(AuditEntry).order_by(AuditEntry.seq.desc()).limit(2)).all()
    assert [(one.action, one.resource_id) for one in last] == [("fail-archive", "3"), ("archive", "3")]
    assert "the disk is full" in last[0].reason
    assert last[1].reason == WHO["reason"]
