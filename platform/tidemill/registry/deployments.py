"""Deploy versions beside the champion, and stop them.

Replicas follow our records alone; the registry's aliases (``canary``, ``shadow``,
``challenger``, ``ab-<name>``) follow. A deployment is recorded as ``pending`` before its alias is set and
becomes ``live`` after; one that ends is ``stopping``, out of service, until its alias is deleted. An alias
that is moved in the registry itself counts as a request, and becomes a deployment.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from tidemill.accounts import audit
from tidemill.errors import RegistryError, UsageError
from tidemill.ids import new_id
from tidemill.project import Project
from tidemill.registry.history.alias_journal import finish_pending_moves, lock
from tidemill.registry.history.outside_versions import record_outside_versions
from tidemill.registry.history.reconciliation import deployed, end_deployment, reconcile_deployments
from tidemill.registry.second_person import require_second_person
from tidemill.registry.versions.alias_names import alias_of
from tidemill.registry.versions.aliases import read_aliases, set_alias
from tidemill.registry.versions.model_versions import CHAMPION, get_version
from tidemill.state import State
from tidemill.state.tables import Deployment, Rollout

__all__ = [
    "KINDS",
    "DeployRequest",
    "deploy",
    "live",
    "make_live",
    "plan_deployment",
    "reconcile",
    "stop",
    "try_to_reconcile",
]

KINDS = ("canary", "ab", "shadow", "challenger")
_SEEN = ("canary", "ab")
"""Kinds whose answers are what callers get."""
RUNNING = ("running", "promoting")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


@dataclass(frozen=True)
class DeployRequest:
    """Which version is to be deployed, how, and by whom."""

    kind: str
    """One of `KINDS`."""
    version: str
    """A number or an alias."""
    share: float
    """Share of the routing keys, 0 to 1."""
    actor: str
    reason: str
    name: str = ""
    """Name of the experiment; the other kinds have none."""


def live(state: State, model: str) -> list[Deployment]:
    """Return the deployments that are live, by name."""
    with state.transaction() as session:
        return list(
            session.scalars(
                select(Deployment)
                .where(Deployment.model == model, Deployment.status == "live")
                .order_by(Deployment.name)
            )
        )


def deploy(project: Project, state: State, wanted: DeployRequest, now: datetime) -> Deployment:
    """Deploy a version beside the champion; replicas follow within one or two polls.

    There is one canary, one shadow and one challenger, and any number of experiments. A second deployment of
    the same name replaces the first; with the same version it only changes the share.

    Args:
        project: whose model it is.
        state: where it is recorded.
        wanted: the version, and how it is deployed.
        now: event time.

    Raises:
        UsageError: the kind, the name or the share is not valid.
        ApprovalNeeded: the project wants a second person's approval of what a person lets answer callers.
        ModelNotFound: there is no such version.
        RegistryError: the version is the champion, there is no champion, a rollout is under way, or the
            registry refused.
    """
    with lock(project, state):
        finish_pending_moves(project, state)
        reconcile_deployments(project, state)
        row = plan_deployment(project, state, wanted, now)
        if row.status == "live":
            return row
        if row.kind in _SEEN:
            terms = {"champion": row.champion, "kind": row.kind, "name": row.name, "share": row.share}
            actor, reason = wanted.actor, wanted.reason
            require_second_person(
                project, state, "deploy", row.version, actor=actor, reason=reason, terms=terms
            )
        with state.transaction() as session:
            if wanted.kind == "canary":
                _refuse_rollout(session, project.model)
            session.add(row)
            audit.append(session, deployed(row))
        return make_live(project, state, row)


def plan_deployment(project: Project, state: State, wanted: DeployRequest, now: datetime) -> Deployment:
    """Return a new record, ``pending`` and not written yet; or the live one that is what is wanted already.

    Raises:
        UsageError: the kind, the name or the share is not valid.
        RegistryError: the version is the champion, or there is no champion.
    """
    name = _name(wanted)
    if not 0 < wanted.share <= 1:
        raise UsageError(
            f"a share must be above 0 % and at most 100 %, not {wanted.share * 100:g} %",
            hint="write it like 10% or 0.1",
        )
    found, aliases = get_version(project, wanted.version), read_aliases(project)
    found.refuse_archived()
    version = found.version
    champion = _other_champion(project.model, version, aliases.get(CHAMPION))
    before = next((row for row in live(state, project.model) if row.name == name), None)
    same = before is not None and before.version == version and before.kind == wanted.kind
    if before is not None and same and (before.share, before.champion) == (wanted.share, champion):
        return before
    return Deployment(
        id=new_id("dep"),
        model=project.model,
        kind=wanted.kind,
        name=name,
        version=version,
        champion=champion,
        share=wanted.share,
        salt=before.salt if before is not None and same else new_id("salt"),
        status="pending",
        from_version=aliases.get(alias_of(wanted.kind, name)),
        actor=wanted.actor,
        reason=wanted.reason,
        at=now,
        requested_at=datetime.now(UTC),
    )


def _other_champion(model: str, version: str, champion: str | None) -> str:
    """Return the champion, after checking that there is one and that it is another version."""
    if champion is None:
        raise RegistryError(
            f"{model} has no champion that a version could be deployed beside",
            hint=f"`tidemill promote {model} {version}` makes one",
        )
    if version == champion:
        raise RegistryError(
            f"{model} {version} is the champion: it answers all other keys already",
            hint=f"`tidemill models list {model}` shows the other versions",
        )
    return champion


def make_live(project: Project, state: State, row: Deployment) -> Deployment:
    """Set the alias of a deployment that is recorded as pending, and make it live; the lock must be held.

    Raises:
        RegistryError: the registry refused; the record stays pending, and `reconcile` finishes it.
    """
    set_alias(project, alias_of(row.kind, row.name), row.version)
    reconcile_deployments(project, state)
    with state.transaction() as session:
        return session.get_one(Deployment, row.id)


def stop(project: Project, state: State, names: Sequence[str], reason: str, by: str) -> list[Deployment]:
    """Stop deployments; replicas follow with their next poll. A rollout ends with its canary.

    Args:
        project: whose model it is.
        state: where it is recorded.
        names: ``canary``, ``shadow``, ``challenger`` or names of experiments; none for all.
        reason: why; it is recorded.
        by: who stops them.

    Raises:
        UsageError: there is nothing of that name.
        RegistryError: the registry refused; they are out of service all the same.
    """
    with lock(project, state):
        try_to_reconcile(project, state)
        rows = live(state, project.model)
        known = [row.name for row in rows]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise UsageError(
                f"{project.model} has no deployment {unknown[0]!r}; it has: {', '.join(known) or 'none'}",
                hint="`tidemill deploy show` shows them",
            )
        chosen = [row for row in rows if not names or row.name in names]
        with state.transaction() as session:
            for row in chosen:
                end_deployment(session, row, "stopping", reason, by)
            if any(row.kind == "canary" for row in chosen):
                _stop_rollout(session, project.model, reason, by)
        reconcile_deployments(project, state)
        return chosen


def try_to_reconcile(project: Project, state: State) -> RegistryError | None:
    """Do what `reconcile` does, and return why the registry could not be asked; the lock must be held.

    Stopping a version must not wait for the registry.
    """
    try:
        finish_pending_moves(project, state)
        reconcile_deployments(project, state)
    except RegistryError as error:
        return error
    return None


def reconcile(project: Project, state: State, seconds: float | None = None) -> None:
    """Finish moves and deployments that a killed process left, and adopt what was changed in the registry.

    What others registered or deleted there is put on record.

    Args:
        project: whose model it is.
        state: the records.
        seconds: to wait for another process that moves aliases now; default: two minutes.

    Raises:
        RegistryError: the registry does not answer, or another process holds the lock.
    """
    with lock(project, state) if seconds is None else lock(project, state, seconds):
        finish_pending_moves(project, state)
        reconcile_deployments(project, state)
        record_outside_versions(project, state)


def _name(wanted: DeployRequest) -> str:
    if wanted.kind not in KINDS:
        raise UsageError(
            f"a version cannot be deployed as {wanted.kind!r}; there are: {', '.join(KINDS)}",
            hint="choose one of these",
        )
    if wanted.kind != "ab":
        return wanted.kind
    if not _NAME.fullmatch(wanted.name) or wanted.name in KINDS:
        raise UsageError(
            f"{wanted.name!r} cannot be the name of an experiment",
            hint="lower-case letters, digits, - and _, at most 40; not canary, ab, shadow or challenger",
        )
    return wanted.name


def _refuse_rollout(session: Session, model: str) -> None:
    found = session.scalar(select(Rollout).where(Rollout.model == model, Rollout.status.in_(RUNNING)))
    if found is not None:
        raise RegistryError(
            f"version {found.version} of {model} is being rolled out ({found.id}): it is the canary",
            hint="`tidemill deploy stop canary` ends that",
        )


def _stop_rollout(session: Session, model: str, reason: str, by: str) -> None:
    found = session.scalar(select(Rollout).where(Rollout.model == model, Rollout.status.in_(RUNNING)))
    if found is not None:
        found.status, found.outcome, found.finished_at = "stopped", reason, datetime.now(UTC)
        details = {"version": found.version}
        audit.append(session, audit.Act(by, "stop", "rollout", found.id, model, reason, details))
