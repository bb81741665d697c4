"""SIGKILL in the middle of a retraining: what is left is finished, and nothing is promoted twice."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from tidemill.data.repository.repository_setup import init_workspace
from tidemill.state import open_state
from tidemill.state.tables import Promotion, Turn

from .conftest import run, tidemill, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def turns(project: Path) -> list[Turn]:
    if not (project / ".tidemill" / "state.db").exists():
        return []
    state = open_state(f"sqlite:///{project / '.tidemill' / 'state.db'}")
    with state.transaction() as session:
        found = list(session.scalars(sa.select(Turn).order_by(Turn.requested_at)))
    state.close()
    return found


def at_step(project: Path, step: str) -> bool:
    found = turns(project)
    return bool(found) and found[-1].step == step


def start(command: list[str], project: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill(process: "subprocess.Popen[bytes]") -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_a_killed_retraining_is_finished_by_the_controller(small_project: Path, leaves_no_process: None):
    init_workspace(small_project, small_project / ".tidemill" / "remote")
    controller = [sys.executable, "-m", "tidemill.retraining.controller", "--project", str(small_project)]

    killed = start(tidemill("retrain", "--as-of", "2013-02-01", "--json"), small_project)
    wait_for(lambda: at_step(small_project, "data"), 240)
    kill(killed)
    (left,) = turns(small_project)
    assert left.status == "running"

    killed = start(controller, small_project)
    wait_for(lambda: at_step(small_project, "train"), 240)
    wait_for(lambda: list((small_project / ".tidemill").glob("ray_results/*")), 240)
    kill(killed)
    assert turns(small_project)[0].status == "running"

    last = start(controller, small_project)
    try:
        wait_for(lambda: turns(small_project)[0].status != "running", 400)
    finally:
        last.send_signal(signal.SIGTERM)
        last.wait(60)

    (done,) = turns(small_project)
    assert (done.status, done.version) == ("promoted", "1")
    state = open_state(f"sqlite:///{small_project / '.tidemill' / 'state.db'}")
    with state.transaction() as session:
        (promotion,) = session.scalars(sa.select(Promotion))
    state.close()
    assert (promotion.turn_id, promotion.status, promotion.to_version) == (done.id, "done", "1")
    assert run("promote", "flight-delay", "1", "-p", small_project).returncode == 1
