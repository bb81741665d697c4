"""Queries of the records for the reading commands, each for one model."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from tidemill.errors import UsageError
from tidemill.state.record_reader import Records, Row

__all__ = [
    "approvals_waiting",
    "batch_runs",
    "full_id",
    "gate_decisions",
    "is_unsettled",
    "job_counts",
    "jobs",
    "keys",
    "lane_counts",
    "last_monitor_runs",
    "last_rollout",
    "last_turn",
    "live_deployments",
    "monitor_runs",
    "moves",
    "next_rollout",
    "policy_decisions",
    "refused_decisions",
    "replicas",
    "rollouts_of",
    "runs_of_schedule",
    "stage_moves",
]


_ALIVE = timedelta(seconds=20)
"""As in `tidemill.serving.routing.replicas`."""


def monitor_runs(records: Records, model: str, last: int) -> list[Row]:
    """Return the latest evaluations of monitors, the latest first."""
    of = "model = ? AND verdict <> 'external'"
    return records.select("monitor_runs", of, model, order="at DESC, id DESC", limit=last)


def kpis_of(records: Records, model: str, version: str) -> list[dict[str, Any]]:
    """Return the last value of each KPI that monitors measured of a version, among its last 200 runs."""
    of = "model = ? AND version = ?"
    found: dict[str, dict[str, Any]] = {}
    for run in records.select("monitor_runs", of, model, version, order="at DESC, id DESC", limit=200):
        if kpi := (run.results or {}).get("kpi"):
            facts = {name: kpi.get(name) for name in ("name", "value", "standard_error", "rows")}
            about = {"monitor": run.monitor, "from": run.window_start, "to": run.window_end}
            found.setdefault(str(kpi.get("name")), {**facts, **about})
    return list(found.values())


def last_monitor_runs(records: Records, model: str, until: datetime | None = None) -> list[Row]:
    """Return the latest run of each monitor, by its name: of those up to a moment, if one is given."""
    of = "model = ? AND monitor = ? AND verdict <> 'external'"
    found: list[Row] = []
    for monitor in records.values("monitor_runs", "monitor", "model = ?", model):
        known = (of, model, monitor) if until is None else (f"{of} AND at <= ?", model, monitor, until)
        last = records.select("monitor_runs", *known, order="at DESC, id DESC", limit=1)
        for run in last:
            same = f"{of} AND at = ?", model, monitor, run.at
            found += records.select("monitor_runs", *same, order="monitor, id")
    return found


def last_turn(records: Records, model: str) -> Row | None:
    """Return the latest turn, or None."""
    found = records.select("turns", "model = ?", model, order="requested_at DESC, id DESC", limit=1)
    return next(iter(found), None)


def rollouts_of(records: Records, turns: Sequence[Row]) -> dict[str, Row]:
    """Return the rollout that each turn of one model began, by the turn's id; the others' are left out."""
    begun = [turn for turn in turns if turn.status == "rollout"]
    versions = sorted({turn.version for turn in begun})
    if not versions:
        return {}
    of = f"model = ? AND version IN ({', '.join('?' * len(versions))})"
    rows = records.select("rollouts", of, begun[0].model, *versions, order="requested_at")
    return {
        turn.id: row
        for row in rows
        for turn in begun
        if (row.version == turn.version) and row.requested_at >= turn.requested_at
    }


def policy_decisions(records: Records, model: str, last: int) -> list[Row]:
    """Return what policies decided, the latest first."""
    return records.select("policy_decisions", "model = ?", model, order="last_at DESC, id DESC", limit=last)


def moves(records: Records, model: str) -> list[tuple[Row, Row | None]]:
    """Return the moves of the champion alias in order, each with the gate's decision if there was one."""
    decisions = {row.id: row for row in records.select("gate_decisions", "model = ?", model)}
    done = records.select("promotions", "model = ? AND status = 'done'", model, order="requested_at, id")
    return [(move, decisions.get(move.decision_id)) for move in done]


def refused_decisions(records: Records, model: str) -> list[tuple[Row, Row | None]]:
    """Return the gate's decisions that refused a version, in order, each with its turn if there was one."""
    turns = {row.decision_id: row for row in records.select("turns", "model = ?", model)}
    decisions = records.select("gate_decisions", "model = ?", model, order="decided_at, id")
    return [(one, turns.get(one.id)) for one in decisions if not one.passed and one.mode == "enforce"]


