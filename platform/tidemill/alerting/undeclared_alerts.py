"""Resolves alerts that need no action any more, and that no run resolves soon. Imports no engine."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from tidemill.alerting.alert_states import record_step
from tidemill.monitoring.findings import NO_RUN
from tidemill.monitoring.monitor_config import Monitor
from tidemill.state import State
from tidemill.state.alert_queries import EXTERNAL
from tidemill.state.tables import Alert

__all__ = ["resolve_outlived", "resolve_undeclared"]

_BY, _CONTROLLER = "monitoring/monitors.yaml", "controller"


def resolve_undeclared(state: State, model: str, monitors: Sequence[Monitor], now: datetime) -> list[str]:
    """Resolve the alerts of monitors, and of kinds, that are not declared; return their ids.

    Args:
        state: the records.
        model: whose alerts.
        monitors: all that are declared.
        now: event time.
    """
    declared = {monitor.name: monitor for monitor in monitors}
    with state.transaction() as session:
        of = Alert.model == model, Alert.status != "resolved", Alert.kind != EXTERNAL
        done = []
        for alert in session.scalars(select(Alert).where(*of).order_by(Alert.id)):
            why = _why(alert.monitor, alert.kind, declared.get(alert.monitor))
            if why is not None:
                alert.status, alert.resolved_at = "resolved", now
                record_step(session, alert.id, "resolved", now, _BY, why)
                done.append(alert.id)
    return done


def resolve_outlived(state: State, model: str, serving: str | None, now: datetime) -> list[str]:
    """Resolve the alerts about versions that serve no more, and return their ids.

    A monitor's next run would, which may be a week later; until then people would be told of them. That a
    monitor does not run is about no version.

    Args:
        state: the records.
        model: whose alerts.
        serving: the champion; with None nothing is resolved.
        now: event time.
    """
    if serving is None:
        return []
    with state.transaction() as session:
        of = Alert.model == model, Alert.status != "resolved", Alert.kind.not_in((EXTERNAL, NO_RUN))
        past = list(session.scalars(select(Alert).where(*of, Alert.version != serving).order_by(Alert.id)))
        for alert in past:
            alert.status, alert.resolved_at = "resolved", now
            record_step(session, alert.id, "resolved", now, _CONTROLLER, f"version {serving} serves")
        return [alert.id for alert in past]


def _why(name: str, kind: str, monitor: Monitor | None) -> str | None:
    """Return why an alert is about nothing any more, or None.

    >>> weekly = Monitor.model_validate({"name": "weekly", "window": "14d", "every": "7d", "quality": {}})
    >>> _why("weekly", "quality", weekly), _why("weekly", "feature_drift", weekly)
    (None, 'monitor weekly does not watch data_drift any more')
    """
    if monitor is None:
        return f"there is no monitor {name} any more"
    section = "data_drift" if kind == "feature_drift" else kind
    if kind == NO_RUN or getattr(monitor, section) is not None:
        return None
    return f"monitor {name} does not watch {section} any more"
