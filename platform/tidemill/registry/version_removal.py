"""Put versions away, bring them back, and delete them: none that serves, or that something waits for."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from mlflow import MlflowException
from sqlalchemy import select

from tidemill.accounts import audit
from tidemill.errors import RegistryError
from tidemill.project import Project
from tidemill.registry.declared_aliases import DEPLOYMENTS_FILE, read_declared
from tidemill.registry.history.alias_journal import finish_pending_moves, lock
from tidemill.registry.history.reconciliation import reconcile_deployments
from tidemill.registry.second_person import expire_requests
from tidemill.registry.versions.alias_names import ARCHIVED
from tidemill.registry.versions.artifacts import CHECK_REGISTRY
from tidemill.registry.versions.model_versions import get_version
from tidemill.registry.versions.version_record import ModelVersion
from tidemill.state import State
from tidemill.state.tables import Approval, Deployment, Rollout, Turn
from tidemill.training.tracking.mlflow_tracking import connect, shortened, store_words

_REASON = 1000  # characters; MLflow takes no tag of more than 100,000

__all__ = ["Pinned", "archive_version", "delete_version", "unarchive_version"]


Pinned = Sequence[tuple[str, str]]
"""Numbers of versions, and what names each, in words."""


def archive_version(
    project: Project, state: State, version: str, *, actor: str, reason: str, pinned: Pinned = ()
) -> str:
    """Put a version away: it is not listed, and cannot be promoted or deployed. Return its number.

    Args:
        project: whose model it is.
        state: the records.
        version: a number or an alias.
        actor: who does it.
        reason: why; the audit log has it whole, the registry its beginning.
        pinned: versions that other declarations than ``deployments.yaml`` name, such as schedules.

    Raises:
        ModelNotFound: there is no such version.
        RegistryError: it is in use or archived already, or the registry refused.
    """
    with lock(project, state):
        found = _unused(project, state, version, "archived", pinned)
        if ARCHIVED in found.tags:
            raise RegistryError(
                f"{project.model} {found.version} is archived already",
                hint=f"`tidemill models unarchive {found.version}` brings it back",
            )
        at = datetime.now(UTC).isoformat(timespec="seconds")
        _put_on_record(state, found, "archive", actor, reason)
        try:
            said = json.dumps({"by": actor, "at": at, "reason": shortened(reason, _REASON)})
            connect(project).set_model_version_tag(project.model, found.version, ARCHIVED, said)
        except MlflowException as error:
            raise _refused(state, found, "archive", "archived", error, actor) from error
    return found.version


def unarchive_version(project: Project, state: State, version: str, *, actor: str, reason: str) -> str:
    """Bring an archived version back, and return its number.

    Raises:
        ModelNotFound: there is no such version.
        RegistryError: it is not archived, or the registry refused.
    """
    found = get_version(project, version)
    if ARCHIVED not in found.tags:
        raise RegistryError(
            f"{project.model} {found.version} is not archived", hint="`tidemill models list` shows it"
        )
    _put_on_record(state, found, "unarchive", actor, reason)
    try:
        connect(project).delete_model_version_tag(project.model, found.version, ARCHIVED)
    except MlflowException as error:
        raise _refused(state, found, "unarchive", "brought back", error, actor) from error
    return found.version


def delete_version(
    project: Project, state: State, version: str, *, actor: str, reason: str, pinned: Pinned = ()
) -> str:
    """Delete a version from the registry, and return its number. Its run, with all files, stays in MLflow.

    Args:
        project: whose model it is.
        state: the records.
        version: a number or an alias.
        actor: who does it.
        reason: why.
        pinned: as for `archive_version`.

    Raises:
        ModelNotFound: there is no such version.
        RegistryError: it is in use, or the registry refused.
    """
    with lock(project, state):
        found = _unused(project, state, version, "deleted", pinned)
        _put_on_record(state, found, "delete", actor, reason)
        try:
            connect(project).delete_model_version(project.model, found.version)
        except MlflowException as error:
            raise _refused(state, found, "delete", "deleted", error, actor) from error
    return found.version


def _unused(project: Project, state: State, version: str, what: str, pinned: Pinned) -> ModelVersion:
    """Return a version that nothing uses; the lock must be held.

    Raises:
        RegistryError: it is in use; the message says by what.
    """
    finish_pending_moves(project, state)
    reconcile_deployments(project, state)
    expire_requests(state, project.model)
    found = get_version(project, version)
    uses = [f"it is {alias}" for alias in found.aliases]
    named = (read_declared(project.root) or {}).items()
    uses += [f"{DEPLOYMENTS_FILE} names it as {alias}" for alias, number in named if number == found.version]
    uses += [said for number, said in pinned if number == found.version]
    of = found.model, found.version
    with state.transaction() as session:
        for table, statuses, said in (
            (Deployment, ("pending", "live", "stopping"), "it is deployed beside the champion"),
            (Rollout, ("running", "promoting"), "it is being rolled out"),
            (Turn, ("running", "asked"), "a turn waits for it"),
            (Approval, ("waiting", "approved"), "a request for a second person waits"),
        ):
            its = select(table.id).where(
                table.model == of[0], table.version == of[1], table.status.in_(statuses)
            )
            if session.scalar(its.limit(1)) is not None:
                uses.append(said)
    if uses:
        raise RegistryError(
            f"{found.model} {found.version} cannot be {what}: {', '.join(uses)}",
            hint="promote another version, or end what uses it (`tidemill deploy stop`, "
            "`tidemill rollback --stage`, `tidemill approvals list`) or names it, then try again",
        )
    return found


def _put_on_record(state: State, found: ModelVersion, action: str, actor: str, reason: str) -> None:
    """Write an act into the audit log: before it takes effect, as MLflow is no part of our transactions."""
    details = {"run_id": found.run_id, "sha256": found.digest}
    with state.transaction() as session:
        audit.append(
            session, audit.Act(actor, action, "version", found.version, found.model, reason, details)
        )


def _refused(
    state: State, found: ModelVersion, action: str, done: str, error: MlflowException, actor: str
) -> RegistryError:
    """Put on record that an act on record had no effect, and return the error that says so."""
    why = store_words(error)
    _put_on_record(state, found, audit.FAILED + action, actor, shortened(why, _REASON))
    return RegistryError(f"{found.model} {found.version} cannot be {done}: {why}", hint=CHECK_REGISTRY)
