"""Cancels a turn that is being made, or was left behind. Imports no engine."""

from datetime import UTC, datetime

from sqlalchemy import select

from tidemill.accounts import audit
from tidemill.errors import DecisionOutdated, RecordNotFound
from tidemill.project import Project
from tidemill.state import State
from tidemill.state.tables import Turn

__all__ = ["CANCELLED", "cancel_turn"]

CANCELLED = "cancelled"
"""Status of a turn that a person ended."""
_PROMOTES = "promote"


def cancel_turn(project: Project, state: State, turn_id: str | None, actor: str, reason: str) -> Turn:
    """End a turn, with who cancelled it, and why, on record.

    The process that makes it stops within seconds: it looks at the record (`cancel_watch`). On a cluster the
    controller deletes the turn's RayJob. Nothing of the turn is promoted.

    Args:
        project: whose turn it is.
        state: the records.
        turn_id: of the turn, or its first characters; None: the one that is being made.
        actor: who cancels it.
        reason: why.

    Raises:
        RecordNotFound: there is no such turn.
        DecisionOutdated: it has ended, or has begun to promote its version, which is finished.
    """
    with state.transaction() as session:
        query = select(Turn).where(Turn.model == project.model)
        if turn_id is None:
            query = query.where(Turn.status == "running")
        else:
            query = query.where(Turn.id.startswith(turn_id, autoescape=True))
        found = list(session.scalars(query.limit(2)))
        if len(found) != 1:
            raise _none_or_several(project.model, turn_id, len(found))
        [turn] = found
        if turn.status != "running":
            raise DecisionOutdated(f"turn {turn.id} has ended: {turn.status}", hint=_hint(turn))
        if turn.step == _PROMOTES:
            raise DecisionOutdated(
                f"turn {turn.id} has begun to decide on its version: that is finished",
                hint="`tidemill rollback` makes the earlier champion serve again",
            )
        because = f": {reason}" if reason else ""
        turn.status, turn.finished_at = CANCELLED, datetime.now(UTC)
        turn.error = f"cancelled by {actor} in step {turn.step}{because}"
        details = {"step": turn.step, "began_by": turn.actor}
        audit.append(session, audit.Act(actor, "cancel", "turn", turn.id, turn.model, reason, details))
    return turn


def _none_or_several(model: str, turn_id: str | None, number: int) -> RecordNotFound:
    if turn_id is None:
        return RecordNotFound(
            f"no turn of {model} is being made", hint="`tidemill status` shows the last ones"
        )
    which = "no turn" if not number else "more than one turn"
    return RecordNotFound(
        f"there is {which} {turn_id} of {model}", hint="give more of its id, or none for the one being made"
    )


def _hint(turn: Turn) -> str:
    if turn.status == "asked":
        return f"`tidemill policies refuse {turn.version}` refuses its version"
    return "there is nothing left to cancel"
