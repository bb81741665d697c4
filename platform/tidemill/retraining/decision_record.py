"""Records what policies decide: once for each cause and reason, not once for each round."""

import hashlib
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from tidemill.ids import new_id
from tidemill.retraining.policy_facts import Hold, Retrain, TurnFact
from tidemill.retraining.policy_rules import last_turn
from tidemill.state import State
from tidemill.state.tables import PolicyDecision

__all__ = ["record_decisions"]


def record_decisions(
    state: State,
    model: str,
    verdicts: Sequence[Retrain | Hold],
    turns: Sequence[TurnFact],
    now: datetime,
) -> None:
    """Record the verdicts of a round; one that is on record already is marked as seen again."""
    if not verdicts:
        return
    latest = last_turn(turns)
    with state.transaction() as session:
        for verdict in verdicts:
            episode = _episode(verdict, latest)
            known = session.scalar(
                select(PolicyDecision).where(
                    PolicyDecision.model == model,
                    PolicyDecision.policy == verdict.policy.name,
                    PolicyDecision.episode == episode,
                )
            )
            if known is None:
                session.add(_new(model, verdict, episode, now))
                continue
            known.reason, known.cause_message = verdict.reason, verdict.cause.message
            known.last_at, known.rounds = max(now, known.last_at), known.rounds + 1


def _episode(verdict: Retrain | Hold, latest: TurnFact | None) -> str:
    rule = verdict.code if isinstance(verdict, Hold) else "retrain"
    since = latest.as_of.isoformat() if latest else "never"
    return hashlib.sha256("\0".join((verdict.cause.key, rule, since)).encode()).hexdigest()[:16]


def _new(model: str, verdict: Retrain | Hold, episode: str, now: datetime) -> PolicyDecision:
    held = isinstance(verdict, Hold)
    return PolicyDecision(
        id=new_id("decision"),
        model=model,
        policy=verdict.policy.name,
        verdict="hold" if held else "retrain",
        episode=episode,
        cause=verdict.cause.key,
        cause_message=verdict.cause.message,
        rule=verdict.code if isinstance(verdict, Hold) else None,
        reason=verdict.reason,
        alert_id=verdict.alert.id if verdict.alert else None,
        turn_id=None,
        first_at=now,
        last_at=now,
        rounds=1,
    )
