"""Reads who served when, the gate's decisions, turns and rollouts, a page at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tidemill.dashboard.records.list_part import Part, read_part
from tidemill.errors import RecordNotFound
from tidemill.state.record_reader import Records, Row
from tidemill.tasks.natural_metric import metric_of

__all__ = [
    "Champion",
    "ListedDecision",
    "Move",
    "champion_of",
    "decision_page",
    "last_moves",
    "listed_decision",
    "move_page",
    "near",
    "own",
]

_LATEST = 20_000
"""Of so many of the gate's latest decisions those that refused are sought."""
_NEAR = 5_000
_WORDS = {"turns": "turn", "rollouts": "rollout", "gate_decisions": "decision", "asked_acts": "act"}


@dataclass(frozen=True)
class Move:
    """A move of the alias champion: the version serves from then on."""

    id: str
    version: str
    before: str | None
    """The version that served until then."""
    kind: str
    status: str
    actor: str
    reason: str
    at: datetime
    until: datetime | None
    """When the next version took over; None if it serves now, or never did."""
    serves: bool
    decision_id: str | None
    turn_id: str | None
    passed: bool | None
    """Whether the gate passed it; None where the gate was not asked."""
    mode: str | None
    """The gate's: one that it refused in a ``dry_run`` serves all the same."""
    gain: float | None


@dataclass(frozen=True)
class ListedDecision:
    """A decision of the gate as a list shows it."""

    id: str
    candidate: str
    champion: str | None
    mode: str
    passed: bool
    reason: str
    """The first: of those that failed, if any did."""
    metric: str | None
    gain: float | None
    low: float | None
    """Of the gain's 90 % interval."""
    high: float | None
    rows: int | None
    decided_at: datetime


@dataclass(frozen=True)
class Champion:
    """The version that serves by the records, and who put it there."""

    version: str
    since: datetime
    actor: str
    reason: str


def move_page(records: Records, model: str, number: int) -> tuple[list[Move], Part]:
    """Return one page of the moves of the champion, the latest first.

    Raises:
        UsageError: the list has no such page.
    """
    order = "requested_at DESC, id DESC"
    rows, part = read_part(records, "promotions", "model = ?", model, order=order, number=number)
    ids = sorted({row.decision_id for row in rows if row.decision_id})
    marks = ", ".join("?" * len(ids)) or "NULL"
    decisions = {row.id: row for row in records.select("gate_decisions", f"id IN ({marks})", *ids)}
    later = _after(records, model, rows[0]) if rows else None
    found = []
    for row in rows:
        done = row.status == "done"
        found.append(
            _move(row, decisions.get(row.decision_id), later if done else None, done and later is None)
        )
        later = row if done else later
    return found, part


def _after(records: Records, model: str, row: Row) -> Row | None:
    """Return the next move that was done after one."""
    of = "model = ? AND requested_at >= ? AND status = 'done'"
    near = records.select("promotions", of, model, row.requested_at, order="requested_at, id", limit=50)
    return next((each for each in near if (each.requested_at, each.id) > (row.requested_at, row.id)), None)


def _move(row: Row, decision: Row | None, later: Row | None, serves: bool) -> Move:
    return Move(
        row.id,
        row.to_version,
        row.from_version,
        row.kind,
        row.status,
        row.actor,
        row.reason,
        row.at,
        later.at if later else None,
        serves,
        row.decision_id,
        row.turn_id,
        decision.passed if decision else None,
        decision.mode if decision else None,
        decision.numbers.get("gain") if decision else None,
    )


def last_moves(records: Records, model: str, many: int) -> list[Row]:
    """Return the last moves that were done, in order."""
    of = "model = ? AND status = 'done'"
    return records.select("promotions", of, model, order="requested_at DESC, id DESC", limit=many)[::-1]


def champion_of(records: Records, model: str) -> Champion | None:
    """Return the champion by the records."""
    moves = last_moves(records, model, 1)
    return Champion(moves[0].to_version, moves[0].at, moves[0].actor, moves[0].reason) if moves else None


def decision_page(
    records: Records, model: str, number: int, *, refused: bool
) -> tuple[list[ListedDecision], Part]:
    """Return one page of the gate's decisions, the latest first; of those that refused among the last 20,000.

    Raises:
        UsageError: the list has no such page.
    """
    order = "decided_at DESC, id DESC"
    where, values = "model = ?", [model]
    if refused:
        latest = f"SELECT id FROM gate_decisions WHERE model = ? ORDER BY {order} LIMIT {_LATEST}"  # noqa: S608
        where, values = f"model = ? AND id IN ({latest}) AND NOT passed", [model, model]
    rows, part = read_part(records, "gate_decisions", where, *values, order=order, number=number)
    return [listed_decision(row) for row in rows], part


def listed_decision(row: Row) -> ListedDecision:
    """Return a record of a decision as a list shows it."""
    numbers: dict[str, Any] = row.numbers
    low, high = numbers.get("gain_interval") or (None, None)
    metric = metric_of(numbers["metric"]).name if numbers.get("metric") else None
    facts = metric, numbers.get("gain"), low, high, numbers.get("rows")
    reason = row.reasons[0] if row.reasons else ""
    about = row.id, row.candidate, row.champion, row.mode, row.passed, reason
    return ListedDecision(*about, *facts, row.decided_at)


def own(records: Records, table: str, model: str, given: str) -> Row:
    """Return a record of a model.

    Raises:
        RecordNotFound: there is none of that id, or it is another model's.
    """
    found = records.select(table, "id = ? AND model = ?", given, model)
    if not found:
        raise RecordNotFound(f"{model} has no {_WORDS[table]} {given!r}", hint="the list has those there are")
    return found[0]


def near(records: Records, table: str, model: str, decision_id: str) -> Sequence[Row]:
    """Return the records among the last 5,000 that a decision of the gate led to."""
    latest = f"SELECT id FROM {table} WHERE model = ? ORDER BY requested_at DESC, id DESC LIMIT {_NEAR}"  # noqa: S608
    return records.select(table, f"id IN ({latest}) AND decision_id = ?", model, decision_id, limit=5)
