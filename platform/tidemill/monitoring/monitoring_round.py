"""Evaluates all monitors, or those that are due; a failure is recorded and does not stop the others."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

import polars as pl
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tidemill.clock import utc
from tidemill.errors import MonitoringError, TidemillError
from tidemill.monitoring.findings import Findings
from tidemill.monitoring.monitor import (
    FAILED,
    MISSED,
    RecordAlerts,
    evaluate,
    forget_failures,
    new_run,
    nothing_serves,
)
from tidemill.monitoring.monitor_config import Monitor, load_monitors
from tidemill.monitoring.noise_feedback import with_noise
from tidemill.monitoring.windows.time_windows import due_at
from tidemill.project import Project
from tidemill.registry.versions.model_versions import champion_version
from tidemill.state import State
from tidemill.state.claims import claimed
from tidemill.state.tables import MonitorRun

__all__ = ["evaluate_all", "run_due"]

log = logging.getLogger(__name__)


def evaluate_all(
    project: Project,
    state: State,
    due: Sequence[tuple[Monitor, datetime]],
    record_alerts: RecordAlerts,
    with_report: bool = False,
    listen: Callable[[MonitorRun], None] | None = None,
    version: str | None = None,
) -> list[MonitorRun]:
    """Evaluate monitors, each for its moment; a failure is recorded, and the other monitors run.

    Args:
        project: the project with the champion and the prediction log.
        state: the records, to which runs and alerts are written.
        due: the monitors, and the end of the window of each.
        record_alerts: as of `monitor.evaluate`.
        with_report: whether to make reports even if nothing is alarming.
        listen: called with each run.
        version: the one to judge; default: the champion.

    Raises:
        MonitoringError: no version serves.
    """
    runs: list[MonitorRun] = []
    if not due:
        return runs
    serving = version or champion_version(project)
    if serving is None:
        raise nothing_serves(project)
    for monitor, now in due:
        try:
            judging = with_noise(state, project.model, monitor, utc(now))
            run = evaluate(project, state, judging, now, record_alerts, with_report, version)
        except _Busy:
            raise  # another process has taken over, and records the run
        except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001 - on record, and logged
            run = _record_failure(state, new_run(project, monitor, serving, utc(now)), error)
        runs.append(run)
        if listen is not None:
            listen(run)
    return runs


def run_due(project: Project, state: State, now: datetime, record_alerts: RecordAlerts) -> list[MonitorRun]:
    """Evaluate every monitor that is due at ``now``, each for the moment at which it became due.

    A monitor that fails is recorded, stays due, and does not stop the others. While no version serves, no
    monitor is due. While another process does the same, on whichever machine, it is left to that: each window
    has one run.

    Raises:
        ConfigError: ``monitoring/monitors.yaml`` is wrong.
    """
    if not _due(project, state, now):
        return []
    lock = project.home / "monitors.lock"
    try:
        with claimed(state, lock, project.model, "monitors", _Busy) as claim:

            def record(session: Session, run: MonitorRun, findings: Findings, monitor: Monitor) -> object:
                claim.check(session)
                return record_alerts(session, run, findings, monitor)

            return evaluate_all(project, state, _due(project, state, now), record)
    except _Busy as busy:
        log.info("the monitors that are due are left to another process: %s", busy)
        return []


class _Busy(MonitoringError):
    """Another process evaluates the monitors that are due."""


def _due(project: Project, state: State, now: datetime) -> list[tuple[Monitor, datetime]]:
    """Return the monitors that are due, and the moment at which each became so."""
    monitors = load_monitors(project)
    if not monitors or champion_version(project) is None:
        return []
    due = []
    for monitor in monitors:
        moment = due_at(monitor.every, _last_run_at(state, project.model, monitor.name, now), now)
        if moment is not None:
            due.append((monitor, moment))
    return due


def _record_failure(state: State, run: MonitorRun, error: BaseException) -> MonitorRun:
    """Record that a monitor failed; its alerts do not change."""
    ours = isinstance(error, TidemillError)
    message = str(error) if ours else f"{type(error).__name__}: {error}"
    log.warning("monitor %s failed: %s", run.monitor, message, exc_info=None if ours else error)
    run.verdict = FAILED
    run.results = {"error": message, "hint": error.hint if isinstance(error, TidemillError) else None}
    with state.transaction() as session:
        forget_failures(session, run)
        session.add(run)
    return run


def _last_run_at(state: State, model: str, monitor: str, now: datetime) -> datetime | None:
    query = select(func.max(MonitorRun.at)).where(
        MonitorRun.model == model,
        MonitorRun.monitor == monitor,
        MonitorRun.at <= now,
        MonitorRun.verdict.not_in((FAILED, MISSED)),
    )
    with state.transaction() as session:
        return session.scalar(query)
