"""Finds what asks for a policy's turn: an alert, labels, age, a schedule, new data. Imports no engine."""

from collections.abc import Sequence
from datetime import datetime

from tidemill.plurals import counted
from tidemill.retraining.policies import Condition, Policy
from tidemill.retraining.policy_facts import DRIFT, AlertFact, Cause, Situation, alert_cause
from tidemill.retraining.triggers.cron import last_moment, next_moment

__all__ = ["causes_of", "lacking", "recent", "too_old", "unheard"]

_EXTERNAL = "external"
"""The kind of alerts that something else told; their monitor is ``<who>/<name>``."""


def causes_of(
    policy: Policy, alerts: Sequence[AlertFact], now: datetime, situation: Situation
) -> tuple[Cause, ...]:
    """Return everything by which a policy asks for a turn, in the order of its conditions.

    What holds one of them may not hold another; conditions of ``all`` are one cause together.
    """
    heard = [
        alert
        for alert in recent(policy, alerts, now)
        if policy.monitors is None or alert.monitor in policy.monitors
    ]
    heard += [alert for alert in recent(policy, alerts, now) if alert.kind == _EXTERNAL]
    each = [_holds(condition, heard, now, situation) for condition in policy.conditions]
    together = [_holds(condition, heard, now, situation) for condition in policy.all or ()]
    if together and None not in together:
        each.append(_joined([cause for cause in together if cause is not None]))
    return tuple(cause for cause in each if cause is not None)


def _joined(causes: Sequence[Cause]) -> Cause:
    """Return conditions that hold together as one cause: of the kind of the alert that tells most of harm."""
    first = min(causes, key=_says_little)
    return Cause(
        first.kind,
        "; ".join(cause.message for cause in causes),
        " and ".join(sorted(cause.key for cause in causes)),
        first.alert,
    )


def _says_little(cause: Cause) -> int:
    if cause.alert is None:
        return 3
    return 2 if cause.kind in DRIFT else int(cause.kind == "estimated_quality")


def recent(policy: Policy, alerts: Sequence[AlertFact], now: datetime) -> list[AlertFact]:
    """Return the alerts that a monitor confirmed lately enough for a policy."""
    return [alert for alert in alerts if now - alert.last_seen_at <= policy.max_age]


def too_old(policy: Policy, alerts: Sequence[AlertFact], now: datetime) -> list[AlertFact]:
    """Return the alerts that a policy names, and that no monitor has confirmed lately enough."""
    late = [alert for alert in alerts if now - alert.last_seen_at > policy.max_age]
    named = [each for each in policy.mentioned if each.alert is not None or each.webhook is not None]
    of_monitors = [
        alert
        for alert in late
        if policy.monitors is None or alert.monitor in policy.monitors or alert.kind == _EXTERNAL
    ]
    return [alert for alert in of_monitors if any(_meets(condition, alert) for condition in named)]


def unheard(policy: Policy, alerts: Sequence[AlertFact], now: datetime) -> list[AlertFact]:
    """Return the alerts of a policy's monitors of which no condition names the kind: they ask for no turn."""
    named = [each for each in policy.mentioned if each.alert is not None or each.webhook is not None]
    return [
        alert
        for alert in recent(policy, alerts, now)
        if alert.kind != _EXTERNAL
        and (policy.monitors is None or alert.monitor in policy.monitors)
        and not any(_meets(condition, alert) for condition in named)
    ]


def lacking(policy: Policy, now: datetime, situation: Situation) -> list[str]:
    """Return what the conditions that are no alerts still lack, where they do not ask for a turn."""
    others = [each for each in policy.mentioned if each.alert is None and each.webhook is None]
    return [_lack(each, now, situation) for each in others if _holds(each, (), now, situation) is None]


def _lack(condition: Condition, now: datetime, situation: Situation) -> str:
    if condition.new_labels is not None:
        needed = condition.labels_needed(situation.labels_learnt)
        if needed is None:
            return f"{condition}: how many labels the champion learnt from is not on record"
        return f"{situation.new_labels or 0:,} of {counted(needed, 'label')} became known since the last turn"
    if condition.cron is not None:
        if situation.last_turn_at is None:
            return f"{condition}: the first turn is made by hand"
        return f"{condition}: next at {next_moment(condition.cron, condition.zone, now):%Y-%m-%d %H:%M} UTC"
    if condition.data_version:
        return "the data have the version that the last turn had"
    since = situation.champion_since
    if since is None:
        return f"{condition}: how old those of the champion are is not on record"
    return f"{condition}: the champion knows nothing after {since:%Y-%m-%d %H:%M} UTC"


def _holds(
    condition: Condition, alerts: Sequence[AlertFact], now: datetime, situation: Situation
) -> Cause | None:
    if condition.alert is not None or condition.webhook is not None:
        of_kind = [alert for alert in alerts if _meets(condition, alert)]
        if condition.webhook is not None:
            of_kind = [alert for alert in of_kind if _is_news(alert, situation)]
        oldest = min(of_kind, key=lambda alert: (alert.raised_at, alert.id), default=None)
        return None if oldest is None else alert_cause(oldest)
    if condition.new_labels is not None:
        return _grown(condition, situation)
    if condition.cron is not None:
        return _passed(condition.cron, condition.zone, now, situation)
    if condition.data_version:
        found_version = situation.data_version
        if found_version is None:
            return None
        said = f"the data have a new version, {found_version[:10]}"
        return Cause("data_version", said, f"data_version/{found_version[:10]}")
    assert condition.age is not None
    since = situation.champion_since
    if since is None or now - since < condition.age:
        return None
    return Cause("age", f"the champion knows nothing after {since:%Y-%m-%d %H:%M} UTC", "age")


def _grown(condition: Condition, situation: Situation) -> Cause | None:
    found, learnt = situation.new_labels or 0, situation.labels_learnt
    needed = condition.labels_needed(learnt)
    if needed is None or found < needed:
        return None
    said = f"{counted(found, 'label')} became known since the last turn"
    if isinstance(condition.new_labels, str):
        said += f"; {learnt:,} were known when the champion was made"
    return Cause("new_labels", said, "new_labels")


def _meets(condition: Condition, alert: AlertFact) -> bool:
    """Return whether an alert is of the kind that a condition names, or has its name where others told it."""
    if condition.webhook is None:
        return alert.kind == condition.alert
    return alert.kind == _EXTERNAL and alert.monitor.partition("/")[2] == condition.webhook


def _is_news(alert: AlertFact, situation: Situation) -> bool:
    """Return whether an alert began to fire after the last turn: no monitor of ours says when it is over."""
    last = situation.last_turn_at
    return last is None or (alert.fired_at or alert.raised_at) > last


def _passed(cron: str, zone: str, now: datetime, situation: Situation) -> Cause | None:
    """Return a moment of a schedule that has passed since the last turn; a first turn is made by hand."""
    due = last_moment(cron, zone, now)
    if situation.last_turn_at is None or due <= situation.last_turn_at:
        return None
    return Cause(
        "cron", f"it was due at {due:%Y-%m-%d %H:%M} UTC (cron {cron})", f"cron/{due:%Y-%m-%dT%H:%M}"
    )
