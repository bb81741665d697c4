"""A person ends a turn: the record says who, whoever makes it stops, and nothing is promoted."""

import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.tidemill.retraining.test_controller import put_turn
from tests.tidemill.retraining.test_loop_declarations import GOOD, project_with
from tidemill.errors import DecisionOutdated, RecordNotFound, TurnCancelled
from tidemill.retraining.cancelling import cancel_watch
from tidemill.retraining.cancelling.cancelled_turns import cancel_turn
from tidemill.retraining.turns import turn as turns
from tidemill.retraining.turns.step_context import Step, StepContext, StepResult
from tidemill.retraining.turns.turn_begin import TurnRequest
from tidemill.state import State, open_state
from tidemill.state.tables import AuditEntry, Turn

pytestmark = pytest.mark.engine  # importing turns takes as long as if an engine were used

NOW = datetime(2013, 5, 1, tzinfo=UTC)


@pytest.fixture
def project(tmp_path: Path):
    """Its spec lists numbers in place of models: no turn here comes to its training."""
    lines = (
        "import tidemill",
        'spec = tidemill.TrainingSpec((tidemill.Family("line", {}, iter, rounds=1),))',
    )
    (tmp_path / "mine.py").write_text("\n".join(lines))
    return project_with(tmp_path, **GOOD)


@pytest.fixture
def state(project):
    made = open_state(project.state_url)
    yield made
    made.close()


def of(state: State, turn_id: str) -> Turn:
    with state.transaction() as session:
        return session.get_one(Turn, turn_id)


def test_what_can_be_cancelled_and_what_is_on_record(project, state):
    with pytest.raises(RecordNotFound, match="no turn of toy is being made"):
        cancel_turn(project, state, None, "ada", "r")
    put_turn(state)
    put_turn(state, id="turn_2", status="asked", version="2")
    with pytest.raises(RecordNotFound, match="more than one turn turn_"):
        cancel_turn(project, state, "turn_", "ada", "r")
    with pytest.raises(DecisionOutdated, match="has ended: asked") as refused:
        cancel_turn(project, state, "turn_2", "ada", "r")
    assert "policies refuse 2" in (refused.value.hint or "")
    cancel_turn(project, state, None, "ada", "the labels are wrong")
    ended = of(state, "turn_1")
    assert (ended.status, ended.error) == (
        "cancelled",
        "cancelled by ada in step register: the labels are wrong",
    )
    with state.transaction() as session:
        [entry] = session.query(AuditEntry).filter_by(action="cancel").all()
    assert (entry.actor, entry.resource_id) == ("ada", "turn_1")
    put_turn(state, id="turn_3", step="promote")
    with pytest.raises(DecisionOutdated, match="has begun to decide"):
        cancel_turn(project, state, "turn_3", "ada", "r")


@pytest.fixture(params=[signal.default_int_handler, signal.SIG_IGN])
def before(request: pytest.FixtureRequest) -> Iterator[object]:
    """What a process does with Ctrl-C; a shell lets what it puts in the background ignore it."""
    kept = signal.signal(signal.SIGINT, request.param)
    yield request.param
    signal.signal(signal.SIGINT, kept)


@pytest.mark.parametrize("interrupted", [True, False])
def test_who_makes_it_stops_and_writes_no_result(project, state, monkeypatch, before, interrupted):
    monkeypatch.setattr(cancel_watch, "_EVERY", 0.02 if interrupted else 60.0)
    slept = []

    def work(context: StepContext) -> StepResult:
        cancel_turn(project, state, context.turn.id, "ada", "r")
        if interrupted:
            time.sleep(60)
            slept.append(context)
        return StepResult({"version": "9"})

    monkeypatch.setattr(turns, "STEPS", (Step("data", "working", work), Step("promote", "never", work)))
    with pytest.raises(TurnCancelled, match="cancelled"):
        turns.make_turn(project, state, TurnRequest(NOW, "r", "eve"))
    assert not slept
    assert signal.getsignal(signal.SIGINT) is before
    with state.transaction() as session:
        [turn] = session.query(Turn).all()
    assert (turn.status, turn.step, turn.version) == ("cancelled", "data", None)
    assert turns.resume_turns(project, state) == []
