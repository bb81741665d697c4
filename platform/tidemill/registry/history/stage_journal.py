"""Move the aliases of stages with a journal, as the champion's is moved, and notice who else moved them.

A move is recorded as ``pending`` before the registry is touched and as ``done`` after. What a killed process
left is finished or dropped by the next one that holds the lock.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from tidemill.accounts import audit
from tidemill.ids import new_id
from tidemill.project import Project
from tidemill.registry.history.alias_journal import version_exists
from tidemill.registry.history.asked_in_mlflow import who_moved
from tidemill.registry.history.outside_moves import OUTSIDE, tell_outside_stage
from tidemill.registry.versions.aliases import drop_alias, set_alias
from tidemill.registry.versions.model_versions import list_versions
from tidemill.state import State
from tidemill.state.claims import HeldClaim
from tidemill.state.tables import StageMove

__all__ = ["move_stage", "reconcile_stages"]

_ON_PAGES = "the alias was moved on Tidemill's pages of MLflow: without gates, reason and approval"
_WHY = "the alias was moved in the registry itself: without gates, reason and approval"


def reconcile_stages(project: Project, state: State, aliases: Mapping[str, str]) -> dict[str, str]:
    """Finish the moves that a killed process left, and record those made past Tidemill.

    The caller must hold the lock.

    Args:
        project: its ``stages`` say which aliases are stages.
        state: the records.
        aliases: alias → version, as the registry has them.

    Returns:
        The aliases as they are now.

    Raises:
        RegistryError: the registry does not answer.
    """
    there = dict(aliases)
    for record in _pending(state, project.model):
        named, to = there.get(record.stage), record.to_version
        wanted = named == record.from_version and (to is None or version_exists(project, to))
        if named != to and not wanted:
            _end(state, record, "superseded")
            continue
        if named != to:
            _set(project, record)
        if to is not None:
            there[record.stage] = to
        else:
            there.pop(record.stage, None)
        _end(state, record, "done")
    for stage in project.config.stages:
        _record_outside(project, state, stage.name, there.get(stage.name))
    return there


def _pending(state: State, model: str) -> list[StageMove]:
    # Written and ended under one lock: those found here belong to killed processes.
    of = StageMove.model == model, StageMove.status == "pending"
    with state.transaction() as session:
        found = session.scalars(select(StageMove).where(*of).order_by(StageMove.requested_at, StageMove.id))
        return list(found)


def move_stage(project: Project, state: State, record: StageMove, held: HeldClaim | None) -> StageMove:
    """Write ``record`` as pending, move the alias, mark the record as done.

    Raises:
        RegistryError: the registry refused; the record stays pending, for the next `reconcile_stages`.
    """
    with state.transaction() as session:
        if held is not None:
            held.check(session)
        session.add(record)
        action = "stage" if record.kind == "promotion" else "unstage"
        details = {name: getattr(record, name) for name in ("from_version", "to_version", "stage", "id")}
        audit.append(
            session,
            audit.Act(record.actor, action, "version", record.version, record.model, record.reason, details),
        )
    _set(project, record)
    _end(state, record, "done")
    return record


def _set(project: Project, record: StageMove) -> None:
    if record.to_version is None:
        drop_alias(project, record.stage)
    else:
        set_alias(project, record.stage, record.to_version)


def _end(state: State, record: StageMove, status: str) -> None:
    with state.transaction() as session:
        row = session.get_one(StageMove, record.id)
        row.status = status
        if status == "done":
            tell_outside_stage(session, row, datetime.now(UTC), ended=True)
        else:
            why = "the alias was moved otherwise, or the version is gone"
            details = {"id": row.id, "stage": row.stage}
            audit.append(
                session, audit.Act("registry", "drop", "version", row.version, row.model, why, details)
            )
    record.status = status


def _record_outside(project: Project, state: State, stage: str, version: str | None) -> None:
    """Record a stage as moved outside, if no move on record has put the version there."""
    moment = datetime.now(UTC)
    with state.transaction() as session:
        before = _last(session, project.model, stage)
    if before is None or before.to_version == version:
        return
    versions = [one.version for one in list_versions(project)]
    if version is None and not versions:
        return  # MLflow makes an empty registry where its database was lost
    with state.transaction() as session:
        who = who_moved(session, project.model, stage, version, before.requested_at)
    made = StageMove(
        id=new_id("stage"),
        model=project.model,
        stage=stage,
        from_version=before.to_version,
        to_version=version,
        kind=OUTSIDE,
        status="done",
        champion=None,
        mode=None,
        passed=None,
        reasons=[],
        numbers={},
        digest=None,
        actor=who or "registry",
        reason=_ON_PAGES if who else _WHY,
        at=moment,
        requested_at=moment,
    )
    details = {"from_version": made.from_version, "to_version": version, "stage": stage, "id": made.id}
    with state.transaction() as session:
        session.add(made)
        if who is None:  # else the log has it already
            act = audit.Act("registry", "move", "version", made.version, project.model, _WHY, details)
            audit.append(session, act)
        tell_outside_stage(session, made, moment, ended=False, left=before.to_version in (None, *versions))


def _last(session: Session, model: str, stage: str) -> StageMove | None:
    of = StageMove.model == model, StageMove.stage == stage, StageMove.status == "done"
    order = StageMove.requested_at.desc(), StageMove.id.desc()
    return session.scalar(select(StageMove).where(*of).order_by(*order).limit(1))
