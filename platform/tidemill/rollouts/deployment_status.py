"""Who answers now, as the records tell it: for ``tidemill deploy show``."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tidemill.project import Project
from tidemill.registry.deployments import live, reconcile
from tidemill.registry.versions.model_versions import champion_version
from tidemill.rollouts.rollout import rollouts
from tidemill.serving.observability.version_counters import Count, read_counts
from tidemill.serving.routing.desired_state import as_lane
from tidemill.serving.routing.replicas import living
from tidemill.state import State
from tidemill.state.tables import Deployment, ReplicaState, Rollout

__all__ = ["situation"]


def situation(project: Project, state: State, now: datetime) -> dict[str, Any]:
    """Return the champion, what is beside it, what replicas say of it, and the last rollout; as JSON has it.

    What a kill left half done is settled first.

    Raises:
        RegistryError: the registry does not answer.
    """
    reconcile(project, state)
    with state.transaction() as session:
        replicas = living(session, project.model, datetime.now(UTC))
    counts = read_counts(state, project.model)
    latest = next(iter(rollouts(state, project.model, 1)), None)
    return {
        "model": project.model,
        "champion": champion_version(project),
        "at": now,
        "deployments": [_deployment(row, replicas, counts) for row in live(state, project.model)],
        "replicas": [
            {
                "id": one.id,
                "version": one.version,
                "wanted": one.wanted,
                "error": one.error,
                "lanes": one.lanes or [],
                "seen_at": one.seen_at,
            }
            for one in replicas
        ],
        "problems": _problems(replicas),
        "rollout": _rollout(latest) if latest is not None else None,
    }


def _deployment(
    row: Deployment, replicas: Sequence[ReplicaState], counts: dict[tuple[str, str], Count]
) -> dict[str, Any]:
    lane = as_lane(row)
    count = counts.get((lane.role, row.version), Count())
    return {
        "id": row.id,
        "kind": row.kind,
        "name": row.name,
        "version": row.version,
        "share": row.share,
        "answered": count.answered,
        "failed": count.failed,
        "dropped": count.dropped,
        "last_error": count.error,
        "replicas": len(replicas),
        "loaded": sum(
            bool(one["loaded"])
            for replica in replicas
            for one in replica.lanes or ()
            if (one["role"], one["version"]) == (lane.role, row.version)
        ),
        "actor": row.actor,
        "reason": row.reason,
        "at": row.at,
    }


def _problems(replicas: Sequence[ReplicaState]) -> list[str]:
    found = [f"replica {one.id}: version {one.wanted}: {one.error}" for one in replicas if one.error]
    found += [
        f"replica {one.id} cannot load version {lane['version']} ({lane['role']}): {lane['error']}"
        for one in replicas
        for lane in one.lanes or ()
        if lane["error"]
    ]
    return found


def _rollout(row: Rollout) -> dict[str, Any]:
    steps = row.plan["steps"]
    last = row.checks[-1] if row.checks else None
    says = row.outcome or f"step {row.step + 1} of {len(steps)} ({steps[row.step]['share'] * 100:g} %)"
    if row.outcome is None and last is not None:
        says += f": {last['reason']}"
    return {
        "id": row.id,
        "version": row.version,
        "champion": row.champion,
        "status": row.status,
        "step": row.step,
        "steps": steps,
        "checks": row.checks,
        "outcome": row.outcome,
        "says": f"{row.status.replace('_', ' ')}: {says}",
        "at": row.at,
        "finished_at": row.finished_at,
    }
