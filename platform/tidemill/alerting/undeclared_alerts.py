"""Resolves alerts about what no monitor watches any more: no run would. Imports no engine."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from tidemill.alerting.alert_states import record_step
from tidemill.monitoring.findings import NO_RUN
from tidemill.monitoring.monitor_config import Monitor
from tidemill.state import State
from tidemill.state.alert_queries import EXTERNAL
from tidemill.state.tables import Alert

__all__ = ["resolve_undeclared"]

_BY = "monitoring/monitors.yaml"


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
