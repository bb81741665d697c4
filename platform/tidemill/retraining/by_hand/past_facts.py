"""Tells what policies saw at a moment of the past, from the records: champion, alerts and turns of then."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tidemill.monitoring.noise_feedback import NOISE
from tidemill.project import Project
from tidemill.registry.history.serving_history import history
from tidemill.registry.versions.registry_reader import read_champion
from tidemill.retraining.policies import Policy
from tidemill.retraining.policy_facts import AlertFact, TurnFact
from tidemill.retraining.situation import (
    Facts,
    Seen,
    alert_fact,
    alerts_about,
    gather_with,
    turn_fact,
    turns_of,
)
from tidemill.state import State
from tidemill.state.tables import Alert, AlertStep, MonitorRun, Promotion, Turn

__all__ = ["PastFacts", "gather_then"]

_ALARMING = ("firing", "acknowledged", "reopened")
_CHANGES = (*_ALARMING, "pending", "resolved", NOISE)
"""Steps that change the state of an alert."""
_BEGUN = ("firing", "reopened")
_TODAY = (
    "monitoring/policies.yaml",
    "the files and parameters that a turn would read (unchanged, data_version)",
    "how turns of then ended, unless their version was promoted later",
)


class PastFacts(NamedTuple):
    """What policies saw at a moment, and what of it is of today."""

    facts: Facts
    champion: str | None
    of_today: tuple[str, ...]
    """What the records do not tell of then."""


def gather_then(project: Project, state: State, policies: Sequence[Policy], then: datetime) -> PastFacts:
    """Gather what the policies saw at a moment of the past, as far as the records tell.

    A turn or a promotion of that very moment is what came of it, and so is not seen; monitors ran before.

    Raises:
        TidemillError: the records, the registry or the prediction log cannot be read.
    """
    served, today = history(state, project.model), list(_TODAY)
    if served:
        champion = next((each.version for each in reversed(served) if each.since < then), None)
    else:
        champion = read_champion(project)
        today.append("the champion, as no promotion is on record")
    with state.transaction() as session:
        about = session.scalars(alerts_about(project.model, champion).where(Alert.raised_at <= then))
        found = [fact for each in about if (fact := _alert_then(session, each, then)) is not None]
        rows = [each for each in session.scalars(turns_of(project.model)) if each.as_of < then]
        later = _promoted_after(session, project.model, then)
    if again := sum(newer for _, newer in found):
        today.append(f"the numbers of alerts that were found again since ({again})")
    turns = tuple(_turn_then(each, turn_fact(each, state), later) for each in rows)
    seen = Seen(champion, tuple(alert for alert, _ in found), turns, rows)
    return PastFacts(gather_with(project, state, policies, seen, then), champion, tuple(today))


def _alert_then(session: Session, alert: Alert, then: datetime) -> tuple[AlertFact, bool] | None:
    """Return an alert as it was, and whether it was found again since; None if it did not fire."""
    of = select(AlertStep).where(AlertStep.alert_id == alert.id, AlertStep.step.in_(_CHANGES))
    steps = [each for each in session.scalars(of.order_by(AlertStep.at, AlertStep.id)) if each.at <= then]
    if steps and steps[-1].step not in _ALARMING:
        return None
    if not steps and alert.resolved_at is not None and alert.resolved_at <= then:
        return None
    fired = next((each.at for each in reversed(steps) if each.step in _BEGUN), alert.raised_at)
    fact = replace(alert_fact(alert), fired_at=fired)
    if alert.last_seen_at <= then:
        return fact, False
    runs = select(func.max(MonitorRun.at)).where(
        MonitorRun.model == alert.model,
        MonitorRun.monitor == alert.monitor,
        MonitorRun.version == alert.version,
        MonitorRun.verdict == "alert",
        MonitorRun.at <= then,
    )
    return replace(fact, last_seen_at=max(session.scalar(runs) or fired, fired)), True


def _promoted_after(session: Session, model: str, then: datetime) -> frozenset[str]:
    """Return the versions that were first promoted at a moment or later."""
    first = func.min(Promotion.at)
    done = Promotion.model == model, Promotion.status == "done"
    rows = session.execute(
        select(Promotion.to_version).where(*done).group_by(Promotion.to_version).having(first >= then)
    )
    return frozenset(version for (version,) in rows)


def _turn_then(turn: Turn, fact: TurnFact, later: frozenset[str]) -> TurnFact:
    """Return a turn as it was: its version waited, or was rolled out, if it was promoted later."""
    if fact.status != "promoted" or turn.version not in later:
        return fact
    return replace(
        fact, status="asked" if turn.question else "rollout" if turn.status == "rollout" else fact.status
    )
