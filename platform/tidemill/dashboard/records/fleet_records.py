"""Queries of the fleet: each reads what is shown of all models at once, so that a hundred take no longer."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from tidemill.state.alert_queries import EXTERNAL
from tidemill.state.record_reader import Records, Row

__all__ = [
    "champion_moves",
    "last_runs",
    "open_alerts_by_model",
    "replica_counts",
    "replicas_by_model",
    "severities",
]

_OPEN = "status IN ('pending', 'firing', 'acknowledged')"
_MOST = 3000
"""Records of one kind that are read of all models together."""


def last_runs(records: Records, models: Sequence[str]) -> Mapping[str, list[Row]]:
    """Return the last run of each monitor, by model."""
    known = f"(SELECT DISTINCT model, monitor FROM monitor_runs WHERE {_among(models)}) AS known"  # noqa: S608
    of = "later.model = known.model AND later.monitor = known.monitor"
    last = f"SELECT id FROM monitor_runs later WHERE {of} ORDER BY at DESC, id DESC LIMIT 1"  # noqa: S608
    where = f"id IN (SELECT ({last}) FROM {known})"  # noqa: S608
    rows = records.select("monitor_runs", where, *models, order="model, monitor") if models else []
    return _by_model([row for row in rows if row.verdict != EXTERNAL])


def champion_moves(records: Records, models: Sequence[str]) -> Mapping[str, Row]:
    """Return the last move of each model's champion alias."""
    of = "later.model = projects.model AND later.status = 'done'"
    last = f"SELECT id FROM promotions later WHERE {of} ORDER BY requested_at DESC, id DESC LIMIT 1"  # noqa: S608
    where = f"id IN (SELECT ({last}) FROM projects WHERE {_among(models)})"  # noqa: S608
    rows = records.select("promotions", where, *models) if models else []
    return {row.model: row for row in rows}


def open_alerts_by_model(records: Records, models: Sequence[str]) -> Mapping[str, list[Row]]:
    """Return the latest alerts that are not resolved, the latest first."""
    where, order = f"{_among(models)} AND {_OPEN}", "raised_at DESC, id DESC"
    return _by_model(records.select("alerts", where, *models, order=order, limit=_MOST) if models else [])


def severities(records: Records, models: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
    """Return how many alerts are not resolved, by model and severity."""
    where = f"{_among(models)} AND {_OPEN}"
    counted = f"SELECT model, severity, COUNT(*) AS number FROM alerts WHERE {where} GROUP BY model, severity"  # noqa: S608
    found = defaultdict[str, dict[str, int]](dict)
    rows = records.select(f"({counted}) AS counted", "1 = 1", *models, order="model") if models else []
    for row in rows:
        found[row.model][row.severity] = row.number
    return found


def replicas_by_model(records: Records, models: Sequence[str]) -> Mapping[str, list[Row]]:
    """Return the replicas, those with the latest heartbeat first."""
    if not models:
        return {}
    rows = records.select("replicas", _among(models), *models, order="seen_at DESC", limit=_MOST)
    return _by_model(rows)


def replica_counts(records: Records, replicas: Sequence[str]) -> list[Row]:
    """Return the counts of some replicas for each version that answered; shadows do not answer."""
    if not replicas:
        return []
    where = f"replica IN ({', '.join('?' * len(replicas))}) AND role <> 'shadow'"
    return records.select("lane_counts", where, *replicas, order="model")


def _among(models: Sequence[str]) -> str:
    return f"model IN ({', '.join('?' * len(models))})"


def _by_model(rows: Sequence[Row]) -> Mapping[str, list[Row]]:
    found = defaultdict[str, list[Row]](list)
    for row in rows:
        found[row.model].append(row)
    return found
