"""Alertmanager's webhook, from its JSON to alerts on record."""

from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.tidemill.recorded import list_alerts
from tidemill.accounts.key_format import ALERTS
from tidemill.serving.http.admission import scope_of
from tidemill.serving.webhooks.alertmanager_routes import alertmanager_router
from tidemill.state import open_state
from tidemill.state.external_alerts import record_external

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def webhook(*alerts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A notification as Alertmanager 0.27 posts it."""
    return {
        "receiver": "tidemill", "status": "firing", "alerts": list(alerts), "groupLabels": {},
        "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://prometheus:9093",
        "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, **more,
    }  # fmt: skip


def told(status: str = "firing", annotations: dict[str, str] | None = None, **labels: str) -> dict[str, Any]:
    return {
        "status": status, "labels": {"alertname": "RedisDown", "severity": "critical", **labels},
        "annotations": {"summary": "Redis is down"} if annotations is None else annotations,
        "startsAt": "2026-01-01T00:00:00.123Z",
        "endsAt": "0001-01-01T00:00:00Z" if status == "firing" else "2026-01-01T01:00:00Z",
        "generatorURL": "http://prometheus/graph", "fingerprint": "c0ffee",
    }  # fmt: skip


@pytest.fixture
def state(tmp_path):
    state = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    yield state
    state.close()


@pytest.fixture
def client(state):
    api = FastAPI()
    api.include_router(alertmanager_router(lambda alerts: record_external(state, "delay", alerts, NOW)))
    with TestClient(api) as client:
        yield client


def test_what_alertmanager_tells_becomes_alerts_and_its_end_their_end(client, state):
    answered = client.post("/alerts", json=webhook(told()))
    assert answered.json() == {"raised": 1, "seen": 0, "reopened": 0, "resolved": 0, "unchanged": 0}
    assert client.post("/alerts", json=webhook(told())).json()["seen"] == 1
    (alert,) = list_alerts(state, "delay")
    assert (alert.message, alert.severity, alert.monitor) == (
        "Redis is down", "critical", "alertmanager/RedisDown",
    )  # fmt: skip
    assert client.post("/alerts", json=webhook(told("resolved"))).json()["resolved"] == 1
    assert list_alerts(state) == []


def test_what_we_have_pushed_there_does_not_come_back(client, state):
    ours = told(annotations={"tidemill_alert": "alert_1"}, alertname="tidemill_quality")
    assert client.post("/alerts", json=webhook(ours)).json()["raised"] == 0
    assert list_alerts(state) == []


def test_an_unknown_severity_is_a_warning_and_a_name_stands_in_for_a_message(client, state):
    client.post("/alerts", json=webhook(told(annotations={}, severity="page")))
    (alert,) = list_alerts(state)
    assert (alert.severity, alert.message) == ("warning", "RedisDown")


def test_a_beginning_in_the_year_1_is_taken_for_unknown(client, state):
    first = {**told(), "startsAt": "0001-01-01T00:00:00+05:00"}
    assert client.post("/alerts", json=webhook(first)).json()["raised"] == 1
    (alert,) = list_alerts(state)
    assert alert.details["starts_at"] == "1970-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    "body",
    [
        webhook(told(), version="3"),
        webhook({**told(), "startsAt": "yesterday"}),
        webhook({**told(), "status": "perhaps"}),
        {"version": "4"},
    ],
)
def test_what_is_no_such_notification_is_refused(client, state, body):
    assert client.post("/alerts", json=body).status_code == 422
    assert list_alerts(state) == []


def test_it_has_a_scope_of_its_own():
    assert scope_of("POST", "/alerts") == ALERTS == "alerts"
