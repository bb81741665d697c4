"""Begins a rollout: asks the gate, and makes the version the canary with the share of the first step."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from tidemill.accounts import audit
from tidemill.errors import GateRefused, RegistryError
from tidemill.ids import new_id
from tidemill.project import Project
from tidemill.project.serve_config import RolloutConfig
from tidemill.registry.approval_terms import declared_rules
from tidemill.registry.deployments import RUNNING, DeployRequest, live, make_live, plan_deployment
from tidemill.registry.history.alias_journal import finish_pending_moves, lock
from tidemill.registry.history.reconciliation import reconcile_deployments
from tidemill.registry.promotion import evaluate_gate
from tidemill.registry.second_person import require_second_person
from tidemill.registry.versions.model_versions import get_version
from tidemill.serving.observability.version_counters import as_baseline, read_counts
from tidemill.state import State
from tidemill.state.tables import Deployment, GateDecision, Rollout

__all__ = [
    "begin",
    "running",
]


def running(state: State, model: str) -> Rollout | None:
    """Return the rollout that is under way."""
    with state.transaction() as session:
        return session.scalar(select(Rollout).where(Rollout.model == model, Rollout.status.in_(RUNNING)))


def begin(
    project: Project,
    state: State,
    version: str,
    actor: str,
    reason: str,
    now: datetime,
    plan: RolloutConfig | None = None,
    since: datetime | None = None,
    decision: GateDecision | None = None,
) -> Rollout:
    """Begin a rollout: ask the gate, then make the version the canary with the share of the first step.

    Args:
        project: whose model it is.
        state: where it is recorded.
        version: a number or an alias.
        actor: who begins it; recorded as who promotes, too.
        reason: why.
        now: event time.
        plan: steps and limits; default: ``serve.rollout`` of params.yaml.
        since: event time from which on answers count, if they are of the past; default: now.
        decision: the gate's, on this version and the present champion; default: the gate is asked now.

    Raises:
        GateRefused: the gate said no, and is enforced.
        ApprovalNeeded: the project wants a second person's approval of what a person rolls out.
        ModelNotFound: there is no such version.
        RegistryError: it is the champion, there is another rollout or canary, or the registry refused.
    """
    plan = plan or project.config.serve.rollout
    terms: dict[str, Any] = {"plan": plan.recorded(), "since": since.isoformat() if since else None}
    terms |= declared_rules(project.config.gates, project.config.gate)
    since = since or now
    version = get_version(project, version).version
    wanted = DeployRequest("canary", version, plan.steps[0].share, actor, reason)
    _refuse_others(project, state, version)
    terms["champion"] = plan_deployment(project, state, wanted, since).champion  # fails early, uncompared
    decision_id = decision.id if decision is not None else _pass_gate(project, state, version, now, actor)
    require_second_person(project, state, "rollout", version, actor=actor, reason=reason, terms=terms)
    with lock(project, state):
        finish_pending_moves(project, state)
        reconcile_deployments(project, state)
        _refuse_others(project, state, version)
        row = plan_deployment(project, state, wanted, since)
        rollout = _first_step(state, row, plan, decision_id, now)
        with state.transaction() as session:
            session.add(rollout)
            audit.append(session, _started(rollout))
            if row.status == "pending":
                session.add(row)
        if row.status == "pending":
            make_live(project, state, row)
    return rollout


def _started(rollout: Rollout) -> audit.Act:
    """Return what the audit log says of a rollout that begins."""
    details = {
        "version": rollout.version,
        "champion": rollout.champion,
        "decision_id": rollout.decision_id,
        "share": rollout.plan["steps"][0]["share"],
    }
    return audit.Act(rollout.actor, "start", "rollout", rollout.id, rollout.model, rollout.reason, details)


def _pass_gate(project: Project, state: State, version: str, now: datetime, actor: str) -> str:
    """Ask the gate about a version, and return the id of its decision.

    Raises:
        GateRefused: it said no, and is enforced.
    """
    decision = evaluate_gate(project, state, version, now, actor)
    if decision.mode == "enforce" and not decision.passed:
        raise GateRefused(
            f"the gate refused {project.model} {version}: {decision.reasons[0]}",
            hint="nothing was rolled out; gate and gates in params.yaml say what is asked for",
        )
    return decision.id


def _first_step(
    state: State, canary: Deployment, plan: RolloutConfig, decision_id: str, now: datetime
) -> Rollout:
    """Return the record of a rollout that begins with the deployment of ``canary``."""
    counts = as_baseline(read_counts(state, canary.model))
    return Rollout(
        id=new_id("roll"),
        model=canary.model,
        version=canary.version,
        champion=canary.champion,
        plan=plan.recorded(),
        status="running",
        step=0,
        baseline={"start": counts, "step": counts},
        checks=[],
        decision_id=decision_id,
        actor=canary.actor,
        reason=canary.reason,
        at=canary.at,
        stepped_at=now,
        requested_at=datetime.now(UTC),
    )


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
