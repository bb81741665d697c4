"""Records versions that were registered or deleted past Tidemill, such as in MLflow's UI or by its client.

What the registry has is compared with what it had when it was last looked at. Both are written in the
transaction that puts the difference on record, so that each is told once.
"""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from mlflow import MlflowException
from sqlalchemy import select
from sqlalchemy.orm import Session

from tidemill.accounts import audit
from tidemill.errors import RegistryError
from tidemill.project import Project
from tidemill.registry.history.asked_in_mlflow import asked_of
from tidemill.registry.own_versions import is_ours
from tidemill.registry.versions.artifacts import CHECK_REGISTRY, connect_registry, search_versions
from tidemill.state import State
from tidemill.state.tables import AuditEntry, SeenVersions
from tidemill.training.tracking.mlflow_tracking import store_words

__all__ = ["record_outside_versions"]

_BY: Final = "registry"
_REGISTERED: Final = "it was registered in the registry itself, not by Tidemill"
_DELETED: Final = "it was deleted in the registry itself, not by Tidemill"
_DELETIONS: Final = ("delete", f"{audit.FAILED}delete")
_log = logging.getLogger(__name__)


def record_outside_versions(project: Project, state: State) -> None:
    """Put on record which versions others registered or deleted since the last look; the lock must be held.

    The first look at a registry puts nothing on record. Nor does one at a registry without the model: MLflow
    makes an empty one where its database was lost.

    Raises:
        RegistryError: the registry does not answer.
    """
    there = _read(project)
    if there is None:
        return
    now = {version: one.creation_timestamp for version, one in there.items()}
    with state.transaction() as session:
        row = session.get(SeenVersions, project.model)
        if row is None:
            session.add(SeenVersions(model=project.model, versions=now))
            return
        if row.versions == now:
            return
        gone = _in_order(row.versions.items() - now.items())
        new = _in_order(now.items() - row.versions.items())
        acts = [
            audit.Act(_BY, "delete", "version", version, project.model, _DELETED)
            for version, made_at in gone
            if not _deleted_by_us(session, project.model, version, made_at)
        ]
        acts += [
            audit.Act(
                _BY, "register", "version", version, project.model, _REGISTERED,
                {"run_id": there[version].run_id or None},
            )
            for version, made_at in new
            if not is_ours(there[version].tags, there[version].source)
            and not _registered_over_pages(session, project.model, version, made_at)
        ]  # fmt: skip
        row.versions = now
        for act in acts:
            audit.append(session, act)
    for act in acts:
        _log.warning("version %s of %s: %s", act.resource_id, project.model, act.reason)


def _read(project: Project) -> dict[str, Any] | None:
    """Return number → version, as MLflow has them; None if it has no such model."""
    client = connect_registry(project)
    try:
        found = search_versions(client, project.model)
        if not found:
            client.get_registered_model(project.model)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise RegistryError(
            f"the registry cannot list {project.model}: {store_words(error)}", hint=CHECK_REGISTRY
        ) from error
    return {str(one.version): one for one in found}


def _in_order(versions: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    return sorted(versions, key=lambda one: int(one[0]))


def _registered_over_pages(session: Session, model: str, version: str, made_at: int) -> bool:
    """Return whether the log says who registered a version through Tidemill's pages of MLflow."""
    of = AuditEntry.model == model, AuditEntry.action == "register", AuditEntry.at >= _moment(made_at)
    by = AuditEntry.resource == "version", AuditEntry.resource_id == version, AuditEntry.actor != _BY
    return session.scalar(select(AuditEntry.seq).where(*of, *by).limit(1)) is not None


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)


def _deleted_by_us(session: Session, model: str, version: str, made_at: int) -> bool:
    """Return whether the log has a deletion of a version already, by Tidemill or through its pages of MLflow.

    What earlier looks put on record was about another version of that number.

    Args:
        session: of the records.
        model: its name.
        version: its number.
        made_at: when it was registered, in milliseconds since 1970: a number may be given again.
    """
    of = AuditEntry.model == model, AuditEntry.action.in_(_DELETIONS), AuditEntry.at >= _moment(made_at)
    by = AuditEntry.resource == "version", AuditEntry.actor != _BY
    query = select(AuditEntry).where(*of, *by).order_by(AuditEntry.seq.desc())
    last = next((one for one in session.scalars(query) if _is_about(one, model, version)), None)
    return last is not None and last.action == _DELETIONS[0]


def _is_about(entry: AuditEntry, model: str, version: str) -> bool:
    """Return whether an entry is about a version: by its number, or by what MLflow's API was asked."""
    if entry.resource_id == version:
        return True
    asked = asked_of(entry)
    if asked.get("name") != model:
        return False
    return "version" not in asked or str(asked["version"]) == version
