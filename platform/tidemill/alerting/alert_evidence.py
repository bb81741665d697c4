"""Gathers what a person needs to know about an alert from its records. Imports no engine."""

from collections.abc import Mapping, Sequence
from typing import Any

from tidemill.monitoring.measured_figures import measured
from tidemill.state.record_queries import AlertRecords

__all__ = ["describe", "next_commands"]

_FEATURES = 5
_CHANGES = 4


def describe(records: AlertRecords) -> dict[str, Any]:
    """Return the facts of an alert, as JSON values and moments.

    They are: what it is, its windows, the figures of the run that found it last, the features that have moved
    most, example predictions, what changed before it, its steps, what was sent about it, and the commands to
    type next.
    """
    alert, run = records.alert, records.last_run
    examples = (run.results.get("examples") or {}).get(alert.kind, [])
    columns = ("id", "status", "severity", "kind", "monitor", "model", "version", "message", "details")
    times = ("raised_at", "fired_at", "last_seen_at", "acknowledged_at", "resolved_at")
    counts = ("found_in", "occurrence", "acknowledged_by")
    return {
        **{name: getattr(alert, name) for name in (*columns, *times, *counts)},
        "first_window": [records.first_run.window_start, records.first_run.window_end],
        "last_window": [run.window_start, run.window_end],
        "rows": run.rows,
        "labelled": run.labelled,
        "measured": measured(run.results),
        "features": _features(alert.kind, run.results),
        "examples": list(examples),
        "report": run.report_path,
        "changes": _changes(records),
        "steps": [
            {"step": each.step, "at": each.at, "person": each.person, "comment": each.comment}
            for each in records.steps
        ],
        "notifications": [
            {
                name: getattr(each, name)
                for name in ("receiver", "step", "status", "reason", "at", "attempts", "error", "sent_at")
            }
            for each in records.notifications
        ],
        "next": next_commands(alert.kind, alert.id, alert.monitor, alert.status, examples),
    }


def _features(kind: str, results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the figures of the features that have moved most, or that were served otherwise."""
    if kind == "feature_skew":
        skewed = (results.get("feature_skew") or {}).get("features", ())
        return [dict(each) for each in skewed if isinstance(each, Mapping)][:_FEATURES]
    columns = (results.get("data_drift") or {}).get("columns", ())
    return [dict(each) for each in columns if each["drifted"] or each["broken"]][:_FEATURES]


def _changes(records: AlertRecords) -> list[dict[str, Any]]:
    """Return what changed before the alert, the latest first."""
    turn = records.turn
    found = [
        {
            "at": move.at,
            "what": f"{move.kind}: version {move.to_version} by {move.actor}",
            "why": move.reason,
        }
        for move in records.moves[-_CHANGES:]
    ]
    if turn is not None:
        data = "no data version" if turn.data_revision is None else f"data {turn.data_revision[:12]}"
        found.append(
            {
                "at": turn.as_of,
                "what": f"version {turn.version} trained on {data}, known by then",
                "why": turn.reason,
            }
        )
    return sorted(found, key=lambda each: str(each["at"]), reverse=True)


def next_commands(kind: str, alert: str, monitor: str, status: str, examples: Sequence[str]) -> list[str]:
    """Return what to type next, by what was found.

    >>> next_commands("quality", "alert_1", "weekly", "firing", [])[-1]
    'tidemill retrain --reason "alert_1"'
    """
    found = [f"tidemill alerts ack {alert}"] if status == "firing" else []
    if examples:
        found.append(f"tidemill lineage {examples[0]} --up")
    if kind == "feature_skew":
        return [*found, "tidemill features skew"]
    if kind == "no_run":
        return [*found, f"tidemill monitor run {monitor}", "tidemill status"]
    if kind == "feature_drift":
        return [*found, f"tidemill monitor run {monitor} --report", "tidemill features status"]
    found.append(f"tidemill monitor run {monitor} --report")
    if kind in ("quality", "estimated_quality", "data_drift", "prediction_drift"):
        found.append(f'tidemill retrain --reason "{alert}"')
    return found
