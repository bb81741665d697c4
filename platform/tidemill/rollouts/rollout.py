"""Takes a version to champion by steps, and back by itself if it does not do well.

One call of `advance` does at most one thing, and what it decides is on record before it takes effect: the
next share and the note of it are one transaction, an end is noted before the registry is touched. Killed
anywhere, the next call goes on from there. While the registry is away nothing goes on, but what must go back
does: replicas follow the records.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import select

from tidemill.errors import GateRefused, RegistryError
from tidemill.ids import new_id
from tidemill.project import Project
from tidemill.project.project_config import RolloutConfig
from tidemill.registry.deployments import RUNNING, Wish, carry_out, live, request, settle_if_it_answers
from tidemill.registry.history.alias_journal import lock, settle
from tidemill.registry.history.reconciliation import end, go_live, settle_deployments
from tidemill.registry.promotion import evaluate_gate
from tidemill.registry.versions.model_versions import get_version
from tidemill.rollouts.rollout_ending import crown, foreign_end
from tidemill.rollouts.rollout_metrics import gather
from tidemill.rollouts.step_checks import Verdict, judge
from tidemill.serving.observability.version_counters import as_baseline, read_counts
from tidemill.state import State
from tidemill.state.tables import Deployment, Rollout

__all__ = ["Progress", "advance", "begin", "rollouts", "running"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a rollout is, and what the last check said."""

    rollout: Rollout
    verdict: Verdict | None = None
    """None where nothing was checked: it only ended."""

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.rollout.status not in RUNNING


def running(state: State, model: str) -> Rollout | None:
    """Return the rollout that is under way."""
    with state.transaction() as session:
        return session.scalar(select(Rollout).where(Rollout.model == model, Rollout.status.in_(RUNNING)))


def rollouts(state: State, model: str, limit: int = 10) -> Sequence[Rollout]:
    """Return the latest rollouts, the latest first."""
    with state.transaction() as session:
        return session.scalars(
            select(Rollout)
            .where(Rollout.model == model)
            .order_by(Rollout.requested_at.desc(), Rollout.id)
            .limit(limit)
        ).all()


def begin(
    project: Project,
    state: State,
    version: str,
    actor: str,
    reason: str,
    now: datetime,
    plan: RolloutConfig | None = None,
    since: datetime | None = None,
) -> Rollout:
    """Ask the gate, then make a version the canary with the share of the first step.

    Args:
        project: whose model it is.
        state: where it goes on record.
        version: a number or an alias.
        actor: who wants it; also on record as who promotes in the end.
        reason: why.
        now: event time.
        plan: steps and limits; default: ``serve.rollout`` of params.yaml.
        since: event time from which on answers count, if they are of the past; default: now.

    Raises:
        GateRefused: the gate said no, and is enforced.
        ModelNotFound: there is no such version.
        RegistryError: it is the champion, another rollout or canary is there, or the registry refused.
    """
    plan, since = plan or project.config.serve.rollout, since or now
    version = get_version(project, version).version
    wish = Wish("canary", version, plan.steps[0].share, actor, reason)
    _refuse_others(project, state, version)
    request(project, state, wish, since)  # what is wrong with it should not cost a comparison
    decision = evaluate_gate(project, state, version, now)
    if decision.mode == "enforce" and not decision.passed:
        raise GateRefused(
            f"the gate refused {project.model} {version}: {decision.reasons[0]}",
            hint="nothing was rolled out; the gate section of params.yaml says what is asked for",
        )
    with lock(project):
        settle(project, state)
        settle_deployments(project, state)
        _refuse_others(project, state, version)
        row = request(project, state, wish, since)
        counts = as_baseline(read_counts(state, project.model))
        rollout = Rollout(
            id=new_id("roll"),
            model=project.model,
            version=version,
            champion=row.champion,
            plan=plan.model_dump(mode="json"),
            status="running",
            step=0,
            baseline={"start": counts, "step": counts},
            checks=[],
            decision_id=decision.id,
            actor=actor,
            reason=reason,
            at=since,
            stepped_at=now,
            requested_at=datetime.now(UTC),
        )
        with state.transaction() as session:
            session.add(rollout)
            if row.status == "pending":
                session.add(row)
        if row.status == "pending":
            carry_out(project, state, row)
    return rollout


