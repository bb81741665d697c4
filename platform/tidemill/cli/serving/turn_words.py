"""Says how the last turn is, or ended."""

from typing import TYPE_CHECKING, Any, NamedTuple

from tidemill.cli.output import format_moment

if TYPE_CHECKING:
    from tidemill.project import ProjectFolder
    from tidemill.state.record_reader import Records

__all__ = ["LastTurn", "read_last_turn", "turn_words"]


class LastTurn(NamedTuple):
    """The last turn, and what its record alone does not say."""

    row: Any = None
    """None: no turn was made yet."""
    left: bool = False
    """Whether it was left by a process that was killed."""
    rollout: Any = None
    """The rollout that it began, or None."""


def read_last_turn(folder: "ProjectFolder", records: "Records") -> LastTurn:
    """Return the last turn, whether it was left by a process that was killed, and its rollout."""
    from tidemill.state.record_queries import last_turn, rollouts_of
    from tidemill.training.tracking.killed_runs import TurnsAtRest

    rest = TurnsAtRest(folder)
    turn = last_turn(records, folder.model)
    running = turn is not None and turn.status == "running" and turn.error is None
    rollout = None if turn is None else rollouts_of(records, [turn]).get(turn.id)
    return LastTurn(turn, running and rest.lasted(), rollout)


def turn_words(last: LastTurn) -> str:
    """Return a turn in one sentence.

    >>> from datetime import UTC, datetime
    >>> from types import SimpleNamespace as Row
    >>> at = datetime(2013, 5, 1, tzinfo=UTC)
    >>> turn = Row(id="turn_1", as_of=at, status="rollout", error=None, question=None)
    >>> turn_words(LastTurn(turn, rollout=Row(status="promoted", outcome="version 3 is the champion")))
    'turn_1 as of 2013-05-01 00:00: rollout, promoted: version 3 is the champion'
    """
    turn, left, rollout = last
    trouble = f": {turn.error}" if turn.error else ""
    if turn.status == "refused" and (said := turn.question or {}).get("by"):
        trouble = f" by {said['by']}: {said.get('comment') or 'no reason is on record'}"
    elif left:
        trouble = ", but its process was killed: the next `tidemill run`, or the controller, takes it up"
    elif turn.status == "asked" and (approval := (turn.question or {}).get("approval")):
        trouble = (
            f": version {turn.version} waits for a second person: `tidemill approvals approve {approval}`"
        )
    elif turn.status == "asked":
        trouble = f": version {turn.version} waits for `tidemill policies approve`, or `refuse`"
    elif rollout is not None:
        said = rollout.outcome or f"version {rollout.version}, step {rollout.step + 1}"
        trouble = f", {rollout.status.replace('_', ' ')}: {said}"
    return f"{turn.id} as of {format_moment(turn.as_of)}: {turn.status}{trouble}"
