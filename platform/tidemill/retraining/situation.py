"""Gathers what policies see from the records, the prediction log and the project's files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from tidemill.data.repository.revisions import current, outputs_at, version_of
from tidemill.errors import TidemillError
from tidemill.prediction_log.prediction_log import count_new_labels
from tidemill.project import Project
from tidemill.retraining.policies import Policy
from tidemill.retraining.policy_facts import AlertFact, EstimateFact, Hold, Retrain, Situation, TurnFact
from tidemill.retraining.policy_rules import judge, last_turn
from tidemill.retraining.triggers.champion_knowledge import champion_knowledge
from tidemill.retraining.triggers.policy_causes import causes_of
from tidemill.retraining.turns.turn_end import rollout_of
from tidemill.retraining.turns.turn_inputs import read_sources, tell_all
from tidemill.state import State
from tidemill.state.alert_queries import EXTERNAL
from tidemill.state.tables import Alert, MonitorRun, Turn
from tidemill.tasks.natural_metric import metric_of

__all__ = [
    "Facts",
    "Seen",
    "alert_fact",
    "alerts_about",
    "gather",
    "gather_with",
    "judge_all",
    "turn_fact",
    "turns_of",
]

_ACTIVE = ("firing", "acknowledged")
_UNDER_WAY = ("running", "rollout", "asked")
_RUNS = 5
"""So many of each monitor's last runs are looked at for one that could estimate the quality."""
_AHEAD = timedelta(days=1)
"""A turn of a moment so far ahead was made before the clock went back, or is not known yet at that moment."""
_ENDED = {"promoted": "promoted", "rolled_back": "refused", "stopped": "refused"}
"""How a turn ended, by how its rollout did."""


@dataclass(frozen=True)
class Facts:
    """All that the policies of a project see at a moment."""

    alerts: tuple[AlertFact, ...]
    turns: tuple[TurnFact, ...]
    situation: Situation


class Seen(NamedTuple):
    """What the records say at a moment."""

    serving: str | None
    """The version that serves."""
    alerts: tuple[AlertFact, ...]
    """Those that fire, about this version."""
    turns: tuple[TurnFact, ...]
    rows: Sequence[Turn]
    """Their records."""


def gather(
    project: Project, state: State, policies: Sequence[Policy], serving: str | None, now: datetime
) -> Facts:
    """Gather what the policies see at ``now``, while a version serves.

    What takes longer is gathered only where it can matter: labels are counted if a policy counts them, and
    files are read if a policy has a cause.

    Raises:
        TidemillError: the records or the prediction log cannot be read.
    """
    with state.transaction() as session:
        open_ones = alerts_about(project.model, serving).where(Alert.status.in_(_ACTIVE))
        alerts = tuple(alert_fact(each) for each in session.scalars(open_ones))
        rows = list(session.scalars(turns_of(project.model)))
    facts = (turn_fact(each, state) for each in rows)
    turns = tuple(each for each in facts if each.as_of <= now + _AHEAD or each.status in _UNDER_WAY)
    return gather_with(project, state, policies, Seen(serving, alerts, turns, rows), now)


def alerts_about(model: str, serving: str | None) -> Select[Alert]:
    """Return the query of the alerts about a version, and of those from elsewhere, in a fixed order."""
    told = Alert.kind == EXTERNAL  # whatever served as it began
    of_model = Alert.model == model, or_(told, Alert.version == serving)
    return select(Alert).where(*of_model).order_by(Alert.id)


def turns_of(model: str) -> Select[Turn]:
    """Return the query of the turns for a model, in order of their moments."""
    return select(Turn).where(Turn.model == model).order_by(Turn.as_of, Turn.id)


def gather_with(
    project: Project, state: State, policies: Sequence[Policy], seen: Seen, now: datetime
) -> Facts:
    """Gather the rest of what the policies see, given what is read from the records.

    Raises:
        TidemillError: the records or the prediction log cannot be read.
    """
    serving, alerts, turns, rows = seen
    with state.transaction() as session:
        estimate = _estimate(_last_runs(session, project.model, serving, now))
    latest = last_turn(turns)
    made_it = max(
        (each for each in rows if each.version == serving), key=lambda each: each.as_of, default=None
    )
    champion = champion_knowledge(project, state, policies, serving, made_it)
    had = next((each.data_revision for each in rows if latest is not None and each.id == latest.id), None)
    known = Situation(
        new_labels=_new_labels(project, policies, turns, now),
        labels_learnt=champion.labels,
        champion_since=champion.until,
        estimate=estimate,
        last_turn_at=latest.as_of if latest else None,
        data_version=_new_data(project, policies, had),
    )
    asking = [policy for policy in policies if causes_of(policy, alerts, now, known)]
    sources = {policy.name: _sources(project, policy.params) for policy in asking}
    whole = bool(asking) and tell_all(project)
    return Facts(alerts, turns, replace(known, sources=sources, sources_tell_all=whole))


