"""Says how the last turn is, or ended."""

from typing import TYPE_CHECKING, Any

from tidemill.cli.output import format_moment

if TYPE_CHECKING:
    from tidemill.project import ProjectFolder
    from tidemill.state.record_reader import Records

__all__ = ["read_last_turn", "turn_words"]


def read_last_turn(folder: "ProjectFolder", records: "Records") -> tuple[Any, bool]:
    """Return the last turn, and whether it was left by a process that was killed."""
    from tidemill.state.record_queries import last_turn
    from tidemill.training.tracking.killed_runs import TurnsAtRest

    rest = TurnsAtRest(folder)
    turn = last_turn(records, folder.model)
    running = turn is not None and turn.status == "running" and turn.error is None
    return turn, running and rest.lasted()


def turn_words(turn: Any, left: bool) -> str:
    """Return a turn in one sentence; ``left``: its process was killed."""
    trouble = f": {turn.error}" if turn.error else ""
    if turn.status == "refused" and (said := turn.question or {}).get("by"):
        trouble = f" by {said['by']}: {said.get('comment') or 'no reason is on record'}"
    elif left:
        trouble = ", but its process was killed: the next `tidemill run`, or the controller, takes it up"
    elif turn.status == "asked":
        trouble = f": version {turn.version} waits for `tidemill policies approve`, or `refuse`"
    return f"{turn.id} as of {format_moment(turn.as_of)}: {turn.status}{trouble}"