def advance(project: Project, state: State, now: datetime) -> Progress | None:
    """Do the next thing for the rollout that is under way: check it, and go on, wait or go back.

    Args:
        project: whose model it is.
        state: the records.
        now: event time.

    Returns:
        None if there is no rollout.

    Raises:
        RegistryError: the registry does not answer, and the rollout need not go back; the next call goes on
            from there.
        ServingError: the prediction log cannot be read; likewise.
    """
    with lock(project):
        found, ended, away = _look(project, state)
    if found is None or ended or found.status == "promoting":
        if away is not None:
            raise away
        if found is None:
            return None
        return Progress(found if ended else crown(project, state, found, now))
    plan = RolloutConfig.model_validate(found.plan)
    facts = gather(project, state, found, plan, now)  # reads the log: not while others wait for the lock
    verdict = judge(plan, found.step, facts)
    with lock(project):
        current, ended, away = _look(project, state)
        if current is None or ended:
            return Progress(current) if current else None
        if (current.id, current.step, current.status) != (found.id, found.step, "running"):
            return Progress(current, verdict)  # somebody else was faster
        if away is not None and verdict.action != "roll_back":
            raise away
        current = _take(project, state, current, plan, verdict, now)
    if current.status == "promoting":
        return Progress(crown(project, state, current, now), verdict)
    return Progress(current, verdict)


class _Look(NamedTuple):
    rollout: Rollout | None
    """The one under way, or that has just ended."""
    ended: bool = False
    """Because others have decided otherwise."""
    away: RegistryError | None = None
    """Why the registry could not be asked."""


def _look(project: Project, state: State) -> _Look:
    """Settle what there is to settle, and return the rollout; the lock must be held."""
    away = settle_if_it_answers(project, state)
    found = running(state, project.model)
    if found is not None and found.status == "running" and away is None:
        ended = foreign_end(project, state, found)
        if ended is not None:
            return _Look(ended, ended=True)
    return _Look(found, away=away)


def _take(
    project: Project, state: State, rollout: Rollout, plan: RolloutConfig, verdict: Verdict, now: datetime
) -> Rollout:
    """Write down what was decided; with it, it takes effect. The lock must be held."""
    last = rollout.step + 1 == len(plan.steps)
    counts = as_baseline(read_counts(state, rollout.model))
    with state.transaction() as session:
        row = session.get_one(Rollout, rollout.id)
        row.checks = [*row.checks[: row.step], _check(plan, row.step, verdict, now)]
        canary = session.scalars(
            select(Deployment).where(
                Deployment.model == row.model, Deployment.name == "canary", Deployment.status == "live"
            )
        ).one()
        if verdict.action == "roll_back":
            row.status, row.outcome, row.finished_at = "rolled_back", verdict.reason, datetime.now(UTC)
            end(session, canary, "stopping", verdict.reason)
        elif verdict.action == "advance" and last:
            row.status = "promoting"
        elif verdict.action == "advance":
            row.step, row.stepped_at = row.step + 1, now
            row.baseline = {**row.baseline, "step": counts}
            _reshare(session, canary, plan.steps[row.step].share, now)
    away = settle_if_it_answers(project, state)
    if away is not None:
        if verdict.action != "roll_back":
            raise away
        _log.warning("rollout %s goes back; the alias follows when the registry answers: %s", row.id, away)
    return row


def _check(plan: RolloutConfig, step: int, verdict: Verdict, now: datetime) -> dict[str, Any]:
    return {
        "step": step,
        "share": plan.steps[step].share,
        "action": verdict.action,
        "reason": verdict.reason,
        "checks": list(verdict.checks),
        "numbers": verdict.numbers,
        "at": now.isoformat(),
    }


def _reshare(session: Any, canary: Deployment, share: float, now: datetime) -> None:
    """Let the canary have another share of the keys, those it has among them; no alias moves."""
    row = Deployment(
        id=new_id("dep"),
        model=canary.model,
        kind=canary.kind,
        name=canary.name,
        version=canary.version,
        champion=canary.champion,
        share=share,
        salt=canary.salt,
        status="pending",
        from_version=canary.version,
        actor=canary.actor,
        reason=canary.reason,
        at=now,
        requested_at=datetime.now(UTC),
    )
    session.add(row)
    go_live(session, row)


def _refuse_others(project: Project, state: State, version: str) -> None:
    other = running(state, project.model)
    if other is not None:
        raise RegistryError(
            f"version {other.version} of {project.model} is being rolled out already ({other.id})",
            hint="`tidemill deploy rollout --watch` follows it, `tidemill deploy stop canary` ends it",
        )
    canary = next((row for row in live(state, project.model) if row.name == "canary"), None)
    if canary is not None and canary.version != version:
        raise RegistryError(
            f"version {canary.version} of {project.model} is the canary",
            hint="`tidemill deploy stop canary` makes room",
        )
