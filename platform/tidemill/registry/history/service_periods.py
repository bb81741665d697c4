"""Derive from the alias moves in which periods each version was champion."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = ["Service", "service_periods"]


@dataclass(frozen=True)
class Service:
    """A period in which one version was champion."""

    version: str
    since: datetime
    """Event time of the promotion or rollback."""
    until: datetime | None
    """None for the current champion."""
    kind: str
    """``promotion`` or ``rollback``."""
    actor: str
    reason: str
    passed: bool | None
    """Whether the gate passed it; None where the gate was not evaluated."""
    gain: float | None
    """By how much the version beat the one before it, in the gate's metric."""
    decision_id: str | None
    turn_id: str | None


def service_periods(moves: Sequence[tuple[Any, Any]]) -> list[Service]:
    """Return the periods of service in order of time.

    Args:
        moves: the records of promotions that are done, in order, each with its gate decision or none.
    """
    ends: list[datetime | None] = [*(move.at for move, _ in moves[1:]), None]
    return [
        Service(
            version=move.to_version,
            since=move.at,
            until=until,
            kind=move.kind,
            actor=move.actor,
            reason=move.reason,
            passed=decision.passed if decision else None,
            gain=decision.numbers.get("gain") if decision else None,
            decision_id=move.decision_id,
            turn_id=move.turn_id,
        )
        for (move, decision), until in zip(moves, ends, strict=False)
    ]
