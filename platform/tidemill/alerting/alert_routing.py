"""Explains who is told about an alert now, and who is not and why. Imports no engine."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tidemill.alerting.label_matchers import labels_of
from tidemill.alerting.notification_rules import (
    NO_ROUTE,
    SilenceFact,
    alert_state,
    came_from_there,
    route_of,
    withheld_by,
)
from tidemill.alerting.routes import Routes

__all__ = ["explain"]


def explain(
    alert: Any,
    others: Sequence[Any],
    silences: Sequence[Any],
    notifications: Sequence[Any],
    routes: Routes | None,
    now: datetime,
    times: int = 1,
) -> dict[str, Any]:
    """Return an alert's labels, its route, why nothing is sent now, and all that was sent or withheld.

    Args:
        alert: the record of the alert.
        others: the records of the unresolved alerts of the model.
        silences: the records of its silences.
        notifications: the records of what was sent about the alert or withheld.
        routes: the declared routes; None without the file.
        now: event time.
        times: how often the same thing began to fire in the last runs of its monitor.
    """
    return {
        "id": alert.id,
        "status": alert.status,
        "labels": labels_of(alert),
        **_now(alert, others, silences, routes, now, times),
        "messages": [_message(each) for each in notifications],
    }


def _now(
    alert: Any,
    others: Sequence[Any],
    silences: Sequence[Any],
    routes: Routes | None,
    now: datetime,
    times: int,
) -> dict[str, Any]:
    route = None if routes is None else route_of(labels_of(alert), routes)
    found: dict[str, Any] = {
        "route": None if route is None else dict(route.match),
        "receivers": [] if route is None else list(route.receivers),
    }
    why: str | None = None
    if routes is None:
        why = "nobody is told: the project has no monitoring/routes.yaml, which names who is"
    elif route is None or not route.receivers:
        why = NO_ROUTE
    elif alert.status in ("pending", "resolved"):
        why = f"it is {alert.status}"
    else:
        facts = [alert_state(each) for each in others if each.fired_at is not None]
        known = [
            SilenceFact(each.id, each.matchers, each.author, each.reason, each.starts_at, each.ends_at)
            for each in silences
        ]
        state = alert_state(alert, times)
        back = [came_from_there(state, routes.receiver(name)) for name in route.receivers]
        why = back[0] if all(back) else withheld_by(state, "firing", facts, known, route, routes, now)
    return {**found, "withheld": why}


def _message(sent: Any) -> Mapping[str, Any]:
    names = "receiver", "step", "status", "reason", "at", "attempts", "next_at", "error", "sent_at"
    return {name: getattr(sent, name) for name in names}
