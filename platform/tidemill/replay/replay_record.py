"""Collects the facts of a replay from the records and the prediction log."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import select

from tidemill.features.project_features import hidden_fields
from tidemill.prediction_log.prediction_log import count_log, features_of, read_labelled
from tidemill.project import Project
from tidemill.registry.history.serving_history import history
from tidemill.registry.versions.model_versions import list_versions, load_scorer
from tidemill.replay.load_generator import LoadReport
from tidemill.replay.replay_periods import Facts, periods
from tidemill.replay.traffic_replay import PlayedSpan
from tidemill.state import State
from tidemill.state.tables import Alert, GateDecision, MonitorRun, Turn
from tidemill.tasks.paired_bootstrap import gain_interval
from tidemill.tasks.task import Task
from tidemill.training.feature_table import as_features
from tidemill.training.tracking.mlflow_tracking import connect
from tidemill.training.tracking.training_record import open_documents, read_summary

__all__ = ["collect"]


def collect(
    project: Project,
    state: State,
    spans: Sequence[PlayedSpan],
    swaps: Mapping[str, LoadReport],
    seconds: Mapping[str, float],
) -> Facts:
    """Return the facts of a replay, ready for JSON."""
    with state.transaction() as session:
        turns = list(session.scalars(select(Turn).order_by(Turn.requested_at)))
        runs = list(session.scalars(select(MonitorRun).order_by(MonitorRun.at)))
        alerts = {alert.id: alert for alert in session.scalars(select(Alert).order_by(Alert.raised_at))}
        decisions = {decision.id: decision for decision in session.scalars(select(GateDecision))}
    answered = _answered(project, spans)
    facts: dict[str, Any] = {
        "project": project.config.project.name,
        "model": project.model,
        "task": project.task.kind,
        "metric": project.task.metric,
        "workspace": str(project.root),
        "turns": [_turn_facts(project, turn, alerts, runs, decisions, swaps.get(turn.id)) for turn in turns],
        "monitor_runs": [_monitor_facts(run) for run in runs],
        "alerts": [_alert_facts(alert) for alert in alerts.values()],
        "gain": _gain(project, state, answered),
        "versions": [
            {"version": v.version, "aliases": list(v.aliases), "run_id": v.run_id}
            for v in list_versions(project, project.model)
        ],
        "history": [_plain(asdict(service)) for service in history(state, project.model)],
        "traffic": _traffic(project, spans, swaps),
        "seconds": dict(seconds),
        "holdout_days": project.config.split.holdout_days if project.config.split.by == "time" else None,
    }
    return {**facts, "periods": periods(project.task, spans, answered, turns, runs, list(alerts.values()))}


def _answered(project: Project, spans: Sequence[PlayedSpan]) -> pl.DataFrame:
    """Return all labelled predictions of the replay, whenever the label came."""
    if not spans:
        return pl.DataFrame()
    start, end = spans[0].begins, spans[-1].ends
    rows = read_labelled(project.predictions, project.model, start, end, known_by=end + timedelta(days=3660))
    return project.task.labelled_in_log(rows)


def _traffic(
    project: Project, spans: Sequence[PlayedSpan], swaps: Mapping[str, LoadReport]
) -> dict[str, Any]:
    errors = [
        *(error for span in spans for error in span.errors),
        *(error for swap in swaps.values() for error in swap.errors),
    ]
    return {
        "sent": sum(span.sent for span in spans) + sum(swap.sent for swap in swaps.values()),
        "failed": sum(span.failed for span in spans) + sum(swap.failed for swap in swaps.values()),
        "replayed": sum(span.sent for span in spans),
        "labels": sum(span.labels for span in spans),
        "logged": count_log(project.predictions, project.model).predictions,
        "errors": errors[:5],
    }


def _turn_facts(
    project: Project,
    turn: Turn,
    alerts: Mapping[str, Alert],
    runs: Sequence[MonitorRun],
    decisions: Mapping[str, GateDecision],
    swap: LoadReport | None,
) -> dict[str, Any]:
    decision = decisions.get(turn.decision_id or "")
    cause = _last_run(runs, alerts.get(turn.alert_id or ""), turn.as_of)
    return {
        "id": turn.id,
        "as_of": turn.as_of.isoformat(),
        "trigger": turn.trigger,
        "reason": turn.reason,
        "by": turn.actor,
        "status": turn.status,
        "error": turn.error,
        "data_revision": turn.data_revision,
        "version": turn.version,
        "training": None if turn.run_id is None else _training_facts(project, turn.run_id),
        "drift": None if cause is None else cause.results,
        "gate": None
        if decision is None
        else {
            "passed": decision.passed,
            "champion": decision.champion,
            "reasons": decision.reasons,
            "numbers": decision.numbers,
        },
        "swap": None if swap is None else _plain(asdict(swap)),
        "seconds": turn.seconds,
    }


def _last_run(runs: Sequence[MonitorRun], alert: Alert | None, moment: datetime) -> MonitorRun | None:
    """Return what the monitor of an alert found last, at ``moment`` or before."""
    found = [run for run in runs if alert is not None and run.monitor == alert.monitor and run.at <= moment]
    return found[-1] if found else None


def _training_facts(project: Project, run_id: str) -> dict[str, Any]:
    client = connect(project)
    tags = client.get_run(run_id).data.tags
    trained = read_summary(run_id, tags, open_documents(client, run_id, tags))
    return {
        "run_id": run_id,
        "trials": trained.trials,
        "failed_trials": trained.failed_trials,
        "family": trained.family,
        "params": dict(trained.params),
        "metrics": _finite(trained.metrics),
    }


def _alert_facts(alert: Alert) -> dict[str, Any]:
    names = ("id", "kind", "version", "status", "message", "raised_at")
    return {name: _plain(getattr(alert, name)) for name in names}


def _monitor_facts(run: MonitorRun) -> dict[str, Any]:
    names = (
        "monitor",
        "version",
        "window_start",
        "window_end",
        "rows",
        "labelled",
        "verdict",
        "results",
        "report_path",
    )
    return {name: _plain(getattr(run, name)) for name in names}


def _gain(project: Project, state: State, answered: pl.DataFrame) -> dict[str, Any] | None:
    """Compare what was served since the second champion took over with the first champion left alone.

    Both score the same features, as they were served, which neither has learnt from. None where nothing can
    be compared: there was one champion, or features that it takes are hidden in the log.
    """
    champions, task = history(state, project.model), project.task
    if len(champions) < 2 or answered.is_empty():
        return None
    first, second = champions[0], champions[1]
    rows = answered.filter(pl.col("at") >= second.since)
    if rows.is_empty():
        return None
    scorer = load_scorer(project, first.version)
    if hidden_fields(project) & set(scorer.features):
        return None
    truth, served = task.truth_of_log(rows), task.given_in_log(rows)
    alone = scorer.predict(as_features(features_of(rows), scorer.features, scorer.lists))
    interval = gain_interval(task, truth, served, alone, rows["at"].dt.date())
    return {
        "since": second.since.isoformat(),
        "rows": rows.height,
        "first_champion": {"version": first.version, "metrics": _metrics(task, truth, alone)},
        "served": {
            "versions": sorted(rows["version"].unique(), key=int),
            "metrics": _metrics(task, truth, served),
            "gain_interval": None if interval is None else [interval.low, interval.high],
        },
    }


def _metrics(task: Task, truth: Any, answers: Any) -> dict[str, float | None]:
    return _finite(task.evaluate(truth, answers))


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Return the metrics, with None for those that are undefined on these rows."""
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def _plain(value: Any) -> Any:
    """Convert datetimes to text, at any depth."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value
