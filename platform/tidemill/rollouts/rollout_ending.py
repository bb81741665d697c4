"""Ends rollouts: with a promotion, or because something else made them obsolete."""

from datetime import UTC, datetime

from sqlalchemy import select

from tidemill.accounts import audit
from tidemill.errors import GateRefused, RegistryError
from tidemill.project import Project
from tidemill.registry.deployments import RUNNING, live
from tidemill.registry.history.alias_journal import lock
from tidemill.registry.history.reconciliation import end_deployment, reconcile_deployments
from tidemill.registry.promotion import promote
from tidemill.registry.versions.model_versions import champion_version
from tidemill.state import State
from tidemill.state.tables import Deployment, GateDecision, Promotion, Rollout

__all__ = ["acting_name", "decided", "end_if_obsolete", "promote_canary"]

_ENDS = {"promoted": "promote", "rolled_back": "roll-back", "stopped": "stop"}


def promote_canary(project: Project, state: State, rollout: Rollout, now: datetime) -> Rollout:
    """Promote the canary of a rollout that went well, through the gate, and record the end.

    Raises:
        RegistryError: the registry does not answer; the next call goes on.
    """
    with state.transaction() as session:
        decision = session.get(GateDecision, rollout.decision_id) if rollout.decision_id else None
    serving = champion_version(project)
    if serving != rollout.version and _was_promoted(state, rollout):
        # Killed after the promotion and before the end was recorded; later moves of the champion stand.
        outcome = f"version {rollout.version} became the champion, and version {serving} after it"
        return _end(project, state, rollout, "promoted", outcome)
    try:
        if serving != rollout.version:
            promote(
                project,
                state,
                rollout.version,
                actor=rollout.actor,
                reason=f"{_mark(rollout)} {rollout.reason}",
                now=now,
                rollout_id=rollout.id,
                decision=decision if decision is not None and decision.champion == serving else None,
            )
    except GateRefused as refusal:
        return _end(project, state, rollout, "rolled_back", str(refusal))
    except RegistryError:
        if champion_version(project) != rollout.version:  # else another process has promoted it
            raise
    outcome = f"version {rollout.version} is the champion"
    return _end(project, state, rollout, "promoted", outcome)


def acting_name(rollout: Rollout) -> str:
    """Return the name by which a rollout itself acts, by its checks."""
    return f"rollout:{rollout.id}"


def decided(rollout: Rollout, action: str, reason: str) -> audit.Act:
    """Return what the audit log says of a rollout's own decision."""
    details = {"version": rollout.version, "step": rollout.step, "status": rollout.status}
    return audit.Act(acting_name(rollout), action, "rollout", rollout.id, rollout.model, reason, details)


def _mark(rollout: Rollout) -> str:
    return f"rolled out by {rollout.id}:"


def _was_promoted(state: State, rollout: Rollout) -> bool:
    with state.transaction() as session:
        found = session.scalar(
            select(Promotion.id).where(
                Promotion.model == rollout.model,
                Promotion.to_version == rollout.version,
                Promotion.status == "done",
                Promotion.reason.startswith(_mark(rollout), autoescape=True),
            )
        )
    return found is not None


def end_if_obsolete(project: Project, state: State, rollout: Rollout) -> Rollout | None:
    """End a rollout whose canary or champion is another one now; the lock must be held."""
    serving = champion_version(project)
    if serving == rollout.version:
        return _end_locked(project, state, rollout, "promoted", "somebody else made it the champion")
    canary = next((row for row in live(state, project.model) if row.name == "canary"), None)
    if canary is None or canary.version != rollout.version:
        why = f"version {canary.version} is the canary" if canary else "there is no canary"
        return _end_locked(project, state, rollout, "stopped", why)
    if serving != rollout.champion:
        why = f"the champion changed meanwhile, from version {rollout.champion} to {serving}"
        return _end_locked(project, state, rollout, "rolled_back", why)
    return None


def _end(project: Project, state: State, rollout: Rollout, status: str, outcome: str) -> Rollout:
    with lock(project, state):
        return _end_locked(project, state, rollout, status, outcome)


def _end_locked(project: Project, state: State, rollout: Rollout, status: str, outcome: str) -> Rollout:
    with state.transaction() as session:
        row = session.get_one(Rollout, rollout.id)
        if row.status in RUNNING:
            row.status, row.outcome, row.finished_at = status, outcome, datetime.now(UTC)
            audit.append(session, decided(row, _ENDS[status], outcome))
        for canary in session.scalars(
            select(Deployment).where(
                Deployment.model == row.model, Deployment.name == "canary", Deployment.status == "live"
            )
        ):
            if canary.version == row.version:
                end_deployment(session, canary, "stopping", outcome, acting_name(row))
    reconcile_deployments(project, state)
    return row