def gate_decisions(records: Records, model: str, *versions: str) -> list[Row]:
    """Return the gate's decisions about some versions, the latest last."""
    if not versions:
        return []
    of = f"model = ? AND candidate IN ({', '.join('?' * len(versions))})"
    # Sorted by what is equal: SQLite would read the model's whole history by another index to sort by time.
    found = records.select("gate_decisions", of, model, *versions, order="candidate")
    return sorted(found, key=lambda row: (row.decided_at, row.id))


def stage_moves(records: Records, model: str, version: str | None = None, limit: int = 500) -> list[Row]:
    """Return what became of versions that were to get into a stage or left it, the latest last.

    Args:
        records: the records.
        model: whose stages.
        version: only moves of this version.
        limit: at most so many, of the latest.
    """
    left = "from_version = ? AND (to_version IS NULL OR kind = 'rollback')"
    its = "" if version is None else f" AND (to_version = ? OR ({left}))"
    values = (model,) if version is None else (model, version, version)
    order = "requested_at DESC, id DESC"
    return records.select("stage_moves", f"model = ?{its}", *values, order=order, limit=limit)[::-1]


def live_deployments(records: Records, model: str) -> list[Row]:
    """Return the live versions beside the champion, by name."""
    return records.select("deployments", "model = ? AND status = 'live'", model, order="name")


def is_unsettled(records: Records, model: str) -> bool:
    """Return whether a killed process left a move of an alias unfinished."""
    half = records.select("deployments", "model = ? AND status IN ('pending', 'stopping')", model, limit=1)
    of = "model = ? AND status = 'pending'", model
    moves = (records.select(table, *of, limit=1) for table in ("promotions", "stage_moves"))
    return bool(half) or any(moves)


def replicas(records: Records, model: str, now: datetime) -> list[Row]:
    """Return the replicas with a recent heartbeat."""
    return records.select("replicas", "model = ? AND seen_at > ?", model, now - _ALIVE)


def lane_counts(records: Records, model: str) -> list[Row]:
    """Return the counts of each replica for each version, the earliest first."""
    return records.select("lane_counts", "model = ?", model, order="seen_at")


def last_rollout(records: Records, model: str) -> Row | None:
    """Return the latest rollout, or None."""
    found = records.select("rollouts", "model = ?", model, order="requested_at DESC, id", limit=1)
    return next(iter(found), None)


def next_rollout(records: Records, rollout: Row) -> Row | None:
    """Return the rollout that was begun after another one, or None."""
    later = "model = ? AND requested_at > ?", rollout.model, rollout.requested_at
    return next(iter(records.select("rollouts", *later, order="requested_at, id", limit=1)), None)


def jobs(records: Records, model: str, statuses: Sequence[str], limit: int) -> list[Row]:
    """Return jobs, the latest first; of all statuses if no status is given."""
    marks = ", ".join("?" * len(statuses))
    chosen = f" AND status IN ({marks})" if statuses else ""
    order = "requested_at DESC, id DESC"
    return records.select("jobs", f"model = ?{chosen}", model, *statuses, order=order, limit=limit)


def job_counts(records: Records, model: str) -> dict[str, int]:
    """Return how many jobs there are of each status."""
    return records.counts("jobs", "status", "model = ?", model)


def approvals_waiting(records: Records, model: str) -> list[Row]:
    """Return what waits for a second person, the oldest first."""
    return records.select("approvals", "model = ? AND status = 'waiting'", model, order="asked_at, id")


def keys(records: Records) -> list[Row]:
    """Return all API keys, revoked ones too, the latest first."""
    return records.select("api_keys", "1 = 1", order="created_at DESC")


def batch_runs(records: Records, model: str, last: int) -> list[Row]:
    """Return the latest runs of schedules, the latest slot first."""
    return records.select("batch_runs", "model = ?", model, order="slot DESC", limit=last)


def runs_of_schedule(records: Records, model: str, schedule: str) -> list[Row]:
    """Return all runs of a schedule."""
    return records.select("batch_runs", "model = ? AND schedule = ?", model, schedule)


def full_id(records: Records, table: str, model: str, given: str) -> str:
    """Return the id that begins with ``given``, or ``given`` itself if no id does.

    Raises:
        UsageError: several ids begin with it.
    """
    end = given + "\U0010ffff"
    found = [row.id for row in records.select(table, "model = ? AND id >= ? AND id <= ?", model, given, end)]
    if given in found or not found:
        return given
    if len(found) > 1:
        some = ", ".join(found[:5]) + (", …" if len(found) > 5 else "")
        raise UsageError(
            f"{given!r} is the beginning of {len(found)} ids of {table}: {some}", hint="give more characters"
        )
    return str(found[0])
