"""Webhooks are told of each change of the registry over real HTTP: signed, in order, at least once."""

import hashlib
import hmac
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from tests.tidemill.alerting.local_receivers import http_receiver
from tidemill.accounts import audit
from tidemill.alerting.webhooks import signed_posting
from tidemill.alerting.webhooks.registry_events import send_events
from tidemill.alerting.webhooks.signed_posting import post_signed
from tidemill.errors import ConfigError, NotDelivered
from tidemill.state import open_state
from tidemill.state.tables import WebhookCursor

NOW = datetime(2026, 4, 1, tzinfo=UTC)
SECRET = "a secret of 32 characters, or so"
HOOK = "webhooks:\n  - {name: ci, url_env: CI_HOOK, secret_file: ci.secret%s}\n"


@pytest.fixture
def project(tmp_path):
    (tmp_path / "webhooks.yaml").write_text(HOOK % "")
    (tmp_path / "ci.secret").write_text(f"{SECRET}\n")
    return SimpleNamespace(root=tmp_path, model="parcel-delay")


@pytest.fixture
def state(tmp_path):
    made = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    yield made
    made.close()


@pytest.fixture
def receiver(monkeypatch):
    with http_receiver() as taken:
        monkeypatch.setenv("CI_HOOK", f"http://127.0.0.1:{taken.port}/k3y-of-the-hook")
        yield taken


def act(state, action, number="2", resource="version", model="parcel-delay"):
    with state.transaction() as session:
        audit.append(session, audit.Act("ada", action, resource, number, model, "why", {"from": "1"}))


def test_each_change_arrives_signed_in_order_and_nothing_else(project, state, receiver):
    act(state, "promote", "1")
    assert send_events(project, state, NOW) == 0  # it begins with the next change
    act(state, "promote")
    act(state, "acknowledge", "alert_1", "alert")
    act(state, "promote", model="another")
    act(state, "start", "rollout_1", "rollout")
    assert send_events(project, state, NOW) == 2
    assert send_events(project, state, NOW) == 0
    first, second = receiver.json
    assert (first["action"], first["resource_id"], first["actor"], first["details"]) == (
        "promote", "2", "ada", {"from": "1"},
    )  # fmt: skip
    assert first["seq"] < second["seq"]
    for headers, body in zip(receiver.headers, receiver.bodies, strict=True):
        signed = f"{headers['X-Tidemill-Timestamp']}.{body}".encode()
        expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        assert headers["X-Tidemill-Signature"] == f"sha256={expected}"
        assert headers["X-Tidemill-Timestamp"] == str(int(NOW.timestamp()))
    assert [one["X-Tidemill-Event"] for one in receiver.headers] == ["version.promote", "rollout.start"]


@pytest.mark.slow
def test_what_is_not_taken_is_sent_again_later_and_what_follows_waits(project, state, receiver):
    send_events(project, state, NOW)
    for number in "23":
        act(state, "promote", number)
    receiver.status = 503
    for wait in (10, 20, 40):
        with pytest.raises(NotDelivered, match="webhook 'ci' answered 503") as refused:
            send_events(project, state, NOW)
        assert "k3y" not in str(refused.value)
        with state.transaction() as session:
            due = session.get_one(WebhookCursor, ("parcel-delay", "ci")).due_at
        assert due - NOW == timedelta(seconds=wait)
        assert send_events(project, state, due - timedelta(seconds=1)) == 0
        with state.transaction() as session:
            session.get_one(WebhookCursor, ("parcel-delay", "ci")).due_at = NOW
    receiver.status = 204
    assert send_events(project, state, NOW) == 2
    assert [one["resource_id"] for one in receiver.json] == ["2", "2", "2", "2", "3"]
    receiver.status = 302  # to follow it would lose the message
    act(state, "promote", "4")
    with pytest.raises(NotDelivered, match="302"):
        send_events(project, state, NOW)


def test_one_hook_that_fails_keeps_no_other_from_being_told(project, state, receiver, monkeypatch):
    (project.root / "webhooks.yaml").write_text(
        HOOK % ", actions: [delete]" + "  - {name: all, url_env: CI_HOOK, secret_env: OTHER}\n"
        "  - {name: away, url_env: NOWHERE, secret_env: OTHER}\n"
    )
    monkeypatch.setenv("OTHER", "short")
    send_events(project, state, NOW)
    act(state, "promote")
    with pytest.raises(NotDelivered, match="the secret of webhook 'all' has fewer than 16 characters"):
        send_events(project, state, NOW)
    monkeypatch.setenv("OTHER", SECRET)
    act(state, "delete")
    act(state, f"{audit.FAILED}delete")  # who is told of an act is told that it had no effect
    with pytest.raises(NotDelivered, match="webhook 'away' has no url: NOWHERE is empty"):
        send_events(project, state, NOW + timedelta(minutes=1))
    both = ["delete", "fail-delete"]
    assert [one["action"] for one in receiver.json] == [*both, "promote", *both]


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/k3y of it", "http://127.0.0.1:x/k3y"])
def test_an_address_that_is_wrong_is_in_no_message(address):
    with pytest.raises(NotDelivered) as refused:
        post_signed("ci", address, SECRET, "version.promote", {}, 0)
    assert "k3y" not in str(refused.value)


@pytest.mark.parametrize("answer", [b"SSH-2.0-hello\r\n", b"HTTP/1.1 200 OK\r\nA: "])
def test_what_is_no_answer_in_time_has_not_taken_it(monkeypatch, answer):
    monkeypatch.setattr(signed_posting, "_SECONDS", 0.2)
    with http_receiver(answer) as taken:
        address, began = f"http://127.0.0.1:{taken.port}/", time.monotonic()
        with pytest.raises(NotDelivered, match="cannot be reached"):
            post_signed("ci", address, SECRET, "version.promote", {}, 0)
        assert time.monotonic() - began < 2  # a byte each 0.05 s would go on for ever


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("webhooks: [{name: ci}]", "webhook 'ci': set either url_env or url_file .line 1."),
        ("webhooks: [{name: c, url_env: A, secret_env: B, actions: [promot]}]", "no action 'promot': choose"),
        ("webhooks: [{name: ci, url_env: A, secret_env: B, action: x}]", "action: there is no such field"),
        ("webhooks: [{name: ci, url_env: A, secret_env: B}, {name: ci, url_env: A, secret_env: B}]", "twice"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(project, state, text, said):
    (project.root / "webhooks.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        send_events(project, state, NOW)
