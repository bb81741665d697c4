"""Does what a second person has approved, in the name of who asked for it; both names are on record."""

from datetime import datetime

from tidemill.errors import TidemillError
from tidemill.project import Project
from tidemill.registry.promotion import evaluate_gate, promote
from tidemill.rollouts.rollout import begin
from tidemill.state import State
from tidemill.state.tables import Approval

__all__ = ["carry_out"]


def carry_out(project: Project, state: State, approved: Approval, now: datetime) -> str | None:
    """Do what was approved, and say what that was.

    Args:
        project: whose model it is.
        state: the records.
        approved: a request with the status ``approved``; it is used up.
        now: event time.

    Returns:
        a sentence; None for what only who asked can do again: a rollout with steps of its own.

    Raises:
        TidemillError: it cannot be done now; the approval still counts, for as long as any.
    """
    reason = f"{approved.reason} (approved by {approved.decided_by}: {approved.comment})"
    version, actor = approved.version, approved.asked_by
    try:
        if approved.action == "promote":
            decision = evaluate_gate(project, state, version, now)
            done = promote(project, state, version, actor, reason, now, decision=decision)
            return f"Version {done.to_version} serves now; before: {done.from_version or 'none'}."
        if approved.action == "rollout":
            begin(project, state, version, actor, reason, now)
            return f"Version {version} is being rolled out."
    except TidemillError as error:
        error.hint = f"{error.hint or 'look at the message'}; the approval counts for seven days all the same"
        raise
    return None