def judge_all(policies: Sequence[Policy], facts: Facts, now: datetime) -> list[Retrain | Hold]:
    """Return the verdict of each policy that has a cause, in their order."""
    found = (judge(policy, facts.alerts, facts.turns, now, facts.situation) for policy in policies)
    return [verdict for verdict in found if verdict is not None]


def alert_fact(alert: Alert) -> AlertFact:
    """Return an alert as policies see it."""
    details, kind = alert.details or {}, alert.kind
    skewed = [str(each.get("feature")) for each in details.get("skewed", ())]
    faults = skewed if kind == "feature_skew" else [str(name) for name in details.get("faults", ())]
    about = {
        "feature_drift": list(details.get("features", {})),
        "feature_skew": skewed,
        "quality": [str(details.get("metric", ""))],
        "estimated_quality": [str(details.get("metric", ""))],
        "multivariate_drift": list(details.get("carried_by", {})),
    }.get(kind, [str(name) for name in details.get("about", ())])
    return AlertFact(
        alert.id,
        alert.monitor,
        kind,
        alert.message,
        alert.raised_at,
        alert.last_seen_at,
        tuple(filter(None, about)),
        tuple(faults),
        alert.severity,
        alert.fired_at,
    )


def turn_fact(turn: Turn, state: State) -> TurnFact:
    """Return a turn as policies see it."""
    sources = (turn.inputs or {}).get("sources")
    spent, status = turn.cpu_seconds or 0.0, turn.status
    if status == "rollout" and (begun := rollout_of(state, turn)) is not None:
        status = _ENDED.get(begun.status, status)
    approval = (turn.question or {}).get("approval")
    return TurnFact(status, turn.as_of, turn.trigger, turn.policy, sources, turn.id, spent, approval)


def _last_runs(session: Session, model: str, version: str | None, now: datetime) -> list[MonitorRun]:
    """Return the last runs about a version, the latest first: some of each monitor, however often it runs."""
    about = MonitorRun.model == model, MonitorRun.version == version, MonitorRun.at <= now
    latest = select(MonitorRun).where(*about).order_by(MonitorRun.at.desc()).limit(_RUNS)
    names = session.scalars(select(MonitorRun.monitor).where(*about).distinct()).all()
    runs = [run for name in names for run in session.scalars(latest.where(MonitorRun.monitor == name))]
    return sorted(runs, key=lambda run: run.at, reverse=True)


def _estimate(runs: Sequence[MonitorRun]) -> EstimateFact | None:
    """Return the latest estimate that was judged; None if there is none."""
    for run in runs:
        found: Mapping[str, Any] = run.results.get("estimated_quality") or {}
        if found.get("decayed") is not None:
            value, low, high = (found.get(name) for name in ("value", "low", "high"))
            metric = metric_of(str(found["metric"]))
            ends = sorted(metric.sign * end for end in (low, high) if end is not None)
            span = f" ({ends[0]:.4g} to {ends[1]:.4g})" if len(ends) == 2 else ""
            estimated = f"{metric.name} is estimated at {metric.shown(value):.4g}{span}"
            said = f"{estimated}, which its monitor {run.monitor} allows"
            return EstimateFact(run.at, bool(found["decayed"]), said)
    return None


def _new_labels(
    project: Project, policies: Sequence[Policy], turns: Sequence[TurnFact], now: datetime
) -> int | None:
    if not any(policy.counts_labels for policy in policies):
        return None
    latest = last_turn(turns)
    return count_new_labels(project.predictions, project.model, latest.as_of if latest else None, now)


def _new_data(project: Project, policies: Sequence[Policy], had: str | None) -> str | None:
    """Return the data version of the project's folder, if it has other data than the one a turn had.

    Commits of code alone are no data versions. Data that are not versioned yet do not count.
    """
    if had is None or not any(each.data_version for policy in policies for each in policy.mentioned):
        return None
    try:
        now, before = current(project), outputs_at(project, had)
    except TidemillError:  # the repository cannot tell, which a turn then says
        return None
    changed = dict(now.outputs) != {path: output.md5 for path, output in before.items()}
    return version_of(project, now.revision) if changed else None


def _sources(project: Project, params: Mapping[str, Any]) -> str | None:
    """Return the digest of what a turn would read; None if it cannot be told, which a turn then says."""
    try:
        return read_sources(project, params).all
    except (TidemillError, OSError):
        return None
