"""Move the alias ``champion`` with a journal, so that a move can be finished or undone after a kill.

A move is recorded as ``pending`` before the registry is touched and as ``done`` after. A process that is
killed in between leaves a pending record, and `finish_pending_moves` ends it. Nothing else moves the alias.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from mlflow import MlflowException
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from tidemill.accounts import audit
from tidemill.errors import ModelNotFound, RegistryError
from tidemill.files.locks import locked
from tidemill.project import Project
from tidemill.registry.history.outside_moves import end_outside_alert
from tidemill.registry.versions.model_versions import CHAMPION, champion_version, get_version, list_versions
from tidemill.state import State
from tidemill.state.claims import HeldClaim, claimed
from tidemill.state.tables import Promotion
from tidemill.training.tracking.mlflow_tracking import connect, store_words

__all__ = ["finish_pending_moves", "lock", "move_alias", "refuse_lost_registry", "version_exists"]

_LOCK_SECONDS = 120.0


def finish_pending_moves(project: Project, state: State) -> list[Promotion]:
    """Finish the moves that a killed process left pending, and return them; the caller must hold the lock.

    If the alias points to the new version already, the move is done. If it still points to the old one, it is
    moved now. If it was moved otherwise, or the version was deleted, the record becomes ``superseded``.

    Raises:
        RegistryError: the registry does not answer, or no longer has the model.
    """
    # A pending record is written and ended under one lock: those found here belong to killed processes.
    with state.transaction() as session:
        found = list(
            session.scalars(
                select(Promotion)
                .where(Promotion.model == project.model, Promotion.status == "pending")
                .order_by(Promotion.requested_at, Promotion.id)
            )
        )
    if found:
        refuse_lost_registry(project)
    for record in found:
        serving = champion_version(project)
        if serving == record.to_version:
            _end(state, record, "done")
        elif serving == record.from_version and version_exists(project, record.to_version):
            _set_alias(project, record.to_version)
            _end(state, record, "done")
        else:
            _end(state, record, "superseded")
    return found


def move_alias(project: Project, state: State, record: Promotion, held: HeldClaim | None) -> Promotion:
    """Write ``record`` as pending, move the alias, mark the record as done.

    Args:
        project: whose model it is.
        state: the records.
        record: of the move.
        held: what `lock` gave.

    Raises:
        RegistryError: the records or the registry refused. Where the registry may have moved the alias all
            the same, the record stays pending, and the next `finish_pending_moves` ends it.
    """
    try:
        with state.transaction() as session:
            if held is not None:
                held.check(session)
            session.add(record)
            audit.append(session, _act(record))
    except IntegrityError as error:
        raise RegistryError(
            f"the promotion of {record.model} {record.to_version} cannot be recorded: {error.orig}",
            hint="a turn promotes at most once, and must be on record itself",
        ) from error
    _set_alias(project, record.to_version)
    _end(state, record, "done")
    return record


def refuse_lost_registry(project: Project) -> None:
    """Raise if the registry's database was lost: MLflow silently replaces a missing one by an empty one.

    Raises:
        RegistryError: it has no version of the model, but our records do.
    """
    if not list_versions(project):
        raise RegistryError(
            f"the registry does not know {project.model}, but by the platform's records versions of it "
            f"are deployed",
            hint="restore the registry's database: the records stay unchanged until then",
        )


def _set_alias(project: Project, version: str) -> None:
    try:
        connect(project).set_registered_model_alias(project.model, CHAMPION, version)
    except MlflowException as error:
        raise RegistryError(
            f"{project.model} {version} cannot be made champion: {store_words(error)}",
            hint="the move is on record as pending; the next start or promotion finishes or drops it",
        ) from error


def _act(record: Promotion) -> audit.Act:
    """Return what the audit log says of a move that is about to be made."""
    action = "promote" if record.kind == "promotion" else "roll-back"
    details = {
        name: getattr(record, name) for name in ("from_version", "decision_id", "turn_id", "id", "alias")
    }
    return audit.Act(record.actor, action, "version", record.to_version, record.model, record.reason, details)


def _end(state: State, record: Promotion, status: str) -> None:
    with state.transaction() as session:
        row = session.get_one(Promotion, record.id)
        row.status = status
        if status == "done":
            end_outside_alert(session, row)
        if status == "superseded":
            why = "the alias was moved otherwise, or the version is gone"
            details = {"id": record.id}
            audit.append(
                session,
                audit.Act("registry", "drop", "version", record.to_version, record.model, why, details),
            )
    record.status = status


def version_exists(project: Project, version: str) -> bool:
    """Return whether the registry has this version of the project's model."""
    try:
        get_version(project, version)
    except ModelNotFound:
        return False
    return True


@contextmanager
def lock(project: Project, state: State, seconds: float = _LOCK_SECONDS) -> Iterator[HeldClaim | None]:
    """Lock the aliases: one process at a time moves the champion and the versions beside it.

    Those who share records in PostgreSQL may be on several machines: there it is claimed on record, too.

    Args:
        project: whose model it is.
        state: the records.
        seconds: how long to wait for another process.

    Raises:
        RegistryError: another process held the lock for that long.
    """
    path = project.home / "champion.lock"

    def busy(holder: str) -> RegistryError:
        return RegistryError(
            f"another process moves the champion, and has done so for more than {seconds:.0f} s: {holder} "
            f"({path} is locked, or the move is claimed on another machine)",
            hint="wait for it, or end it, and try again",
        )

    if state.engine.dialect.name == "sqlite":
        with locked(path, busy=busy, wait_seconds=seconds):
            yield None
        return
    with claimed(state, path, project.model, "champion", busy, seconds) as held:
        yield held
