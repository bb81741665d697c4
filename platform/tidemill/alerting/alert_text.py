"""Says what a message about alerts says. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tidemill.alerting.alert_evidence import RETRAINED_FOR, next_commands
from tidemill.state.alert_queries import EXTERNAL

__all__ = ["AlertText", "body_of", "title_of_message"]

_NAMED = 5


@dataclass(frozen=True)
class AlertText:
    """What a message says of one alert."""

    id: str
    model: str
    version: str
    monitor: str
    kind: str
    severity: str
    message: str
    status: str
    step: str
    """Why it is told: ``firing``, ``repeat``, ``escalation`` or ``resolved``."""
    fired_at: datetime
    resolved_at: datetime | None
    at: datetime
    """When it was decided to tell it."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """All of its labels; those of an alert from elsewhere are beside our own."""
    faults: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Open alerts about values that are broken at their source, and the features that they name."""


def title_of_message(alerts: Sequence[AlertText]) -> str:
    """Return one line: how many fire, how many are over, and of what kinds; what came from elsewhere by name.

    >>> from dataclasses import replace
    >>> from datetime import UTC
    >>> day = datetime(2013, 4, 1, tzinfo=UTC)
    >>> about = "delay", "3", "weekly", "quality", "warning", "AUC fell"
    >>> one = AlertText("alert_1", *about, "firing", "firing", day, None, day)
    >>> title_of_message([one])
    '[firing 1] delay: quality'
    >>> title_of_message([replace(one, kind="external", monitor="alertmanager/RedisDown")])
    '[firing 1] delay: RedisDown'
    """
    over = sum(each.status == "resolved" for each in alerts)
    counts = [f"firing {len(alerts) - over}"] * (over < len(alerts)) + [f"resolved {over}"] * (over > 0)
    models = ", ".join(dict.fromkeys(each.model for each in alerts))
    names = (each.monitor.partition("/")[2] if each.kind == EXTERNAL else each.kind for each in alerts)
    return f"[{', '.join(counts)}] {models}: {', '.join(dict.fromkeys(names))}"


def body_of(alerts: Sequence[AlertText]) -> str:
    """Return a paragraph for each alert, with the commands to type next."""
    return "\n\n".join(map(_paragraph, alerts))


def _paragraph(alert: AlertText) -> str:
    about = f"{alert.kind} ({alert.severity}), monitor {alert.monitor}, version {alert.version}"
    since = f"firing since {alert.fired_at:%Y-%m-%d %H:%M} UTC"
    why = {
        "repeat": ", and nobody has acknowledged it",
        "escalation": ", escalated: nobody has acknowledged it",
    }
    if alert.status == "resolved":
        end = f"resolved at {alert.resolved_at:%Y-%m-%d %H:%M} UTC"
        return f"{about}\n{alert.message}\n{end}, {since}\ntidemill alerts show {alert.id}"
    commands = [f"tidemill alerts show {alert.id}"]
    commands += next_commands(alert.kind, alert.id, alert.monitor, alert.status, (), tuple(alert.faults))
    return "\n".join([about, alert.message, *_broken(alert), since + why.get(alert.step, ""), *commands])


def _broken(alert: AlertText) -> list[str]:
    """Return the line that says why no retraining is proposed, if something is broken."""
    if not alert.faults or alert.kind not in RETRAINED_FOR:
        return []
    names = list(dict.fromkeys(name for each in alert.faults.values() for name in each))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return [f"broken at the source, mend it before you retrain: {', '.join(names[:_NAMED])}{more}"]
