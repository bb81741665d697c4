"""Collects the facts of a demo from the records and the prediction log."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sqlalchemy import select

from tidemill.demo.scenario import Scenario
from tidemill.demo.test_load import LoadReport
from tidemill.demo.traffic_replay import DayResult
from tidemill.prediction_log.prediction_log import FEATURE_PREFIX, count_log, read_labelled
from tidemill.project import Project
from tidemill.registry.gates.paired_bootstrap import gain_interval
from tidemill.registry.history.serving_history import history
from tidemill.registry.versions.model_versions import list_versions, load_scorer
from tidemill.state import State
from tidemill.state.tables import Alert, GateDecision, MonitorRun, Turn
from tidemill.tasks.binary import Binary
from tidemill.training.tracking.mlflow_tracking import connect
from tidemill.training.tracking.training_record import open_documents, read_summary

__all__ = ["collect"]

_TASK = Binary("roc_auc")
"""That of the reference project."""


def collect(
    project: Project,
    state: State,
    scenario: Scenario,
    days: Sequence[DayResult],
    swaps: Mapping[str, LoadReport],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Return the facts of a demo, ready for JSON."""
    with state.transaction() as session:
        turns = list(session.scalars(select(Turn).order_by(Turn.requested_at)))
        runs = list(session.scalars(select(MonitorRun).order_by(MonitorRun.at)))
        alerts = {alert.id: alert for alert in session.scalars(select(Alert).order_by(Alert.raised_at))}
        decisions = {decision.id: decision for decision in session.scalars(select(GateDecision))}
        by_run = {run.id: run for run in runs}
    end = scenario.later.end if scenario.later else scenario.end
    answered = read_labelled(
        project.predictions, project.model, scenario.start, end, known_by=end + timedelta(days=366)
    )
    return {
        "project": project.config.project.name,
        "model": project.model,
        "workspace": str(project.root),
        "turns": [
            _turn_facts(project, turn, alerts, by_run, decisions, swaps.get(turn.id)) for turn in turns
        ],
        "months": _months(answered, scenario.start),
        "last_month": _last_month(project, state, scenario, answered),
        "versions": [
            {"version": v.version, "aliases": list(v.aliases), "run_id": v.run_id}
            for v in list_versions(project, project.model)
        ],
        "history": [_plain(asdict(service)) for service in history(state, project.model)],
        "monitor_runs": [_monitor_facts(run) for run in runs],
        "alerts": [
            _plain(
                {
                    name: getattr(alert, name)
                    for name in ("id", "kind", "version", "status", "message", "raised_at")
                }
            )
            for alert in alerts.values()
        ],
        "traffic": {
            "sent": sum(day.sent for day in days) + sum(swap.sent for swap in swaps.values()),
            "failed": sum(day.failed for day in days) + sum(swap.failed for swap in swaps.values()),
            "replayed": sum(day.sent for day in days),
            "labels": sum(day.labels for day in days),
            "logged": count_log(project.predictions, project.model).predictions,
            "errors": [
                *(error for day in days for error in day.errors),
                *(error for swap in swaps.values() for error in swap.errors),
            ][:5],
        },
        "seconds": dict(seconds),
    }


def _turn_facts(
    project: Project,
    turn: Turn,
    alerts: Mapping[str, Alert],
    runs: Mapping[str, MonitorRun],
    decisions: Mapping[str, GateDecision],
    swap: LoadReport | None,
) -> dict[str, Any]:
    decision = decisions.get(turn.decision_id or "")
    alert = alerts.get(turn.alert_id or "")
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
        "drift": None if alert is None else runs[alert.monitor_run_id].results,
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


def _months(answered: pl.DataFrame, start: datetime) -> list[dict[str, Any]]:
    """Return the quality of all answers by month, of any version; days begin when the replay's days do."""
    midnight = timedelta(hours=start.hour, minutes=start.minute)
    by_month = answered.with_columns((pl.col("at") - midnight).dt.strftime("%Y-%m").alias("month"))
    return [
        {
            "month": month,
            "labelled": rows.height,
            "versions": sorted(rows["version"].unique(), key=int),
            "metrics": _finite(_TASK.evaluate(rows["label"], rows["score"].to_numpy())),
        }
        for (month,), rows in by_month.group_by("month", maintain_order=True)
    ]


def _last_month(
    project: Project, state: State, scenario: Scenario, answered: pl.DataFrame
) -> dict[str, Any] | None:
    """Compare the first champion with its successors on the last month of the replay.

    All score the same features, as they were served. Served rows are out of sample for the version that
    answered; the last champion is judged only on rows after its training.
    """
    champions = [service for service in history(state, project.model) if service.since < scenario.end]
    begin = max(scenario.start, (scenario.end - timedelta(days=1)).replace(day=1))
    rows = answered.filter(pl.col("at") >= begin, pl.col("at") < scenario.end)
    if not champions or rows.is_empty():
        return None
    first, last = champions[0], champions[-1]
    scores = _scores(project, first.version, rows)
    interval = gain_interval(_TASK, rows["label"], rows["score"].to_numpy(), scores, rows["at"].dt.date())
    fresh = rows.filter(pl.col("at") >= last.since)
    return {
        "from": begin.isoformat(),
        "to": scenario.end.isoformat(),
        "rows": rows.height,
        "first_champion": {
            "version": first.version,
            "metrics": _finite(_TASK.evaluate(rows["label"], scores)),
        },
        "served": {
            "versions": sorted(rows["version"].unique(), key=int),
            "metrics": _finite(_TASK.evaluate(rows["label"], rows["score"].to_numpy())),
            "gain_interval": None if interval is None else [interval.low, interval.high],
        },
        "last_champion": {
            "version": last.version,
            "since": last.since.isoformat(),
            "rows": fresh.height,
            "metrics": _finite(_TASK.evaluate(fresh["label"], _scores(project, last.version, fresh))),
            "first_champion_metrics": _finite(
                _TASK.evaluate(fresh["label"], _scores(project, first.version, fresh))
            ),
        },
    }


def _scores(project: Project, version: str, rows: pl.DataFrame) -> npt.NDArray[np.float64]:
    scorer = load_scorer(project, version)
    features = rows.select(
        pl.col(f"{FEATURE_PREFIX}{name}").cast(pl.Float64).alias(name) for name in scorer.features
    )
    return scorer.predict(features.to_pandas()) if rows.height else np.empty(0)


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
