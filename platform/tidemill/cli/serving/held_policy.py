"""Says what holds a policy's turn, or held it, by its latest decision on record."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tidemill.cli.output import format_moment

if TYPE_CHECKING:
    from datetime import datetime

    from tidemill.cli.serving.turn_words import LastTurn
    from tidemill.state.record_reader import Records

__all__ = ["held_words", "is_over"]

_A_FEW_ROUNDS = timedelta(minutes=5)
"""The controller looks each minute, unless told otherwise."""


def is_over(records: "Records", decision: Any, last: "LastTurn") -> bool:
    """Return whether what held a turn, or asked for it, is over since the controller looked."""
    if decision.rule == "under_way":
        status = getattr(last.row, "status", None)
        rolls = last.rollout is not None and last.rollout.status in ("running", "promoting")
        return status not in ("running", "asked") and not rolls
    if decision.alert_id is None:
        return False
    resolved = "model = ? AND id = ? AND status = 'resolved'", decision.model, decision.alert_id
    return bool(records.select("alerts", *resolved, limit=1))


def held_words(decision: Any, now: "datetime", *, over: bool) -> str:
    """Return what holds a policy, or held it, where that is over or no round has come to it lately."""
    first, last = map(format_moment, (decision.first_at, decision.last_at))
    if over or now - decision.last_at > _A_FEW_ROUNDS:
        return f"held from {first} to {last}: {decision.reason}"
    return f"holds since {first}: {decision.reason}"
