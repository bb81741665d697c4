"""Two processes and one Lease: the work of one has always ended before that of the other begins."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tidemill.kubernetes.api_server import NAMESPACE, ApiServer
from tidemill.kubernetes.cluster_api import LEASES
from tidemill.kubernetes.elected_controller import main

pytestmark = pytest.mark.slow

LEASE = "shop-controller"
WORK = """
import sys, time
from tidemill.kubernetes.elected_controller import end_with_owner
from tidemill.threads import BackgroundThread
BackgroundThread("owner", end_with_owner).start()
while True:
    with open(sys.argv[2], "a") as log:
        log.write(f"{sys.argv[1]}\\n")
    time.sleep(0.02)
"""
ELECTED = """
import logging, signal, subprocess, sys, threading
from pathlib import Path
from tidemill.kubernetes.cluster_api import ApiPlace, ClusterApi
from tidemill.kubernetes.elected_controller import run_while_leading
from tidemill.kubernetes.leader_lease import LeaderLease
url, namespace, lease, name, log, work = sys.argv[1:]
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
held = LeaderLease(ClusterApi(ApiPlace(url, namespace)), lease, name, seconds=4.0)
start = lambda: subprocess.Popen([sys.executable, "-c", work, name, log], stdin=subprocess.PIPE)
sys.exit(run_while_leading(held, start, stop, drain=5.0))
"""


class Pods:
    """Processes that want to lead, and the log in which the work of each writes its name."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self._server, self._log = server, folder / "log"
        self._log.touch()
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, name: str) -> "subprocess.Popen[bytes]":
        words = [self._server.url, NAMESPACE, LEASE, name, str(self._log), WORK]
        process = subprocess.Popen([sys.executable, "-c", ELECTED, *words])
        self.processes.append(process)
        return process

    def wait_for(self, name: str, seconds: float = 60.0) -> None:
        """Wait until the last that works is ``name``."""
        end = time.monotonic() + seconds
        while not self._log.read_text().endswith(f"{name}\n"):
            assert time.monotonic() < end, f"{name} does not work"
            time.sleep(0.05)

    def wait_for_nobody(self, seconds: float = 60.0) -> None:
        """Wait until nothing is written any more."""
        end, before = time.monotonic() + seconds, -1
        while before != (before := self._log.stat().st_size):
            assert time.monotonic() < end, "somebody works"
            time.sleep(0.5)

    @property
    def turns(self) -> list[str]:
        """Who worked, one after the other: a name comes twice where two worked at once."""
        names = self._log.read_text().split()
        return [one for at, one in enumerate(names) if at == 0 or names[at - 1] != one]


@pytest.fixture
def pods(server: ApiServer, tmp_path: Path) -> Iterator[Pods]:
    made = Pods(server, tmp_path)
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


def test_work_moves_by_a_kill_a_theft_and_an_end_and_never_overlaps(pods: Pods, server: ApiServer):
    first = pods.start("first")
    pods.wait_for("first")
    second = pods.start("second")
    first.send_signal(signal.SIGKILL)
    pods.wait_for("second")
    third = pods.start("third")
    server.put(LEASES, LEASE, spec={**server.spec(LEASES, LEASE), "holderIdentity": "a hand"})
    pods.wait_for_nobody()
    second.terminate()
    assert second.wait(10) == 0
    pods.wait_for("third")
    fourth = pods.start("fourth")
    third.terminate()
    assert third.wait(10) == 0
    assert server.spec(LEASES, LEASE)["holderIdentity"] in ("", "fourth"), "released"
    pods.wait_for("fourth")
    assert pods.turns == ["first", "second", "third", "fourth"]
    assert fourth.poll() is None


def test_work_that_ends_by_itself_ends_the_process_which_kubernetes_starts_again(
    pods: Pods, server: ApiServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(globals(), "WORK", "import sys; sys.exit(3)")
    monkeypatch.setitem(globals(), "LEASE", "crashing")
    assert pods.start("first").wait(20) == 3
    assert server.spec(LEASES, "crashing")["holderIdentity"] == ""


def test_outside_a_cluster_it_says_what_to_run_instead(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    for name in [name for name in os.environ if name.startswith(("TIDEMILL_KUBERNETES", "KUBERNETES_"))]:
        monkeypatch.delenv(name)
    assert main(["--project", "/nowhere", "--lease", LEASE]) == 1
    assert "tidemill.retraining.controller" in caplog.text
