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
from pathlib import Path

import pytest

from tidemill.alerting.alert_text import AlertText
from tidemill.alerting.alertmanager import push

BINARY = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        BINARY is None, reason="Alertmanager is not installed: apt install prometheus-alertmanager"
    ),
]
CONFIG = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"


@pytest.fixture
def address(tmp_path: Path):
    (tmp_path / "am.yml").write_text(CONFIG)
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


def active(address: str) -> list[dict]:
    with urllib.request.urlopen(f"{address}/api/v2/alerts?active=true", timeout=5) as answer:
        return json.loads(answer.read())
