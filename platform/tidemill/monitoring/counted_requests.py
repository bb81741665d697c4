"""Counts the requests since a monitor's last run that got no predictions, which are not in the log."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import select

from tidemill.monitoring.findings import Finding, Findings
from tidemill.monitoring.kinds.health import judge_requests
from tidemill.monitoring.monitor_config import Monitor
from tidemill.project import Project
from tidemill.serving.observability.request_counts import RequestCounts, counted_since, read_request_counts
from tidemill.state import State
from tidemill.state.tables import MonitorRun

__all__ = ["count_requests", "judge_without_rows"]

_COUNTS = "request_counts"
_JUDGED = ("ok", "alert", "too_few")


def count_requests(
    project: Project, state: State, monitor: Monitor, now: datetime
) -> tuple[RequestCounts | None, dict[str, Any]]:
    """Return the requests since the monitor's last run before ``now``, and what its results are to keep.

    Replicas that have ended since then count. None: no replica has run, or the monitor does not watch
    ``health``. Of the first run, what living ones have counted since they started.
    """
    if monitor.health is None:
        return None, {}
    counts = read_request_counts(project.home)
    of = MonitorRun.model == project.model, MonitorRun.monitor == monitor.name
    query = select(MonitorRun.results).where(*of, MonitorRun.at < now, MonitorRun.verdict.in_(_JUDGED))
    with state.transaction() as session:
        last = session.scalar(query.order_by(MonitorRun.at.desc(), MonitorRun.id.desc()).limit(1))
    known = (last or {}).get(_COUNTS)
    before = {name: RequestCounts(**each) for name, each in (known or {}).items()}
    kept = {_COUNTS: {name: asdict(each) for name, each in counts.items()}}
    if known is None:
        counts = read_request_counts(project.home, ended=False)
    return counted_since(before, counts) if counts else None, kept


def judge_without_rows(run: MonitorRun, monitor: Monitor, requests: RequestCounts | None) -> Findings:
    """Judge a window of too few predictions by its requests alone: all of them may have been refused."""
    said = None if monitor.health is None else judge_requests(requests, monitor.health)
    if said is None or requests is None:
        return Findings((), frozenset(), {})
    details = {"requests": asdict(requests), "limits": monitor.health.model_dump() if monitor.health else {}}
    run.verdict = "alert"
    run.results = {
        **run.results,
        "health": details,
        "findings": [{"kind": "health", "message": said}],
        "unjudged": {},
    }
    return Findings((Finding("health", said, details),), frozenset({"health"}), {})
