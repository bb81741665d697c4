"""Records what is to be sent about alerts, sends it, and records what became of it.

What is due is written in one transaction before anything is sent. Each attempt is written, too, before it is
made, with the moment of the next one: two controllers do not make the same attempt, and after a kill the next
start makes it again. So a message is sent at least once; a second time only if a process was killed between
sending it and recording that, or if the receiver took it and did not say so.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session, aliased

from tidemill.alerting.alert_evidence import named_faults
from tidemill.alerting.alert_text import AlertText
from tidemill.alerting.label_matchers import labels_of
from tidemill.alerting.notification_rules import (
    SilenceFact,
    Told,
    alert_state,
    decide_messages,
    stopped_messages,
)
from tidemill.alerting.routes import Receiver, Routes
from tidemill.errors import TidemillError
from tidemill.ids import new_id
from tidemill.state import State
from tidemill.state.alert_queries import EXTERNAL, FAULT_KINDS, FLAP_RUNS, names_faults
from tidemill.state.tables import Alert, AlertStep, MonitorRun, Notification, Silence

__all__ = ["GIVE_UP_AFTER", "Attempt", "Send", "decide_due", "deliver_due", "notify"]

Send = Callable[[Receiver, Sequence[AlertText]], None]
"""Sends one message about alerts; raises `NotDelivered`."""
GIVE_UP_AFTER = timedelta(days=1)
_LEAST_ATTEMPTS = 10
"""A clock that jumps, or a machine that slept, gives nothing up."""
_FIRST_WAIT, _LONGEST_WAIT = timedelta(minutes=1), timedelta(minutes=15)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempt:
    """What became of an attempt to send a message."""

    receiver: str
    alerts: tuple[str, ...]
    error: str | None


def notify(state: State, model: str, routes: Routes, now: datetime, send: Send) -> list[Attempt]:
    """Record what is due at ``now``, and send what is due and what waits for another attempt."""
    decide_due(state, model, routes, now)
    return deliver_due(state, model, routes, now, send)


def decide_due(state: State, model: str, routes: Routes, now: datetime) -> int:
    """Record what is due at ``now`` and what is withheld, in one transaction; return how many.

    What waits for another attempt is withheld, too, if something stops it by now.
    """
    with state.transaction() as session:
        alerts = session.scalars(select(Alert).where(Alert.model == model, _open_end())).all()
        ids = [each.id for each in alerts]
        about = select(Notification).where(Notification.alert_id.in_(ids)).order_by(Notification.id)
        notes = {each.id: each for each in session.scalars(about)}
        silences = session.scalars(select(Silence).where(Silence.model == model, Silence.ends_at > now))
        states = [alert_state(each, _times_fired(session, each)) for each in alerts]
        quiet = list(map(_silence, silences))
        stopped = stopped_messages(states, list(map(_told, notes.values())), quiet, routes, now)
        for name, why in stopped.items():
            notes[name].status, notes[name].reason = "withheld", why
        messages = decide_messages(states, list(map(_told, notes.values())), quiet, routes, now)
        for each in messages:
            session.add(
                Notification(
                    id=new_id("note"),
                    alert_id=each.alert_id,
                    model=model,
                    occurrence=each.occurrence,
                    receiver=each.receiver,
                    step=each.step,
                    group_key=each.group_key,
                    status="due" if each.withheld is None else "withheld",
                    reason=each.withheld,
                    at=now,
                    attempts=0,
                    next_at=now,
                )
            )
    return len(messages)


def _times_fired(session: Session, alert: Alert) -> int:
    """Return how often the same thing began to fire in the last runs of its monitor."""
    if alert.kind == EXTERNAL:
        return 1  # whoever raises it damps it
    of = MonitorRun.model == alert.model, MonitorRun.monitor == alert.monitor, MonitorRun.verdict != "failed"
    last = select(MonitorRun.at).where(*of).order_by(MonitorRun.at.desc()).limit(FLAP_RUNS).subquery()
    since = session.scalar(select(func.min(last.c.at)))
    if since is None:
        return 1
    same = Alert.model == alert.model, Alert.monitor == alert.monitor
    about = Alert.version == alert.version, Alert.kind == alert.kind, AlertStep.at >= since
    fired = select(func.count(AlertStep.id)).join(Alert, Alert.id == AlertStep.alert_id)
    fired = fired.where(*same, *about, AlertStep.step.in_(("firing", "reopened")))
    return session.scalar(fired) or 0


def _open_end() -> ColumnElement[bool]:
    """Return the condition that an alert fires, or was told and its end was not."""
    end = aliased(Notification)
    same = end.alert_id == Notification.alert_id, end.receiver == Notification.receiver
    later = end.step == "resolved", end.status != "withheld", end.occurrence >= Notification.occurrence
    told = select(Notification.id).where(Notification.alert_id == Alert.id, Notification.step != "resolved")
    told = told.where(Notification.status.in_(("due", "sent")), ~select(end.id).where(*same, *later).exists())
    over = (Alert.status == "resolved") & told.exists()
    return or_(Alert.status.in_(("firing", "acknowledged")), over)


def deliver_due(state: State, model: str, routes: Routes, now: datetime, send: Send) -> list[Attempt]:
    """Send what is due, one message for each receiver and group; record each attempt before and after it.

    What a receiver does not take is tried again, after 1, 2, 4, 8 minutes and then every 15, for a day.
    """
    attempts = []
    for key in _groups(state, model, now):
        notes, texts = _claim(state, model, key, now)
        receiver = routes.receiver(key[0])
        error: str | None = None
        try:
            if receiver is None:
                error = "monitoring/routes.yaml has no such receiver any more"
            elif texts:
                send(receiver, texts)
        except TidemillError as problem:
            error = str(problem)
        except Exception as problem:  # noqa: BLE001 - on record; its message may have the address
            error = type(problem).__name__
        _settle(state, notes, error, now)
        if error is not None:
            log.warning("a message to %s was not sent: %s", key[0], error)
        attempts.append(Attempt(key[0], tuple(each.id for each in texts), error))
    return attempts


def _due(model: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    # A moment far ahead was written before the clock went back.
    ready = or_(Notification.next_at <= now, Notification.next_at > now + _LONGEST_WAIT)
    return Notification.model == model, Notification.status == "due", ready


def _groups(state: State, model: str, now: datetime) -> list[tuple[str, str]]:
    with state.transaction() as session:
        found = session.scalars(select(Notification).where(*_due(model, now)).order_by(Notification.id))
        return list(dict.fromkeys((each.receiver, each.group_key) for each in found))


def _claim(
    state: State, model: str, key: tuple[str, str], now: datetime
) -> tuple[list[str], list[AlertText]]:
    """Record an attempt, and when the next one would be; return its notifications and what they say."""
    with state.transaction() as session:
        query = select(Notification, Alert).join(Alert, Alert.id == Notification.alert_id)
        about = Notification.receiver == key[0], Notification.group_key == key[1]
        rows = session.execute(query.where(*_due(model, now), *about).order_by(Notification.id)).all()
        over = [alert.id for _, alert in rows if alert.status == "resolved"]
        # What a receiver did not take before an alert was over says the same now: it goes along, and once.
        along = Notification.receiver == key[0], Notification.status == "due", Alert.id.in_(over)
        others = Notification.id.not_in([note.id for note, _ in rows])
        rows = [*rows, *session.execute(query.where(*along, others).order_by(Notification.id))]
        texts, faults = dict[str, AlertText](), _faults(session, model)
        for note, alert in rows:
            note.next_at = now + min(_FIRST_WAIT * 2 ** min(note.attempts, 10), _LONGEST_WAIT)
            note.attempts += 1
            texts[alert.id] = _text(alert, note, faults)
        return [note.id for note, _ in rows], list(texts.values())


def _settle(state: State, notes: Sequence[str], error: str | None, now: datetime) -> None:
    open_ends = ("due", "withheld") if error is None else ("due",)  # what stops it may come while it is sent
    with state.transaction() as session:
        for each in session.scalars(
            select(Notification).where(Notification.id.in_(notes), Notification.status.in_(open_ends))
        ):
            if error is None:
                each.status, each.sent_at, each.error, each.reason = "sent", now, None, None
            else:
                each.error = error
                if now - each.at >= GIVE_UP_AFTER and each.attempts >= _LEAST_ATTEMPTS:
                    each.status = "failed"


def _faults(session: Session, model: str) -> dict[str, list[str]]:
    """Return the open alerts about values that are broken at their source, and what they name."""
    of = Alert.model == model, Alert.kind.in_(FAULT_KINDS), Alert.status.in_(("firing", "acknowledged"))
    found = session.scalars(select(Alert).where(*of).order_by(Alert.raised_at.desc(), Alert.id.desc()))
    return {each.id: named_faults(each.details) for each in found if names_faults(each.kind, each.details)}


def _text(alert: Alert, note: Notification, faults: Mapping[str, Sequence[str]]) -> AlertText:
    return AlertText(
        id=alert.id,
        model=alert.model,
        version=alert.version,
        monitor=alert.monitor,
        kind=alert.kind,
        severity=alert.severity,
        message=alert.message,
        status=alert.status,
        step=note.step,
        fired_at=alert.fired_at or alert.raised_at,
        resolved_at=alert.resolved_at,
        at=note.at,
        labels=labels_of(alert),
        faults=faults,
    )


def _told(note: Notification) -> Told:
    facts = note.receiver, note.step, note.status, note.reason, note.sent_at or note.at
    return Told(note.alert_id, note.occurrence, *facts, note.id)


def _silence(row: Silence) -> SilenceFact:
    return SilenceFact(row.id, row.matchers, row.author, row.reason, row.starts_at, row.ends_at)
