"""Against Prometheus' own Alertmanager (Debian: prometheus-alertmanager), where it is on the PATH."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.tidemill.alerting.local_receivers import Taken, http_receiver
from tests.tidemill.recorded import list_alerts
from tidemill.alerting.alert_text import AlertText
from tidemill.alerting.alertmanager import push
from tidemill.serving.webhooks.alertmanager_routes import Webhook, external_alerts
from tidemill.state import State, open_state
from tidemill.state.external_alerts import record_external

BINARY = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        BINARY is None, reason="Alertmanager is not installed: apt install prometheus-alertmanager"
    ),
]
CONFIG = """
route: {receiver: tidemill, group_wait: 0s, group_interval: 1s}
receivers: [{name: tidemill, webhook_configs: [{url: "http://127.0.0.1:PORT/alerts"}]}]
"""


@pytest.fixture(scope="module")
def hooked():
    with http_receiver() as taken:
        yield taken


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, hooked: Taken):
    tmp_path = tmp_path_factory.mktemp("alertmanager")
    (tmp_path / "am.yml").write_text(CONFIG.replace("PORT", str(hooked.port)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = [
        f"--config.file={tmp_path / 'am.yml'}",
        f"--storage.path={tmp_path}",
        "--cluster.listen-address=",
    ]
    line = [str(BINARY), *given, f"--web.listen-address=127.0.0.1:{port}"]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(line, stdout=log, stderr=log) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/-/ready")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def wait_for(url: str) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"{url} does not answer")


def test_it_knows_an_alert_from_its_beginning_to_its_end(address: str):
    now = datetime.now(UTC).replace(microsecond=0)
    about = "delay", "3", "weekly", "quality", "warning", "AUC fell", "firing", "firing"
    alert = AlertText("alert_1", *about, fired_at=now - timedelta(hours=1), resolved_at=None, at=now)
    push(address, "prometheus", [alert])
    (found,) = active(address)
    assert found["labels"] == {
        "alertname": "tidemill_quality", "model": "delay", "version": "3", "monitor": "weekly",
        "kind": "quality", "severity": "warning",
    }  # fmt: skip
    assert found["annotations"]["summary"] == "AUC fell"
    push(address, "prometheus", [replace(alert, status="resolved", resolved_at=now - timedelta(seconds=1))])
    assert active(address) == []


def test_what_its_webhook_tells_becomes_our_alert_and_what_we_pushed_does_not(address: str, hooked: Taken):
    state, now = open_state("sqlite://"), datetime.now(UTC)
    post(address, now, now + timedelta(hours=1))
    take_until(hooked, state, 1)
    (alert,) = list_alerts(state, "delay")
    assert (alert.monitor, alert.severity) == ("alertmanager/RedisDown", "critical")
    assert alert.message == "Redis is down"
    post(address, now, now)
    take_until(hooked, state, 0)
    assert len(list_alerts(state, include_resolved=True)) == 1
    state.close()
    assert any("tidemill_alert" in body for body in hooked.bodies), "ours was told, too, and left out"


def post(address: str, starts: datetime, ends: datetime) -> None:
    alert = {
        "labels": {"alertname": "RedisDown", "severity": "critical"},
        "annotations": {"summary": "Redis is down"},
        "startsAt": starts.isoformat(),
        "endsAt": ends.isoformat(),
    }
    body, head = json.dumps([alert]).encode(), {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(f"{address}/api/v2/alerts", body, head), timeout=5).close()


def take_until(hooked: Taken, state: State, firing: int) -> None:
    """Record all that the webhook tells, more than once, until so many alerts fire."""
    for _ in range(400):
        for body in list(hooked.bodies):
            alerts = external_alerts(Webhook.model_validate_json(body))
            record_external(state, "delay", alerts, datetime.now(UTC))
        if len(list_alerts(state)) == firing:
            return
        time.sleep(0.05)
    pytest.fail("the webhook was not called")


def active(address: str) -> list[dict]:
    with urllib.request.urlopen(f"{address}/api/v2/alerts?active=true", timeout=5) as answer:
        return json.loads(answer.read())
