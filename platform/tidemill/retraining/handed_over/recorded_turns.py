"""Turns that one process records and another one makes: begun here, and given up here."""

from sqlalchemy import select

from tidemill.errors import TurnInProgress
from tidemill.project import Project
from tidemill.retraining.cancelling.cancelled_turns import CANCELLED
from tidemill.retraining.turns.turn import record_failure, turn_lock
from tidemill.retraining.turns.turn_begin import TurnRequest, check_request, record_begin
from tidemill.state import State
from tidemill.state.claims import is_claimed
from tidemill.state.tables import Turn

__all__ = ["begin_turn", "cancelled_because", "give_up_turn", "hands_over", "is_being_made", "running_turns"]


def hands_over(project: Project) -> bool:
    """Return whether turns that people ask for here are left to the controller, as RayJobs."""
    return project.settings.hand_over_turns and project.config.kubernetes.turns != "local"


def begin_turn(project: Project, state: State, request: TurnRequest) -> Turn:
    """Record a turn that another process is to make (`tidemill.retraining.turns.turn.resume_turns`).

    Raises:
        TurnInProgress: another one is running.
        UsageError, ConfigError: a parameter cannot be set; whether a search can be made is for that process.
    """
    check_request(project, request.params)
    with turn_lock(project, state):
        if running := running_turns(project, state):
            raise TurnInProgress(
                f"turn {running[0].id} of {project.model} has not ended", hint="`tidemill status` shows it"
            )
        return record_begin(project, state, request)


def running_turns(project: Project, state: State) -> list[Turn]:
    """Return the model's turns on record as running."""
    with state.transaction() as session:
        query = select(Turn).where(Turn.model == project.model, Turn.status == "running").order_by(Turn.id)
        return list(session.scalars(query))


def cancelled_because(state: State, turn_id: str) -> str | None:
    """Return who cancelled a turn, and why, in words; None if nobody did."""
    with state.transaction() as session:
        turn = session.get(Turn, turn_id)
    return turn.error if turn is not None and turn.status == CANCELLED else None


def is_being_made(project: Project, state: State) -> bool:
    """Return whether a process makes a turn of the model, on whichever machine."""
    return is_claimed(state, project.home / "turn.lock", project.model, "turn")


def give_up_turn(project: Project, state: State, turn_id: str, error: str) -> Turn:
    """End a turn that nobody makes any more as failed, unless it ended meanwhile; return it.

    Raises:
        TurnInProgress: a process is making it.
    """
    with turn_lock(project, state) as claim:
        with state.transaction() as session:
            turn = session.get_one(Turn, turn_id)
        if turn.status == "running":
            record_failure(claim, turn, error)
        return turn
