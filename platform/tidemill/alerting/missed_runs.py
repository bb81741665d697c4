"""Raises an alert about a monitor that did not run: no news is not good news. Imports no engine."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tidemill.alerting.alert_states import record_alerts
from tidemill.monitoring.findings import NO_RUN, Finding, Findings
from tidemill.monitoring.monitor import FAILED, MISSED, new_run
from tidemill.monitoring.monitor_config import Monitor
from tidemill.project import Project
from tidemill.state import State
from tidemill.state.tables import Alert, MonitorRun, Promotion

__all__ = ["missed_since", "raise_missed"]


def missed_since(every: timedelta, last: datetime, now: datetime) -> datetime | None:
    """Return since when a monitor has not run, if that is longer than two of its intervals; else None.

    Args:
        every: how often it runs.
        last: when it ran last, or when the version began to serve.
        now: event time.

    >>> from datetime import UTC
    >>> day, last = timedelta(days=1), datetime(2013, 4, 1, tzinfo=UTC)
    >>> missed_since(day, last, last + 2 * day), missed_since(day, last, last + 3 * day) == last
    (None, True)
    """
    return last if now - last > 2 * every else None


def raise_missed(project: Project, state: State, monitors: Sequence[Monitor], now: datetime) -> list[str]:
    """Raise an alert for each monitor that did not run; return their names. A run resolves it.

    It asks the records alone, so it works while the registry or the prediction log cannot be read. Until a
    version was promoted, no monitor is due.

    Args:
        project: the project.
        state: the records.
        monitors: the declared monitors.
        now: event time.
    """
    missed: list[str] = []
    for monitor in monitors:
        with state.transaction() as session:
            serving = _promoted(session, project.model, now)
            if serving is None:
                return missed
            last = _last_run(session, project.model, monitor.name, now) or serving.at
            since = missed_since(monitor.every, last, now)
            if since is None or _is_known(session, project.model, monitor.name, serving.to_version):
                continue
            run = new_run(project, monitor, serving.to_version, now)
            run.verdict, run.results = MISSED, {"error": _said(session, run, since)}
            session.add(run)
            session.flush()
            finding = Finding(NO_RUN, run.results["error"], {"since": since.isoformat()})
            at_once = monitor.model_copy(update={"persistence": 1})
            record_alerts(session, run, Findings((finding,), frozenset(), {}), at_once)
            missed.append(monitor.name)
    return missed


def _promoted(session: Session, model: str, now: datetime) -> Promotion | None:
    of = Promotion.model == model, Promotion.status == "done", Promotion.at <= now
    return session.scalar(
        select(Promotion).where(*of).order_by(Promotion.at.desc(), Promotion.id.desc()).limit(1)
    )


def _last_run(session: Session, model: str, monitor: str, now: datetime) -> datetime | None:
    of = MonitorRun.model == model, MonitorRun.monitor == monitor, MonitorRun.at <= now
    return session.scalar(
        select(func.max(MonitorRun.at)).where(*of, MonitorRun.verdict.not_in((FAILED, MISSED)))
    )


def _is_known(session: Session, model: str, monitor: str, version: str) -> bool:
    of = Alert.model == model, Alert.monitor == monitor, Alert.version == version
    query = select(Alert.id).where(*of, Alert.kind == NO_RUN, Alert.status != "resolved")
    return session.scalar(query.limit(1)) is not None


def _said(session: Session, run: MonitorRun, since: datetime) -> str:
    of = MonitorRun.model == run.model, MonitorRun.monitor == run.monitor, MonitorRun.verdict == FAILED
    failed = session.scalar(
        select(MonitorRun).where(*of, MonitorRun.at > since).order_by(MonitorRun.at.desc()).limit(1)
    )
    why = f"; it failed: {failed.results['error']}" if failed is not None else ""
    return f"monitor {run.monitor} has not run since {since:%Y-%m-%d %H:%M} UTC{why}"
