"""Describes which versions answer now, from the records: for ``tidemill deploy show``."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from tidemill.errors import NotWritable
from tidemill.project import ProjectFolder, load_project
from tidemill.registry.versions.alias_names import differs
from tidemill.registry.versions.registry_reader import read_alias_names, read_champion
from tidemill.rollouts.rollout_counts import Counted, counted
from tidemill.rollouts.unjudged_steps import unjudged_note
from tidemill.state import record_queries
from tidemill.state.record_reader import Records, Row

__all__ = ["describe_deployments"]

_UNDER_WAY = ("running", "promoting")


def describe_deployments(folder: ProjectFolder, records: Records, now: datetime) -> dict[str, Any]:
    """Return the champion, what is beside it, what replicas say of it, and the last rollout; as JSON has it.

    Records and registry are reconciled first, unless the project may only be read.

    Raises:
        RegistryError: the registry does not answer.
    """
    model = folder.model
    _settle(folder, records)
    replicas = record_queries.replicas(records, model, datetime.now(UTC))
    counts = record_queries.lane_counts(records, model)
    latest = record_queries.last_rollout(records, model)
    live = record_queries.live_deployments(records, model)
    return {
        "model": model,
        "champion": read_champion(folder),
        "at": now,
        "deployments": [_deployment(row, replicas, _own_counts(row, counts, latest)) for row in live],
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
        "rollout": _rollout(latest, folder) if latest is not None else None,
    }


def _settle(folder: ProjectFolder, records: Records) -> None:
    """Reconcile unfinished changes, and changes in the registry itself; usually there are none."""
    live = record_queries.live_deployments(records, folder.model)
    if record_queries.is_unsettled(records, folder.model) or differs(read_alias_names(folder), live):
        from tidemill.registry.deployments import reconcile
        from tidemill.state import open_state

        project = load_project(folder.root, folder.settings)
        with suppress(NotWritable):  # whoever may write reconciles them: they are shown as they are
            state = open_state(project.state_url)
            try:
                reconcile(project, state)
            finally:
                state.close()


def _role(row: Row) -> str:
    return f"ab:{row.name}" if row.kind == "ab" else row.kind


def _own_counts(row: Row, counts: Sequence[Row], latest: Row | None) -> Counted:
    """Return what replicas counted for a deployment since it began; of a rollout's canary, in the rollout."""
    role = _role(row)
    own = [count for count in counts if (count.role, count.version) == (role, row.version)]
    rolled = latest is not None and latest.status in _UNDER_WAY and latest.version == row.version
    start = row.counted_before or {}
    if latest is not None and rolled and role == "canary":
        start = latest.baseline.get("start", {})
    return next(iter(counted(own, start)), Counted(role, row.version, 0, 0, 0, None))


def _deployment(row: Row, replicas: Sequence[Row], own: Counted) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "name": row.name,
        "version": row.version,
        "share": row.share,
        "answered": own.answered,
        "failed": own.failed,
        "dropped": own.dropped,
        "last_error": own.error,
        "replicas": len(replicas),
        "loaded": sum(
            bool(one["loaded"])
            for replica in replicas
            for one in replica.lanes or ()
            if (one["role"], one["version"]) == (own.role, row.version)
        ),
        "actor": row.actor,
        "reason": row.reason,
        "at": row.at,
    }


def _problems(replicas: Sequence[Row]) -> list[str]:
    found = [f"replica {one.id}: version {one.wanted}: {one.error}" for one in replicas if one.error]
    found += [
        f"replica {one.id} cannot load version {lane['version']} ({lane['role']}): {lane['error']}"
        for one in replicas
        for lane in one.lanes or ()
        if lane["error"]
    ]
    return found


def _rollout(row: Row, folder: ProjectFolder) -> dict[str, Any]:
    steps = row.plan["steps"]
    last = row.checks[-1] if row.checks else None
    says = row.outcome or f"step {row.step + 1} of {len(steps)} ({steps[row.step]['share'] * 100:g} %)"
    if row.outcome is None and last is not None:
        says += f": {last['reason']}"
    judged = last is not None and last.get("numbers", {}).get("quality") is not None
    task = folder.params["project"].get("task", "binary")
    return {
        "note": None if row.outcome or judged else unjudged_note(task, row.plan),
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
