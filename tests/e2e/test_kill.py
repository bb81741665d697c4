"""SIGKILL in the middle of a retraining: what is left is finished, and nothing is promoted twice."""

import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.tidemill.lineage.small_world import NOON
from tests.tidemill.retraining.small_loop import write_loop
from tests.warm_commands import command
from tests.warm_python import COMMAND, run_warm
from tidemill.state import open_state
from tidemill.state.tables import Promotion, Turn

from .conftest import wait_for

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]  # without a stack: others may run beside it


def turns(project: Path) -> list[Turn]:
    state = open_state(f"sqlite:///{project / '.tidemill' / 'state.db'}")
    with state.transaction() as session:
        found = list(session.scalars(sa.select(Turn).order_by(Turn.requested_at)))
    state.close()
    return found


def last_turn(project: Path) -> tuple[str, str] | None:
    """Step and status of the last turn, read in a fraction of the time that `turns` takes."""
    if not (project / ".tidemill" / "state.db").exists():
        return None
    with closing(sqlite3.connect(project / ".tidemill" / "state.db")) as database:
        try:
            rows = database.execute("SELECT step, status FROM turns ORDER BY requested_at").fetchall()
        except sqlite3.OperationalError:  # its tables are being made
            return None
    return rows[-1] if rows else None


def at_step(project: Path, step: str) -> bool:
    found = last_turn(project)
    return found is not None and found[0] == step


def start(command: list[str], project: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill(process: "subprocess.Popen[bytes]") -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_a_killed_retraining_is_finished_by_the_controller(tmp_path: Path, leaves_no_process: None):
    project = write_loop(tmp_path / "parcels").root
    controller = command("-m", "tidemill.retraining.controller", "--project", project)

    killed = start(
        command("-m", "tidemill.cli.main", "retrain", "--as-of", NOON.isoformat(), "--json"), project
    )
    wait_for(lambda: at_step(project, "data"), 240)
    kill(killed)
    (left,) = turns(project)
    assert left.status == "running"

    killed = start(controller, project)
    wait_for(lambda: at_step(project, "train"), 240)
    wait_for(lambda: list((project / ".tidemill").glob("ray_results/*")), 240)
    kill(killed)
    assert turns(project)[0].status == "running"

    last = start(controller, project)
    try:
        wait_for(lambda: last_turn(project)[1] != "running", 400)
    finally:
        last.send_signal(signal.SIGTERM)
        last.wait(60)

    (done,) = turns(project)
    assert (done.status, done.version) == ("promoted", "1")
    state = open_state(f"sqlite:///{project / '.tidemill' / 'state.db'}")
    with state.transaction() as session:
        (promotion,) = session.scalars(sa.select(Promotion))
    state.close()
    assert (promotion.turn_id, promotion.status, promotion.to_version) == (done.id, "done", "1")
    assert run_warm(COMMAND, "promote", "parcel-delay", "1", "-p", project).returncode == 1
