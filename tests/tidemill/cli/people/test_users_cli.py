"""``tidemill users``, as people and programs call it."""

import json
from datetime import timedelta

import pytest
from argon2 import PasswordHasher
from typer.testing import CliRunner

from tests.tidemill.serving.small_project import PARAMS
from tidemill.cli.main import app, exit_code
from tidemill.errors import ApprovalNeeded
from tidemill.project import load_project
from tidemill.registry.second_person import require_second_person
from tidemill.retraining.by_hand import approved_acts
from tidemill.state import open_state
from tidemill.state.tables import Approval

WORDS = "four words in a row"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a command in a project; its stdin is what is given."""
    (tmp_path / "params.yaml").write_text(json.dumps(PARAMS))
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr("tidemill.accounts.passwords._hasher", lambda: hasher)
    monkeypatch.setenv("TIDEMILL_ACTOR", "root")

    def call(*arguments, given=""):
        return CliRunner().invoke(app, [*arguments, "--project", str(tmp_path)], input=given)

    return call


def test_users_are_added_listed_given_and_taken_roles(run):
    assert run("users", "list").stdout.startswith("no users yet: tidemill users add")
    added = run("users", "add", "Ada", "--role", "admin", "--everywhere", given=f"{WORDS}\n")
    assert added.stdout == "✓ user Ada: admin everywhere\n"
    assert run("users", "add", "bob", "--without-password", "--json").exit_code == 0
    given = json.loads(run("users", "grant", "BOB", "operator", "--json").stdout)["user"]
    assert list(given["roles"].values()) == [["operator"]]
    shown = json.loads(run("users", "list", "--json").stdout)["users"]
    assert [(one["name"], one["has_password"], one["created_by"]) for one in shown] == [
        ("Ada", True, "root"),
        ("bob", False, "root"),
    ]
    assert "no role yet" in run("users", "revoke", "bob", "operator").stdout
    assert "disabled" in run("users", "disable", "bob").stdout
    assert json.loads(run("users", "list", "--json").stdout)["users"][1]["status"] == "disabled"
    assert "may log in again" in run("users", "enable", "bob").stdout


def test_a_password_comes_from_stdin_and_never_into_what_is_shown(run):
    run("users", "add", "ada", "--role", "admin", "--everywhere", given=f"{WORDS}\r\n")
    done = run("users", "password", "ada", "--json", given="quite another password\n")
    assert json.loads(done.stdout)["user"]["has_password"]
    assert "quite" not in done.stdout
    assert WORDS not in run("users", "list", "--json").stdout


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (("add", "eve"), "", "no password was given"),
        (("add", "eve"), "short\n", "12 are the least"),
        (("add", "a b"), f"{WORDS}\n", "cannot be the name"),
        (("add", "eve", "--role", "king"), f"{WORDS}\n", "no role 'king'"),
        (("grant", "nobody", "viewer"), "", "no user 'nobody'"),
        (("grant", "ada", "viewer", "--in", "elsewhere"), "", "no project 'elsewhere'"),
        (("grant", "ada", "viewer", "--in", "x", "--everywhere"), "", "both given"),
        (("disable", "ada"), "", "last admin"),
        (("revoke", "ada", "admin", "--everywhere"), "", "last admin"),
    ],
)
def test_what_cannot_be_done_is_said(run, arguments, given, said):
    run("users", "add", "ada", "--role", "admin", "--everywhere", given=f"{WORDS}\n")
    done = run("users", *arguments, given=given)
    assert done.exit_code != 0
    assert said in str(done.exception)


def test_a_key_carries_roles_and_belongs_to_a_user(run):
    run("users", "add", "ada", "--role", "admin", "--everywhere", given=f"{WORDS}\n")
    made = json.loads(
        run(
            *("keys", "create", "--name", "ci", "--role", "data-scientist", "--everywhere", "--owner", "ADA"),
            *("--expires", "90d", "--json"),
        ).stdout
    )
    assert made["key"]["roles"] == {"*": ["data-scientist"]}
    assert made["key"]["scopes"] == []
    assert made["key"]["owner"].startswith("user_")
    assert "data-scientist everywhere" in run("keys", "list").stdout
    shown = run("keys", "create", "--name", "notebook", "--role", "viewer").stdout
    assert "export MLFLOW_TRACKING_TOKEN=…" in shown
    assert "TIDEMILL_API_KEY" not in shown
    assert "a scope or a role" in str(run("keys", "create", "--name", "empty").exception)


TERMS = {"champion": "5"}


def test_what_waits_for_a_second_person_is_listed_and_decided(run, tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text(json.dumps({**PARAMS, "gate": {"four_eyes": True}}))
    assert "nothing waits" in run("approvals", "list").stdout
    project = load_project(tmp_path)
    state = open_state(project.state_url)
    with pytest.raises(ApprovalNeeded) as refused:
        require_second_person(project, state, "promote", "7", actor="root", reason="summer", terms=TERMS)
    state.close()
    assert exit_code(refused.value) == 3
    [waiting] = json.loads(run("approvals", "list", "--json").stdout)["approvals"]
    told = run("approvals", "list").stdout
    assert "summer" in told
    assert "in place of version 5" in told
    assert "waits until" in told
    same = run("approvals", "approve", waiting["id"], "--comment", "mine")
    assert "a second person" in str(same.exception)
    monkeypatch.setenv("TIDEMILL_ACTOR", "bob")
    monkeypatch.setattr(approved_acts, "carry_out", lambda *given: f"Version {given[2].version} serves now.")
    assert "nothing about version 8" in str(run("reject", "8", "--reason", "no").exception)
    done = run("approve", "7", "--reason", "fine")
    assert "Version 7 serves now." in done.stdout
    assert "refused already" not in done.stdout
    assert "nothing about version 7 of" in str(run("reject", "7", "--reason", "no").exception)
    assert "approved already" in str(run("approvals", "refuse", waiting["id"], "--comment", "no").exception)


def test_what_nobody_answered_in_time_is_not_listed_as_waiting(run, tmp_path):
    (tmp_path / "params.yaml").write_text(json.dumps({**PARAMS, "gate": {"four_eyes": True}}))
    project = load_project(tmp_path)
    state = open_state(project.state_url)
    with pytest.raises(ApprovalNeeded):
        require_second_person(project, state, "promote", "7", actor="root", reason="summer", terms=TERMS)
    with state.transaction() as session:
        session.query(Approval).one().asked_at -= timedelta(days=7)
    state.close()
    assert "nothing waits" in run("approvals", "list").stdout
