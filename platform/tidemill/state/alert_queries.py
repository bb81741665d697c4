"""Queries of the records about alerts, for reading commands, pages and notifications."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypedDict

from tidemill.errors import AlertNotFound
from tidemill.state.record_reader import Records, Row

__all__ = [
    "EXTERNAL",
    "FAULT_KINDS",
    "FLAP_RUNS",
    "AlertRecords",
    "alarming_runs",
    "alert_records",
    "alerts",
    "names_faults",
    "noise_marks",
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
    decisions: Sequence[Row] = ()
    """What policies decided about it, the latest first."""


EXTERNAL = "external"
"""The kind of alerts that something else raised, and the verdict of their runs."""
FAULT_KINDS = ("feature_drift", "slice_drift", "feature_skew", "data_quality", "staleness")
"""The kinds that may name values which are broken at their source."""
_FAULTS = 20
_RUNS = 30
_DECISIONS = 20
_CHANGES = 20
"""Of each kind of change before an alert, so many are read."""
_MARKS, _ALARMS = 20, 10
"""So many marks of noise count, the last ones; what they mark is one of so many alarms before each."""
FLAP_RUNS = 8
"""In how many runs of a monitor it is counted how often the same thing began to fire."""


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
        _decisions(records, alert),
    )


def _decisions(records: Records, alert: Row) -> list[Row]:
    of = "model = ? AND last_at >= ? AND alert_id = ?", alert.model, alert.raised_at, alert.id
    return records.select("policy_decisions", *of, order="last_at DESC, id DESC", limit=_DECISIONS)


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
