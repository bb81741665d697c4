"""SIGKILL in each step of a turn and between the steps, with the real engines: one outcome, nothing twice.

`benchmarks/kills.py` does the same at more points, and over 200 times.
"""

import inspect
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.tidemill.lineage.small_world import NOON
from tests.tidemill.retraining.forked import BETWEEN, IN_STEPS, Ask, Ended, ForkServer, KillPoint, forking
from tests.tidemill.retraining.small_loop import faults, write_loop
from tests.warm_commands import command
from tidemill.data.repository.git import git
from tidemill.project import Project
from tidemill.state import State, open_state
from tidemill.state.tables import Turn

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

CHOSEN = {
    "start": "tidemill.retraining.turns.turn:_run before",
    "data": "tidemill.data.versioning.data_versions:commit_staged after",
    "train": "tidemill.training.train:search_by before",
    "register": "mlflow:MlflowClient.create_model_version after",
    "gate": "tidemill.registry.gates.gate_decisions:tag_version before",
    "promote": "tidemill.registry.history.alias_journal:_set_alias after",
}
"""One point in each step; most of them between two writes that must both be made."""
POINTS = [
    point
    for step, chosen in CHOSEN.items()
    for point in [
        *(one for one in IN_STEPS if one.step == step and f"{one.where} {one.moment}" == chosen),
        *(one for one in BETWEEN if one.of == step),
    ]
]


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with forking(f"{os.getpid()}-kills") as found:
        yield found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return write_loop(tmp_path_factory.mktemp("loop") / "parcels")


@pytest.fixture(scope="module")
def state(project: Project) -> Iterator[State]:
    opened = open_state(project.state_url)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def kills(server: ForkServer, project: Project, state: State) -> list[tuple[KillPoint, Ended, str]]:
    """One turn, killed at each point in turn, then finished; with the step on its record after each kill."""
    made = []
    for number, point in enumerate(POINTS):
        ended = server.attempt(Ask(project.root, NOON if number == 0 else None, at=point))
        with state.transaction() as session:
            (turn,) = session.query(Turn)
        made.append((point, ended, turn.step))
    ended = server.attempt(Ask(project.root))
    assert ended.statuses in (["promoted"], [])  # nothing was left to do if the last kill came after its end
    return made


@pytest.mark.parametrize("point", IN_STEPS + BETWEEN, ids=lambda point: f"{point.where} {point.moment}")
def test_the_module_of_a_point_calls_what_it_names(point: KillPoint):
    owner, name = point.find()
    if inspect.ismodule(owner):
        assert f"{name}(" in inspect.getsource(owner).replace(f"def {name}(", "")


def test_an_unknown_point_is_an_error(server: ForkServer, project: Project):
    unknown = KillPoint("train", "tidemill.training.train:no_such_call", "before")
    assert "no_such_call" in server.attempt(Ask(project.root, at=unknown)).error


def test_each_kill_fell_where_it_was_meant_to(kills: list[tuple[KillPoint, Ended, str]]):
    assert len(kills) == 6 + 10
    assert [(ended.code, ended.error) for _, ended, _ in kills] == [(-signal.SIGKILL, "")] * len(kills)


@pytest.mark.parametrize(
    ("step", "following"),
    [("data", "train"), ("train", "register"), ("register", "gate"), ("gate", "promote"), ("promote", "end")],
)
def test_a_step_counts_once_its_result_is_recorded(
    kills: list[tuple[KillPoint, Ended, str]], step: str, following: str
):
    before, after = (stood for point, _, stood in kills if point.of == step)
    assert (before, after) == (step, following)


@pytest.mark.usefixtures("kills")
def test_a_turn_that_was_killed_everywhere_has_one_outcome(project: Project, state: State):
    assert faults(project, state) == []
    with state.transaction() as session:
        (turn,) = session.query(Turn)
    assert (turn.status, turn.version) == ("promoted", "1")


@pytest.mark.usefixtures("kills")
def test_the_next_turn_is_refused_by_the_gate_and_killed_on_the_way(
    server: ForkServer, project: Project, state: State
):
    """What was made before the kill is found again: the model is not searched for a second time."""
    trained = next(one for one in BETWEEN if (one.of, one.moment) == ("train", "before"))
    ask = Ask(project.root, NOON + timedelta(hours=1), {"gate.min_gain": 0.9}, at=trained)
    assert server.attempt(ask).code == -signal.SIGKILL
    assert server.attempt(Ask(project.root)).statuses == ["refused"]
    assert faults(project, state) == []


@pytest.mark.usefixtures("kills")
def test_sigterm_during_a_run_is_one_line_and_leaves_the_project_as_it_was(project: Project, state: State):
    moment = (NOON + timedelta(hours=2)).isoformat()
    process = subprocess.Popen(
        command("-m", "tidemill.cli.main", "run", "--as-of", moment),
        cwd=project.root,
        env={**os.environ, "TIDEMILL_NUM_CPUS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not any((project.home / "ray_results").glob("*/*")):  # Ray has put its own handlers of signals
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert said.splitlines()[-1] == "terminated"
    assert "Traceback" not in said
    assert "SIGTERM received" not in said
    with state.transaction() as session:
        turn = session.query(Turn).order_by(Turn.requested_at.desc()).first()
        assert (turn.status, turn.step, turn.error) == ("failed", "train", "interrupted")
        session.delete(turn)
    assert not any((project.home / "ray_results").glob("*"))
    assert git(project.root, "status", "--porcelain") == ""


@pytest.mark.usefixtures("kills")
def test_no_process_is_left(server: ForkServer):
    deadline = time.monotonic() + 30
    while server.left() and time.monotonic() < deadline:
        time.sleep(0.5)
    assert [process.cmdline() for process in server.left()] == []
