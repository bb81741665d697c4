"""Queries of the records for the reading commands, each for one model."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypedDict

from tidemill.errors import AlertNotFound, UsageError
from tidemill.state.record_reader import Records, Row

__all__ = [
    "EXTERNAL",
    "FAULT_KINDS",
    "FLAP_RUNS",
    "AlertRecords",
    "alarming_runs",
    "alert_records",
    "alerts",
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
    "names_faults",
    "noise_marks",
    "policy_decisions",
    "refused_decisions",
    "replicas",
    "runs_of_schedule",
    "silences",
    "times_fired",
]


class _Order(TypedDict):
    order: str
    limit: int


class AlertRecords(NamedTuple):
    """An alert and the records that explain it."""

    alert: Row
    steps: Sequence[Row]
    first_run: Row
    """The monitor run that found it first."""
    last_run: Row
    """The one that found it last."""
    moves: Sequence[Row]
    """The last moves of the champion alias until then, in order."""
    turn: Row | None
    """The turn that made the version."""
    notifications: Sequence[Row]
    runs: Sequence[Row] = ()
    """The last runs of its monitor until then, in order."""
    deployments: Sequence[Row] = ()
    """The last changes of the versions beside the champion until then, in order."""
    rollouts: Sequence[Row] = ()
    """The last that began before, in order."""
    noise: Sequence[tuple[datetime, str]] = ()
    """Of each alert of its monitor that was marked as noise: when, and its kind; in order."""
    alarms: Sequence[Row] = ()
    """The runs of its monitor that found something, in order; none without marks."""
    faults: Sequence[Row] = ()
    """The open alerts of the model that find values broken at their source, the latest first."""


EXTERNAL = "external"
"""The kind of alerts that something else raised, and the verdict of their runs."""
FAULT_KINDS = ("feature_drift", "slice_drift", "feature_skew", "data_quality", "staleness")
"""The kinds that may name values which are broken at their source."""
_FAULTS = 20
_RUNS = 30
_CHANGES = 20
"""Of each kind of change before an alert, so many are read."""
_MARKS, _ALARMS = 20, 10
"""So many marks of noise count, the last ones; what they mark is one of so many alarms before each."""
FLAP_RUNS = 8
"""In how many runs of a monitor it is counted how often the same thing began to fire."""
_ALIVE = timedelta(seconds=20)
"""As in `tidemill.serving.routing.replicas`."""


def alerts(records: Records, model: str, *, include_resolved: bool) -> list[Row]:
    """Return alerts, the latest first."""
    over = "" if include_resolved else " AND status <> 'resolved'"
    return records.select("alerts", f"model = ?{over}", model, order="raised_at DESC, id DESC")


def alert_records(records: Records, model: str, alert_id: str) -> AlertRecords:
    """Return an alert and the records that explain it.

    Raises:
        AlertNotFound: there is no such alert.
    """
    found = records.select("alerts", "model = ? AND id = ?", model, alert_id)
    if not found:
        raise AlertNotFound(
            f"there is no alert {alert_id!r}", hint="`tidemill alerts list --all` shows their ids"
        )
    [alert] = found
    first = records.select("monitor_runs", "id = ?", alert.monitor_run_id)
    about = "model = ? AND monitor = ? AND at = ?", model, alert.monitor, alert.last_seen_at
    until = "model = ? AND monitor = ? AND at <= ?", model, alert.monitor, alert.last_seen_at
    before = "model = ? AND at <= ?", model, alert.raised_at
    moved = "model = ? AND status = 'done' AND at <= ?", model, alert.raised_at
    last: _Order = {"order": "at DESC, id DESC", "limit": _CHANGES}
    noise = noise_marks(records, model, alert.monitor)
    made = "model = ? AND version = ?", model, alert.version
    return AlertRecords(
        alert,
        records.select("alert_steps", "alert_id = ?", alert_id, order="at, id"),
        first[0],
        next(iter(records.select("monitor_runs", *about, order="id DESC", limit=1)), first[0]),
        records.select("promotions", *moved, **last)[::-1],
        next(iter(records.select("turns", *made, order="requested_at DESC", limit=1)), None),
        records.select("notifications", "alert_id = ?", alert_id, order="at, id"),
        records.select("monitor_runs", *until, order="at DESC, id DESC", limit=_RUNS)[::-1],
        records.select("deployments", *before, **last)[::-1],
        records.select("rollouts", *before, **last)[::-1],
        noise,
        alarming_runs(records, model, alert.monitor, noise),
        _of_faults(records, model),
    )


def _of_faults(records: Records, model: str) -> list[Row]:
    """Return the open alerts that name values which look wrong in themselves, whatever the world is like."""
    of = f"model = ? AND status = ? AND kind IN ({', '.join('?' * len(FAULT_KINDS))})"
    last: _Order = {"order": "raised_at DESC, id DESC", "limit": _FAULTS}
    found = [
        row
        for status in ("firing", "acknowledged")
        for row in records.select("alerts", of, model, status, *FAULT_KINDS, **last)
    ]
    return [row for row in found if names_faults(row.kind, row.details)]


def names_faults(kind: str, details: Mapping[str, Any] | None) -> bool:
    """Return whether an alert of `FAULT_KINDS` names values that are broken at their source."""
    return kind == "feature_skew" or bool((details or {}).get("faults"))


def noise_marks(records: Records, model: str, monitor: str) -> list[tuple[datetime, str]]:
    """Return when alerts of a monitor were marked as noise, and their kinds, in order of time."""
    steps = records.select("alert_steps", "step = 'noise'", order="at, id")
    marked = "id IN (SELECT alert_id FROM alert_steps WHERE step = 'noise')"  # few: no index of the model's
    alerts = records.select("alerts", marked) if steps else []
    kinds = {row.id: row.kind for row in alerts if (row.model, row.monitor) == (model, monitor)}
    return [(step.at, kinds[step.alert_id]) for step in steps if step.alert_id in kinds]


def alarming_runs(
    records: Records, model: str, monitor: str, marks: Sequence[tuple[datetime, str]]
) -> list[Row]:
    """Return the runs of a monitor that found something, the last ones before each mark, in order of time."""
    of = "model = ? AND monitor = ? AND verdict = 'alert' AND at <= ?"
    found: dict[str, Row] = {}
    for at, _ in marks[-_MARKS:]:
        near = records.select("monitor_runs", of, model, monitor, at, order="at DESC, id DESC", limit=_ALARMS)
        found |= {run.id: run for run in near}
    return sorted(found.values(), key=lambda run: (run.at, run.id))


def times_fired(records: Records, alert: Row) -> int:
    """Return how often the same thing began to fire in the last runs of its monitor."""
    if alert.kind == EXTERNAL:
        return 1
    of = "model = ? AND monitor = ? AND verdict <> 'failed'", alert.model, alert.monitor
    runs = records.select("monitor_runs", *of, order="at DESC, id DESC", limit=FLAP_RUNS)
    same = "alerts.id = alert_steps.alert_id AND model = ? AND monitor = ? AND version = ? AND kind = ?"
    about = alert.model, alert.monitor, alert.version, alert.kind
    fired = f"step IN ('firing', 'reopened') AND at >= ? AND EXISTS (SELECT 1 FROM alerts WHERE {same})"  # noqa: S608
    return len(records.select("alert_steps", fired, runs[-1].at, *about)) if runs else 1


def silences(records: Records, model: str, now: datetime, *, ended: bool) -> list[Row]:
    """Return silences, the one that ends last first; those that have ended, too, if asked for."""
    since = "" if ended else " AND ends_at > ?"
    values = (model,) if ended else (model, now)
    return records.select("silences", f"model = ?{since}", *values, order="ends_at DESC, id DESC")


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


def live_deployments(records: Records, model: str) -> list[Row]:
    """Return the live versions beside the champion, by name."""
    return records.select("deployments", "model = ? AND status = 'live'", model, order="name")


def is_unsettled(records: Records, model: str) -> bool:
    """Return whether a killed process left a move of an alias unfinished."""
    half = records.select("deployments", "model = ? AND status IN ('pending', 'stopping')", model, limit=1)
    return bool(half or records.select("promotions", "model = ? AND status = 'pending'", model, limit=1))


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
