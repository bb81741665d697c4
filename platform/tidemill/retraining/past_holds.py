"""Says of a policy's latest decision on record whether what held its turn still does. Imports no engine."""

from datetime import datetime, timedelta

from tidemill.state import record_queries
from tidemill.state.record_reader import Records, Row

__all__ = ["why_over"]

_A_FEW_ROUNDS = timedelta(minutes=5)
"""The controller looks each minute, unless told otherwise."""


def why_over(records: Records, decision: Row, now: datetime) -> str | None:
    """Return why a hold on record holds no more, or may not; None while it does, and of what is no hold.

    Args:
        records: of the project.
        decision: the latest one of a policy.
        now: of the wall clock.
    """
    if decision.verdict != "hold":
        return None
    if decision.rule == "under_way" and not _is_under_way(records, decision.model):
        return "what was under way has ended"
    if decision.alert_id is not None:
        resolved = "model = ? AND id = ? AND status = 'resolved'", decision.model, decision.alert_id
        if records.select("alerts", *resolved, limit=1):
            return "the alert is resolved"
    return "no round has come to that since" if now - decision.last_at > _A_FEW_ROUNDS else None


def _is_under_way(records: Records, model: str) -> bool:
    turn = record_queries.last_turn(records, model)
    if turn is None:
        return False
    rollout = record_queries.rollouts_of(records, [turn]).get(turn.id)
    rolls = rollout is not None and rollout.status in ("running", "promoting")
    return rolls or turn.status in ("running", "asked")
