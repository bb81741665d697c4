"""Decides when a policy's turn is due, and when it is held and why. Plain functions; imports no engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from tidemill.plurals import agreeing, counted, said_days
from tidemill.retraining.policies import Policy
from tidemill.retraining.policy_facts import (
    DRIFT,
    AlertFact,
    Cause,
    Hold,
    Retrain,
    Situation,
    TurnFact,
)
from tidemill.retraining.triggers.policy_causes import causes_of, recent

__all__ = ["RULES", "decide", "explain", "foremost", "judge", "last_turn"]

_OUTAGES = frozenset({"no_run", "health", "staleness"})
"""Kinds of alert that tell of a part that is down: what is measured meanwhile tells little of the world.

So do critical alerts from elsewhere.
"""
_NAMED = 3
_IDLE = ("failed", "cancelled", "running")
"""Turns that came to no end of their own."""


def decide(
    policies: Sequence[Policy],
    alerts: Sequence[AlertFact],
    turns: Sequence[TurnFact],
    now: datetime,
    situation: Situation | None = None,
) -> Retrain | Hold | None:
    """Decide whether a turn is due at ``now``.

    Args:
        policies: in the order of their precedence.
        alerts: the unresolved alerts about the version that serves.
        turns: all earlier turns for the model.
        now: event time.
        situation: what else is known; default: nothing.

    Returns:
        The first policy by which a turn is due; else why the first policy with a cause waits; None if no
        policy has a cause.

    >>> from datetime import UTC, timedelta
    >>> day = datetime(2013, 5, 1, tzinfo=UTC)
    >>> policy = Policy(name="decay", alerts=("quality",), cooldown=timedelta(days=28))
    >>> alert = AlertFact("a1", "delay", "quality", "AUC fell", day, day)
    >>> decide([policy], [alert], [TurnFact("promoted", datetime(2013, 4, 1, tzinfo=UTC))], day).reason
    'decay: AUC fell'
    >>> decide([policy], [alert], [TurnFact("refused", datetime(2013, 4, 20, tzinfo=UTC))], day).reason
    'cooling down until 2013-05-18 00:00 UTC'
    """
    verdicts = (judge(policy, alerts, turns, now, situation) for policy in policies)
    return foremost([verdict for verdict in verdicts if verdict is not None])


def foremost(verdicts: Sequence[Retrain | Hold]) -> Retrain | Hold | None:
    """Return the first verdict by which a turn is due, else the first that holds one; None without any."""
    due = (verdict for verdict in verdicts if isinstance(verdict, Retrain))
    return next(due, None) or next(iter(verdicts), None)


def judge(
    policy: Policy,
    alerts: Sequence[AlertFact],
    turns: Sequence[TurnFact],
    now: datetime,
    situation: Situation | None = None,
) -> Retrain | Hold | None:
    """Judge a policy alone: a turn is due, or is held and why, or nothing asks for one (None).

    One of its conditions is enough: it is held only if each that holds is; the first one then says why.
    """
    cases = _cases(policy, alerts, turns, now, situation or Situation())
    return foremost([_verdict(case) for case in cases])


def explain(
    policy: Policy,
    alerts: Sequence[AlertFact],
    turns: Sequence[TurnFact],
    now: datetime,
    situation: Situation,
) -> dict[str, str | None]:
    """Return for each rule why it holds the turn that a policy asks for, or None; empty if none is."""
    cases = _cases(policy, alerts, turns, now, situation)
    if not cases:
        return {}
    case = next((case for case in cases if isinstance(_verdict(case), Retrain)), cases[0])
    return {code: rule(case) for code, rule in RULES.items()}


def last_turn(turns: Sequence[TurnFact]) -> TurnFact | None:
    """Return the latest turn that came to an end of its own, or None."""
    return max(
        (turn for turn in turns if turn.status not in _IDLE), key=lambda turn: turn.as_of, default=None
    )


@dataclass(frozen=True)
class _Case:
    """What a rule looks at."""

    policy: Policy
    cause: Cause
    alerts: Sequence[AlertFact]
    turns: Sequence[TurnFact]
    now: datetime
    situation: Situation

    @property
    def sources(self) -> str | None:
        """The digest of what a turn would read now; None if that cannot be told."""
        return self.situation.sources.get(self.policy.name)


def _cases(
    policy: Policy,
    alerts: Sequence[AlertFact],
    turns: Sequence[TurnFact],
    now: datetime,
    situation: Situation,
) -> list[_Case]:
    """Return a case for each thing by which a policy asks for a turn."""
    late = recent(policy, alerts, now)
    causes = causes_of(policy, alerts, now, situation)
    return [_Case(policy, cause, late, turns, now, situation) for cause in causes]


def _verdict(case: _Case) -> Retrain | Hold:
    for code, rule in RULES.items():
        if (reason := rule(case)) is not None:
            return Hold(case.policy, case.cause, code, reason)
    return Retrain(case.policy, case.cause)


def _under_way(case: _Case) -> str | None:
    states = {turn.status for turn in case.turns}
    approval = next((turn.approval for turn in case.turns if turn.status == "asked" and turn.approval), None)
    if "running" in states:
        return "a turn is under way already"
    if "rollout" in states:
        return "the version of an earlier turn is being rolled out: `tidemill deploy rollout --watch`"
    if approval is not None:
        how = f"`tidemill approvals approve {approval}`"
        return f"the version of an earlier turn waits for a second person: {how}"
    if "asked" in states:
        return "the version of an earlier turn waits for an answer: `tidemill policies approve`, or `refuse`"
    return None


def _data_quality(case: _Case) -> str | None:
    """Hold a turn that an alert asks for while features are at fault."""
    if case.cause.alert is None:
        return None
    meant = {condition.alert for condition in (*case.policy.conditions, *(case.policy.all or ()))}
    for alert in case.alerts:
        if not alert.faults or (alert.kind == "feature_skew" and "feature_skew" in meant):
            continue
        named = ", ".join(alert.faults[:_NAMED])
        more = f" and {len(alert.faults) - _NAMED} more" if len(alert.faults) > _NAMED else ""
        return (
            f"the data are at fault ({alert.kind} of monitor {alert.monitor}: {named}{more}): a new model "
            "would learn from them, or be served them; correct what makes them"
        )
    return None


def _outage(case: _Case) -> str | None:
    """Hold what drift, or an estimate from drifted features, asks for while a part of the system is down."""
    if case.cause.alert is None or case.cause.kind not in DRIFT | {"estimated_quality"}:
        return None
    asks = {condition.webhook for condition in case.policy.mentioned}
    told = (alert for alert in case.alerts if alert.monitor.partition("/")[2] not in asks)
    down = next((alert for alert in told if _tells_of_outage(alert)), None)
    if down is None:
        return None
    return (
        f"a part of the system is down ({down.kind} of monitor {down.monitor}: {down.message}), which can "
        "look like drift; it waits until that alert is resolved"
    )


def _tells_of_outage(alert: AlertFact) -> bool:
    return alert.kind in _OUTAGES or (alert.kind == "external" and alert.severity == "critical")


def _harmless(case: _Case) -> str | None:
    """Hold drift while the estimated quality is as good as it must be."""
    alert, estimate = case.cause.alert, case.situation.estimate
    if alert is None or case.cause.kind not in DRIFT or estimate is None:
        return None
    if estimate.decayed or estimate.at < alert.last_seen_at:
        return None
    return f"drift without estimated harm: {estimate.said}"


def _cooling_down(case: _Case) -> str | None:
    ended = last_turn(case.turns)
    waits = [
        (
            turn.as_of + _pause(case, turn),
            " (retry_after), as a turn failed" if turn.status == "failed" else "",
        )
        for turn in case.turns
        if turn.status != "failed" or ended is None or turn.as_of > ended.as_of
    ]
    free_at, why = max(waits, default=(case.now, ""))
    return f"cooling down until {free_at:%Y-%m-%d %H:%M} UTC{why}" if case.now < free_at else None


def _pause(case: _Case, turn: TurnFact) -> timedelta:
    """Return how long after a turn the next may begin: sooner where that one made no model."""
    if turn.status == "failed":
        return case.policy.retry_after
    made_nothing = turn.status == "unchanged" and _differs(case, turn)
    return min(case.policy.retry_after, case.policy.cooldown) if made_nothing else case.policy.cooldown


def _differs(case: _Case, turn: TurnFact) -> bool:
    """Return whether what a turn would read now is known to differ from what that turn read."""
    return case.sources is not None and turn.sources is not None and case.sources != turn.sources


def _unchanged(case: _Case) -> str | None:
    if case.sources is None or not case.situation.sources_tell_all:
        return None
    for turn in case.turns:
        if turn.status not in _IDLE and turn.sources == case.sources:
            return (
                f"neither data nor code nor parameters have changed since the turn as of "
                f"{turn.as_of:%Y-%m-%d %H:%M} UTC ({turn.status}): another one would make the same model"
            )
    return None


def _refused_in_a_row(case: _Case) -> str | None:
    ended = sorted(
        (t for t in case.turns if t.status not in _IDLE), key=lambda turn: turn.as_of, reverse=True
    )
    row = list(takewhile(lambda turn: turn.status == "refused" and turn.policy is not None, ended))
    if len(row) < case.policy.refused_in_a_row or _differs(case, row[0]):
        return None
    last = "the last candidate was" if len(row) == 1 else f"the last {len(row)} candidates were"
    return (
        f"{last} refused: it waits for other data, other code or parameters, or for "
        "`tidemill retrain` by a person"
    )


def _over_budget(case: _Case) -> str | None:
    budget = case.policy.budget
    if budget is None:
        return None
    begun = [turn for turn in case.turns if turn.policy is not None and turn.as_of > case.now - budget.period]
    begun.sort(key=lambda turn: turn.as_of, reverse=True)
    days = said_days(budget.period)
    counted_turns = [turn for turn in begun if turn.status not in ("failed", "cancelled", "unchanged")]
    if budget.turns is not None and len(counted_turns) >= budget.turns:
        free_at = counted_turns[budget.turns - 1].as_of + budget.period
        said = f"{counted(budget.turns, 'turn')} in {days}"
        return f"the budget of {said} is used up until {free_at:%Y-%m-%d %H:%M} UTC"
    if budget.cpu_hours is None:
        return None
    spent = 0.0
    for turn in begun:  # the latest first: the turn with which they reach the limit must leave the period
        spent += turn.cpu_seconds / 3600
        if spent >= budget.cpu_hours:
            said = f"{budget.cpu_hours:g} CPU {agreeing(budget.cpu_hours, 'hour', 'hours')} in {days}"
            free_at = turn.as_of + budget.period
            return f"the budget of {said} is used up until {free_at:%Y-%m-%d %H:%M} UTC"
    return None


def _too_few_labels(case: _Case) -> str | None:
    least, found = case.policy.min_new_labels, case.situation.new_labels or 0
    if last_turn(case.turns) is None or found >= least:
        return None
    return f"{counted(found, 'label')} became known since the last turn, {least:,} are needed"


def _quiet(case: _Case) -> str | None:
    for span in case.policy.quiet_hours:
        if span.holds(case.now.time()):
            return f"quiet hours until {span.end:%H:%M} UTC"
    return None


RULES: dict[str, Callable[[_Case], str | None]] = {
    "under_way": _under_way,
    "data_quality": _data_quality,
    "outage": _outage,
    "harmless": _harmless,
    "cooldown": _cooling_down,
    "unchanged": _unchanged,
    "refused": _refused_in_a_row,
    "budget": _over_budget,
    "labels": _too_few_labels,
    "quiet_hours": _quiet,
}
"""What holds a turn, by the name on record, in the order in which it is asked."""
