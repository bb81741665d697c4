"""Read from the records which version was champion when, who moved the alias, and why."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, tuple_

from tidemill.registry.history.service_periods import Service, service_periods
from tidemill.state import State
from tidemill.state.tables import GateDecision, Promotion

__all__ = [
    "champion_at",
    "decisions_for",
    "history",
    "past_champions",
    "periods_of",
    "previous_champion",
    "read_decision",
]


def history(state: State, model: str) -> list[Service]:
    """Return the periods of all champions, in order of time."""
    with state.transaction() as session:
        moves = session.execute(
            select(Promotion, GateDecision)
            .outerjoin(GateDecision, Promotion.decision_id == GateDecision.id)
            .where(Promotion.model == model, Promotion.status == "done")
            .order_by(Promotion.requested_at, Promotion.id)
        ).all()
    return service_periods([(move, decision) for move, decision in moves])


def periods_of(state: State, model: str, version: str, most: int = 100) -> list[Service]:
    """Return the last periods in which a version was champion, in order of time.

    However long the history is, only the version's own moves and those that ended them are read.
    """
    done = Promotion.model == model, Promotion.status == "done"
    place = tuple_(Promotion.requested_at, Promotion.id)
    with state.transaction() as session:
        moves = session.execute(
            select(Promotion, GateDecision)
            .outerjoin(GateDecision, Promotion.decision_id == GateDecision.id)
            .where(*done, Promotion.to_version == version)
            .order_by(Promotion.requested_at.desc(), Promotion.id.desc())
            .limit(most)
        ).all()
        found = []
        for move, decision in reversed(moves):
            after = select(Promotion).where(*done, place > tuple_(move.requested_at, move.id))
            ended = session.scalar(after.order_by(Promotion.requested_at, Promotion.id).limit(1))
            pairs = [(move, decision), *([(ended, None)] if ended is not None else [])]
            found.append(service_periods(pairs)[0])
    return found


def champion_at(state: State, model: str, moment: datetime) -> str | None:
    """Return the version that was champion at a moment, event time; None if none was, by the records."""
    served = [each for each in history(state, model) if each.since <= moment]
    return served[-1].version if served else None


def read_decision(state: State, decision_id: str) -> GateDecision:
    """Return a decision of the gate."""
    with state.transaction() as session:
        return session.get_one(GateDecision, decision_id)


def decisions_for(state: State, model: str, version: str) -> list[GateDecision]:
    """Return the gate's decisions on a version, the latest last."""
    with state.transaction() as session:
        found = select(GateDecision).where(GateDecision.model == model, GateDecision.candidate == version)
        return list(session.scalars(found.order_by(GateDecision.decided_at, GateDecision.id)))


def past_champions(moves: Sequence[tuple[str, str]]) -> list[str]:
    """Return the champions that a rollback could go back through, the present one last.

    A promotion puts a version on top; a rollback takes off all that came after the version it went back to.

    Args:
        moves: kind (``promotion`` or ``rollback``) and version, in order.

    >>> past_champions([("promotion", "1"), ("promotion", "2"), ("promotion", "3"), ("rollback", "2")])
    ['1', '2']
    """
    stack: list[str] = []
    for kind, version in moves:
        if kind == "rollback" and version in stack:
            while stack[-1] != version:
                stack.pop()
        else:
            stack.append(version)
    return stack


def previous_champion(moves: Sequence[tuple[str, str]], current: str | None) -> str | None:
    """Return the version to go back to from ``current``; None if there is none.

    >>> previous_champion([("promotion", "1"), ("promotion", "2")], "2")
    '1'
    >>> previous_champion([("promotion", "1")], "1") is None
    True
    """
    others = [version for version in past_champions(moves) if version != current]
    return others[-1] if others else None
