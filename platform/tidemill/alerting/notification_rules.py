"""Decides what is to be sent about alerts, to whom, and what is withheld and why. Pure.

An alert that fires is told to the receivers of its route at once (``firing``), again after ``repeat_every``
(``repeat``, with others of its group), to those of an escalation when its time has come since it was first
told (``escalation``), and when it is over (``resolved``). What a silence, a mute time, an inhibition or an
acknowledgement stops is withheld; it is due again as soon as that ends, because it has not been sent. So is
what an alert does that comes and goes: the third time within the last runs of its monitor is the last that is
told, until it stays or stays away. What came from Alertmanager is not sent to one: it is told there already.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from tidemill.alerting.label_matchers import Matchers, labels_of, matches
from tidemill.alerting.routes import Receiver, Route, Routes
from tidemill.state.alert_queries import EXTERNAL, FLAP_RUNS
from tidemill.state.external_alerts import ALERTMANAGER

__all__ = [
    "CAME_FROM_THERE",
    "FLAPS",
    "FLAPS_FROM",
    "NO_ROUTE",
    "AlertState",
    "Message",
    "SilenceFact",
    "Step",
    "Told",
    "alert_state",
    "came_from_there",
    "decide_messages",
    "route_of",
    "stopped_messages",
    "withheld_by",
]

Step = Literal["firing", "repeat", "escalation", "resolved"]
FLAPS_FROM = 3
"""An alert that began to fire so often in the last runs of its monitor comes and goes."""
FLAPS = f"it comes and goes: it fired {FLAPS_FROM} times or more in the last {FLAP_RUNS} runs of its monitor"
_REPEATED = "repeat", None
NO_ROUTE = "no route of monitoring/routes.yaml leads to a receiver"
CAME_FROM_THERE = "it came from Alertmanager, which tells it itself"


@dataclass(frozen=True)
class AlertState:
    """An alert that has fired."""

    id: str
    labels: Mapping[str, str]
    status: str
    occurrence: int
    fired_at: datetime
    acknowledged_by: str | None = None
    times: int = 1
    """How often the same thing began to fire in the last runs of its monitor."""


@dataclass(frozen=True)
class Told:
    """What was sent or withheld before."""

    alert_id: str
    occurrence: int
    receiver: str
    step: str
    status: str
    reason: str | None
    at: datetime
    """When it was sent; before that, and where it was withheld, when that was decided."""
    id: str = ""


@dataclass(frozen=True)
class SilenceFact:
    """A silence."""

    id: str
    matchers: Matchers
    author: str
    reason: str
    starts_at: datetime
    ends_at: datetime

    def covers(self, labels: Mapping[str, str], now: datetime) -> bool:
        """Return whether it is in force and matches."""
        return self.starts_at <= now < self.ends_at and matches(self.matchers, labels)


@dataclass(frozen=True)
class Message:
    """Something to be sent about an alert; or not, and why."""

    alert_id: str
    occurrence: int
    receiver: str
    step: Step
    group_key: str
    withheld: str | None


def decide_messages(
    alerts: Sequence[AlertState],
    told: Sequence[Told],
    silences: Sequence[SilenceFact],
    routes: Routes,
    now: datetime,
) -> list[Message]:
    """Decide what is due at ``now``; what is withheld for the same reason as before is not repeated.

    Args:
        alerts: those that fire or are acknowledged, and those resolved whose end was not told yet.
        told: what was sent about them or withheld, in order.
        silences: all that may be in force.
        routes: who is told.
        now: event time.
    """
    found: list[Message] = []
    early: list[Message] = []
    for alert in alerts:
        every = [each for each in told if each.alert_id == alert.id]
        before = [each for each in every if each.occurrence == alert.occurrence]
        route = route_of(alert.labels, routes)
        group = ",".join(f"{name}={alert.labels.get(name, '')}" for name in (route.group_by if route else ()))
        wanted = _ends(every) if alert.status == "resolved" else _wanted(alert, before, route, now)
        for receiver, step, is_due in wanted:
            why: str | None = NO_ROUTE
            if route is not None and receiver:
                back = None if step == "resolved" else came_from_there(alert, routes.receiver(receiver))
                why = back or withheld_by(alert, step, alerts, silences, route, routes, now)
            last = [each for each in before if (each.receiver, each.step) == (receiver, step)][-1:]
            if why is not None and any((each.status, each.reason) == ("withheld", why) for each in last):
                continue
            message = Message(alert.id, alert.occurrence, receiver, step, group, why)
            (found if is_due else early).append(message)
    repeated = {(each.receiver, each.group_key) for each in found if (each.step, each.withheld) == _REPEATED}
    return found + [
        each for each in early if each.withheld is None and (each.receiver, each.group_key) in repeated
    ]


def stopped_messages(
    alerts: Sequence[AlertState],
    told: Sequence[Told],
    silences: Sequence[SilenceFact],
    routes: Routes,
    now: datetime,
) -> dict[str, str]:
    """Return why messages that wait for another attempt are not to be sent at ``now``, by their ids.

    Their alert was acknowledged or silenced since they were due, say. They are due again when that ends.
    """
    firing = {(each.id, each.occurrence): each for each in alerts if each.status != "resolved"}
    found: dict[str, str] = {}
    for each in told:
        alert = firing.get((each.alert_id, each.occurrence)) if each.status == "due" else None
        route = None if alert is None else route_of(alert.labels, routes)
        if alert is None or route is None:
            continue
        back = came_from_there(alert, routes.receiver(each.receiver))
        if why := back or withheld_by(alert, "firing", alerts, silences, route, routes, now):
            found[each.id] = why
    return found


def came_from_there(alert: AlertState, receiver: Receiver | None) -> str | None:
    """Return that an alert came from Alertmanager, if the receiver is one; else None."""
    told = alert.labels["kind"] == EXTERNAL and alert.labels["monitor"].startswith(f"{ALERTMANAGER}/")
    return CAME_FROM_THERE if told and receiver is not None and receiver.kind == ALERTMANAGER else None


def route_of(labels: Mapping[str, str], routes: Routes) -> Route | None:
    """Return the first route that matches, or None."""
    return next((each for each in routes.routes if matches(each.match, labels)), None)


def _wanted(
    alert: AlertState, before: Sequence[Told], route: Route | None, now: datetime
) -> Iterator[tuple[str, Step, bool]]:
    """Yield receivers and steps that are due unless something stops them, and whether they are due already.

    What is not is a repeat that comes along with one of its group: it is due in half of its interval or less.
    """
    delivered = [each for each in before if each.status != "withheld"]
    if route is None or not route.receivers:
        yield "", "firing", True
        return
    for receiver in dict.fromkeys(route.receivers):
        own = [each for each in delivered if each.receiver == receiver and each.step in ("firing", "repeat")]
        if not own:
            yield receiver, "firing", True
        elif own[-1].status != "due" and (since := abs(now - own[-1].at)) >= route.repeat_every / 2:
            yield receiver, "repeat", since >= route.repeat_every  # also if the clock went back by as much
    escalated = {each.receiver for each in delivered if each.step == "escalation"}
    told = [each for each in before if each.status != "withheld" or each.reason == CAME_FROM_THERE]
    first = min((each.at for each in told if each.step == "firing"), default=None)
    if first is None:
        return  # nobody could acknowledge it yet
    told_at = first if alert.fired_at <= first <= now else alert.fired_at
    for each in route.escalate:
        if told_at + each.after <= now:
            yield from ((name, "escalation", True) for name in each.receivers if name not in escalated)


def _ends(told: Sequence[Told]) -> Iterator[tuple[str, Step, bool]]:
    """Yield the receivers that know an alert and not its end, which may have been withheld."""
    knowing, done = dict[str, int](), dict[str, int]()
    for each in told:
        if each.status != "withheld" and (each.step == "resolved" or each.status != "failed"):
            known = done if each.step == "resolved" else knowing
            known[each.receiver] = max(each.occurrence, known.get(each.receiver, 0))
    yield from ((name, "resolved", True) for name, since in knowing.items() if since > done.get(name, 0))


def withheld_by(
    alert: AlertState,
    step: Step,
    alerts: Sequence[AlertState],
    silences: Sequence[SilenceFact],
    route: Route,
    routes: Routes,
    now: datetime,
) -> str | None:
    """Return why nothing is sent about an alert at ``now``, or None."""
    for silence in silences:
        if silence.covers(alert.labels, now):
            until = f"{silence.ends_at:%Y-%m-%d %H:%M}"
            return f"silenced by {silence.author} until {until} ({silence.id}): {silence.reason}"
    flaps = alert.times >= FLAPS_FROM if step == "resolved" else alert.times > FLAPS_FROM
    if step == "resolved":
        muted, twin = routes.muted_by(route, now), _fires_as(alert, alerts)
        if flaps or twin is not None:
            return FLAPS if twin is None else f"the same fires in {twin.id}"
        return None if muted is None else f"mute time {muted!r}"
    if alert.status == "acknowledged":
        return f"acknowledged by {alert.acknowledged_by}"
    if (cause := _inhibited_by(alert, alerts, routes)) is not None:
        return f"inhibited by {cause.id} ({cause.labels['kind']})"
    if flaps:
        return FLAPS
    muted = routes.muted_by(route, now)
    return None if muted is None else f"mute time {muted!r}"


def _fires_as(alert: AlertState, alerts: Sequence[AlertState]) -> AlertState | None:
    """Return another alert about the same that fires, or None: a receiver may know alerts by labels only."""
    apart = {"severity"}  # the last run's, not what the alert is about
    about = {name: label for name, label in alert.labels.items() if name not in apart}
    for other in alerts:
        alike = {name: label for name, label in other.labels.items() if name not in apart} == about
        if alike and other.id != alert.id and other.status != "resolved":
            return other
    return None


def _inhibited_by(alert: AlertState, alerts: Sequence[AlertState], routes: Routes) -> AlertState | None:
    """Return the alert that explains another one, which does not match ``when`` itself; or None."""
    for rule in routes.inhibit:
        if not matches(rule.mute, alert.labels) or matches(rule.when, alert.labels):
            continue
        for other in alerts:
            alike = all(
                name in alert.labels and alert.labels[name] == other.labels.get(name) for name in rule.same
            )
            if alike and other.status != "resolved" and matches(rule.when, other.labels):
                return other
    return None


def alert_state(alert: Any, times: int = 1) -> AlertState:
    """Return the facts of a record of an alert that has fired, ``times`` in the last runs of its monitor."""
    facts = alert.status, alert.occurrence, alert.fired_at, alert.acknowledged_by, times
    return AlertState(alert.id, labels_of(alert), *facts)
