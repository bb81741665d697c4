"""Queries of the records about one version of a model; each is bounded, however long the history is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tidemill.registry.history.service_periods import stage_step
from tidemill.state.record_queries import stage_moves
from tidemill.state.record_reader import Records, Row

__all__ = [
    "ServedPeriod",
    "StageStep",
    "monitor_runs_of",
    "served_periods",
    "slices_of",
    "stage_steps",
    "turn_of",
]

_MOVES = 5000
_RUNS = 500


@dataclass(frozen=True)
class ServedPeriod:
    """A period in which a version was champion."""

    since: datetime
    until: datetime | None
    """None while it serves."""
    kind: str
    """``promotion`` or ``rollback``."""
    actor: str
    reason: str
    turn_id: str | None


@dataclass(frozen=True)
class StageStep:
    """A version got into a stage before production, was refused, or was taken back."""

    stage: str
    what: str
    """What came of it, in words, such as ``promotion``, ``refused`` or ``taken back``."""
    actor: str
    reason: str
    reasons: Sequence[str]
    """What the gates said."""
    at: datetime


def stage_steps(records: Records, model: str, version: str, most: int = 20) -> list[StageStep]:
    """Return what became of a version in stages before production, the latest first."""
    return [
        StageStep(
            move.stage,
            stage_step(move, version),
            move.actor,
            move.reason,
            list(move.reasons),
            move.at,
        )
        for move in stage_moves(records, model, version, most)[::-1]
    ]


def served_periods(records: Records, model: str, version: str, most: int = 20) -> list[ServedPeriod]:
    """Return the last periods in which a version was champion, among the last 5,000 moves; latest first."""
    where = f"status = 'done' AND to_version = ? AND {_among_last('promotions', 'requested_at', _MOVES)}"
    order = "requested_at DESC, id DESC"
    moves = records.select("promotions", where, version, model, order=order, limit=most)
    return [
        ServedPeriod(move.at, _end(records, move), move.kind, move.actor, move.reason, move.turn_id)
        for move in moves
    ]


def _end(records: Records, move: Row) -> datetime | None:
    later = "model = ? AND requested_at >= ? AND id <> ? AND status = 'done'"
    values = (move.model, move.requested_at, move.id)
    found = records.select("promotions", later, *values, order="requested_at, id", limit=1)
    return found[0].at if found else None


def turn_of(records: Records, model: str, version: str) -> Row | None:
    """Return the last turn that made a version, among the last 5,000; None if a person registered it."""
    where = f"version = ? AND {_among_last('turns', 'requested_at', _MOVES)}"
    found = records.select("turns", where, version, model, order="requested_at DESC, id DESC", limit=1)
    return found[0] if found else None


def slices_of(records: Records, model: str, version: str) -> tuple[datetime, dict[str, Any]] | None:
    """Return the last evaluation of a version by slice, and its moment; among the last 500 monitor runs."""
    judged = "CAST(results AS TEXT) LIKE '%slice_quality%'"
    where = f"version = ? AND {judged} AND {_among_last('monitor_runs', 'at', _RUNS)}"
    for run in records.select("monitor_runs", where, version, model, order="at DESC, id DESC", limit=5):
        if found := run.results.get("slice_quality"):
            return run.at, found
    return None


def monitor_runs_of(records: Records, model: str, version: str, most: int = 100) -> list[Row]:
    """Return the last monitor runs that judged a version, among the last 500 of the model; latest first."""
    where = f"version = ? AND verdict <> 'external' AND {_among_last('monitor_runs', 'at', _RUNS)}"
    return records.select("monitor_runs", where, version, model, order="at DESC, id DESC", limit=most)


def _among_last(table: str, moment: str, most: int) -> str:
    """Return a condition with one ``?``, the model: the records are among its last ones."""
    last = f"SELECT id FROM {table} WHERE model = ? ORDER BY {moment} DESC, id DESC LIMIT {most}"  # noqa: S608
    return f"id IN ({last})"
