"""Rolls out a version in steps, and rolls it back if it does worse than the champion.

One call of `advance` takes at most one decision, which is recorded before it takes effect: the next share is
recorded in one transaction with the step, an end before the registry is touched. After a kill, the next call
goes on from the record. While the registry is away no rollout advances, but a bad one still ends, because
replicas follow the records.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import select

from tidemill.accounts import audit
from tidemill.errors import RegistryError
from tidemill.ids import new_id
from tidemill.project import Project
from tidemill.project.serve_config import RolloutConfig
from tidemill.registry.deployments import RUNNING, try_to_reconcile
from tidemill.registry.history.alias_journal import lock
from tidemill.registry.history.reconciliation import end_deployment, go_live
from tidemill.rollouts.rollout_begin import running
from tidemill.rollouts.rollout_ending import acting_name, decided, end_if_obsolete, promote_canary
from tidemill.rollouts.rollout_metrics import gather
from tidemill.rollouts.step_checks import Verdict, judge
from tidemill.serving.observability.version_counters import as_baseline, read_counts
from tidemill.state import State
from tidemill.state.tables import Deployment, Rollout

__all__ = ["Progress", "advance", "read_rollout"]

_log = logging.getLogger(__name__)
_ON_RECORD = {"roll_back": "roll-back", "advance": "advance"}
"""Verdicts that change what serves, as the audit log calls them."""


@dataclass(frozen=True)
class Progress:
    """The state of a rollout, and the verdict of its last check."""

    rollout: Rollout
    verdict: Verdict | None = None
    """None where nothing was checked, because the rollout ended."""

    @property
    def ended(self) -> bool:
        """Whether the rollout has ended."""
        return self.rollout.status not in RUNNING


def read_rollout(state: State, rollout_id: str) -> Rollout:
    """Return a rollout as it is now."""
    with state.transaction() as session:
        return session.get_one(Rollout, rollout_id)


def advance(project: Project, state: State, now: datetime) -> Progress | None:
    """Check the rollout that is under way, and advance it, wait, or roll it back.

    Args:
        project: whose model it is.
        state: the records.
        now: event time.

    Returns:
        None if there is no rollout.

    Raises:
        RegistryError: the registry does not answer, and the rollout need not go back; the next call goes
            on.
        ServingError: the prediction log cannot be read; likewise.
    """
    with lock(project, state):
        found, ended, away = _current_state(project, state)
    if found is None or ended or found.status == "promoting":
        if away is not None:
            raise away
        if found is None:
            return None
        return Progress(found if ended else promote_canary(project, state, found, now))
    plan = RolloutConfig.model_validate(found.plan)
    facts = gather(project, state, found, plan, now)  # reads the log: not while others wait for the lock
    verdict = judge(plan, found.step, facts)
    with lock(project, state):
        current, ended, away = _current_state(project, state)
        if current is None or ended:
            return Progress(current) if current else None
        if (current.id, current.step, current.status) != (found.id, found.step, "running"):
            return Progress(current, verdict)  # another process has advanced it
        if away is not None and verdict.action != "roll_back":
            raise away
        current = _take(project, state, current, plan, verdict, now)
    if current.status == "promoting":
        return Progress(promote_canary(project, state, current, now), verdict)
    return Progress(current, verdict)


class _RolloutState(NamedTuple):
    rollout: Rollout | None
    """The one under way, or the one that ended just now."""
    ended: bool = False
    """Whether it ended just now, because something else made it obsolete."""
    away: RegistryError | None = None
    """Why the registry does not answer; None if it does."""


def _current_state(project: Project, state: State) -> _RolloutState:
    """Reconcile records and registry, and return the rollout; the lock must be held."""
    away = try_to_reconcile(project, state)
    found = running(state, project.model)
    if found is not None and found.status == "running" and away is None:
        ended = end_if_obsolete(project, state, found)
        if ended is not None:
            return _RolloutState(ended, ended=True)
    return _RolloutState(found, away=away)


def _take(
    project: Project, state: State, rollout: Rollout, plan: RolloutConfig, verdict: Verdict, now: datetime
) -> Rollout:
    """Record a verdict, by which it takes effect; the lock must be held."""
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
            end_deployment(session, canary, "stopping", verdict.reason, acting_name(row))
        elif verdict.action == "advance" and last:
            row.status = "promoting"
        elif verdict.action == "advance":
            row.step, row.stepped_at = row.step + 1, now
            row.baseline = {**row.baseline, "step": counts}
            _reshare(session, canary, plan.steps[row.step].share, now)
        if verdict.action in _ON_RECORD:
            audit.append(session, decided(row, _ON_RECORD[verdict.action], verdict.reason))
    away = try_to_reconcile(project, state)
    if away is not None:
        if verdict.action != "roll_back":
            raise away
        _log.warning(
            "rollout %s is rolled back; its alias is removed when the registry answers: %s", row.id, away
        )
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
    """Give the canary another share of the keys, which keeps those that it has; no alias moves."""
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
