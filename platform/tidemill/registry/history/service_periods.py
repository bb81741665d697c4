"""Derive from the records in which periods each version was champion, and which were refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = ["Service", "refusals", "service_periods", "stage_periods", "stage_step"]


@dataclass(frozen=True)
class Service:
    """A period in which one version was champion."""

    version: str
    since: datetime
    """Event time of the promotion or rollback."""
    until: datetime | None
    """None for the current champion."""
    kind: str
    """``promotion``, ``rollback`` or ``outside`` (moved in the registry itself);
    ``refused`` for a version that the gate refused, which never served; the name of a stage for one that
    was there, or ``refused for`` it."""
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


def refusals(decisions: Sequence[tuple[Any, Any]]) -> list[Service]:
    """Return an entry for each version that the gate refused, of no length, in order of time.

    Args:
        decisions: the records of decisions that refused, in order, each with its turn or none.
    """
    return [
        Service(
            version=decision.candidate,
            since=decision.decided_at,
            until=decision.decided_at,
            kind="refused",
            actor=(turn.actor if turn else decision.actor) or "–",
            reason="; ".join(_against(decision)),
            passed=False,
            gain=decision.numbers.get("gain"),
            decision_id=decision.id,
            turn_id=turn.id if turn else None,
        )
        for decision, turn in decisions
    ]


def _against(decision: Any) -> Sequence[str]:
    """Return the reasons that refused; of gates as a list the others say what passed, too.

    >>> from types import SimpleNamespace
    >>> gates = [{"check": "gate", "mode": "enforce", "passed": True, "name": "gate", "said": "a gain"},
    ...     {"check": "size", "mode": "enforce", "passed": False, "name": "size", "said": "it has 60 MB"},
    ...     {"check": "card", "mode": "dry_run", "passed": False, "name": "card", "said": "no owner"}]
    >>> _against(SimpleNamespace(numbers={"gates": gates}, mode="enforce", reasons=["size: …", "a gain"]))
    ['size: it has 60 MB']
    """
    listed = [one for one in decision.numbers.get("gates") or () if not one["passed"]]
    found = [
        one["said"] if one["check"] == "gate" else f"{one['name']}: {one['said']}"
        for one in listed
        if one["mode"] == decision.mode
    ]
    return found or list(decision.reasons)


def stage_periods(moves: Sequence[Any]) -> list[Service]:
    """Return the periods in which versions were in stages, and refusals of stages, of no length.

    Args:
        moves: the records of all stages, in order.
    """
    found = []
    for place, move in enumerate(moves):
        if move.status == "done" and move.to_version is not None:
            later = (one for one in moves[place + 1 :] if (one.stage, one.status) == (move.stage, "done"))
            ended = next(later, None)
            found.append(_in_stage(move, move.stage, None if ended is None else ended.at))
        elif move.status == "refused":
            found.append(_in_stage(move, f"refused for {move.stage}", move.at))
    return found


def stage_step(move: Any, version: str) -> str:
    """Return what a move of a stage was for a version, in words.

    >>> from types import SimpleNamespace as Move
    >>> back = Move(kind="rollback", status="done", from_version="3", to_version="2")
    >>> stage_step(back, "3"), stage_step(back, "2")
    ('taken back', 'rollback')
    """
    if move.status != "done":
        return "a second person was asked" if move.status == "asked" else str(move.status)
    taken = move.kind == "rollback" and move.to_version != version
    return "taken back" if taken else str(move.kind)


def _in_stage(move: Any, kind: str, until: datetime | None) -> Service:
    return Service(
        version=move.to_version,
        since=move.at,
        until=until,
        kind=kind,
        actor=move.actor,
        reason="; ".join(_against(move)) if move.status == "refused" else move.reason,
        passed=move.passed,
        gain=move.numbers.get("gain"),
        decision_id=None,
        turn_id=None,
    )
