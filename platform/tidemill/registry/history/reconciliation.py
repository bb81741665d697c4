"""Reconcile our records of deployments with the registry's aliases, after kills and changes made there."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tidemill.accounts import audit
from tidemill.ids import new_id
from tidemill.project import Project
from tidemill.registry.history.alias_journal import refuse_lost_registry, version_exists
from tidemill.registry.history.outside_moves import record_outside_move, tell_outside_deployment
from tidemill.registry.history.stage_journal import reconcile_stages
from tidemill.registry.versions.alias_names import CHAMPION, EXPERIMENT, alias_of, kind_of
from tidemill.registry.versions.aliases import drop_alias, read_aliases, set_alias
from tidemill.state import State
from tidemill.state.tables import Deployment, VersionCount

__all__ = ["deployed", "end_deployment", "go_live", "reconcile_deployments"]

_SHARES = {"canary": 0.05, "shadow": 1.0, "challenger": 1.0}
"""Shares of aliases that were set in the registry, which has no shares; an experiment gets half."""
_HALF = 0.5
_SEEN = ("canary", "ab")
"""Kinds whose answers are what callers get."""
_BY = "registry"
"""Who deploys and ends what somebody changed there."""
_OPEN = ("pending", "live", "stopping")


def reconcile_deployments(project: Project, state: State) -> None:
    """Finish pending and stopping deployments, and moves of stages, then adopt changes of aliases.

    The lock must be held.

    Raises:
        RegistryError: the registry does not answer, or its database was lost.
    """
    if not read_aliases(project) and _in(state, project.model, *_OPEN):
        refuse_lost_registry(project)
    for row in _in(state, project.model, "pending"):
        _finish(project, state, row)
    aliases = reconcile_stages(project, state, read_aliases(project))
    record_outside_move(project, state, aliases.get(CHAMPION))
    _stop_the_champion(state, project.model, aliases.get(CHAMPION))
    for row in _in(state, project.model, "stopping"):
        if aliases.get(alias_of(row.kind, row.name)) == row.version and not _used(state, row):
            drop_alias(project, alias_of(row.kind, row.name))
        with state.transaction() as session:
            session.get_one(Deployment, row.id).status = "stopped"
    _follow(project, state, read_aliases(project))


def end_deployment(session: Session, row: Deployment, status: str, reason: str, by: str) -> None:
    """Record that a deployment has ended, and who ended it."""
    found = session.get_one(Deployment, row.id)
    found.status, found.ended_at, found.ended_reason = status, datetime.now(UTC), reason
    if found.actor == _BY:
        tell_outside_deployment(session, found, datetime.now(UTC), ended=True)
    details = {"id": row.id, "name": row.name, "status": status}
    audit.append(session, audit.Act(by, "stop", "version", row.version, row.model, reason, details))


def deployed(row: Deployment) -> audit.Act:
    """Return what the audit log says of a version that is deployed."""
    details = {"id": row.id, "kind": row.kind, "name": row.name, "share": row.share}
    return audit.Act(row.actor, "deploy", "version", row.version, row.model, row.reason, details)


def _finish(project: Project, state: State, row: Deployment) -> None:
    """Make a pending deployment live, unless its alias was moved otherwise or its version is gone."""
    alias = alias_of(row.kind, row.name)
    named = read_aliases(project).get(alias)
    if named not in (row.version, row.from_version) or not version_exists(project, row.version):
        with state.transaction() as session:
            why = "somebody else moved the alias, or the version is gone"
            end_deployment(session, row, "superseded", why, _BY)
        return
    if named != row.version:
        set_alias(project, alias, row.version)
    with state.transaction() as session:
        go_live(session, session.get_one(Deployment, row.id))


def go_live(session: Session, row: Deployment) -> None:
    """Make a deployment live in place of the one of its name, in one transaction."""
    moment, counts = datetime.now(UTC), _counted_by_now(session, row)
    for other in session.scalars(
        select(Deployment).where(
            Deployment.model == row.model, Deployment.name == row.name, Deployment.status == "live"
        )
    ):
        same = other.version == row.version
        counts = other.counted_before if same else counts
        why = f"now with a share of {row.share:.1%}" if same else f"followed by version {row.version}"
        other.status, other.ended_at, other.ended_reason = "stopped", moment, why
        if other.actor == _BY != row.actor:
            tell_outside_deployment(session, other, moment, ended=True)
    session.flush()
    row.status, row.live_at, row.counted_before = "live", moment, counts


def _counted_by_now(session: Session, row: Deployment) -> dict[str, Any] | None:
    """Return what replicas have counted for a version in the role that it gets: they count on."""
    role = f"ab:{row.name}" if row.kind == "ab" else row.kind
    of = VersionCount.model == row.model, VersionCount.role == role, VersionCount.version == row.version
    sums = (func.sum(each) for each in (VersionCount.answered, VersionCount.failed, VersionCount.dropped))
    found = session.execute(select(*sums).where(*of)).one()
    return {f"{role} {row.version}": dict(zip(("answered", "failed", "dropped"), found, strict=True))}


def _stop_the_champion(state: State, model: str, champion: str | None) -> None:
    for row in _in(state, model, "live"):
        if row.version == champion:
            with state.transaction() as session:
                end_deployment(session, row, "stopping", "it became the champion", _BY)


def _follow(project: Project, state: State, aliases: dict[str, str]) -> None:
    """End and adopt deployments as aliases were moved in the registry."""
    champion = aliases.get(CHAMPION)
    rows = {alias_of(row.kind, row.name): row for row in _in(state, project.model, "live")}
    for alias, row in rows.items():
        if aliases.get(alias) in (None, champion):
            how = "given to the champion" if alias in aliases else "taken away in the registry"
            with state.transaction() as session:
                end_deployment(session, row, "stopped", f"the alias {alias} was {how}", _BY)
    for alias, version in aliases.items():
        kind, before = kind_of(alias), rows.get(alias)
        if kind is None or champion is None or version == champion:
            continue
        if before is None or before.version != version:
            _adopt(project, state, (kind, alias, version, champion), before)


def _adopt(
    project: Project, state: State, wanted: tuple[str, str, str, str], before: Deployment | None
) -> None:
    kind, alias, version, champion = wanted
    moment = datetime.now(UTC)
    row = Deployment(
        id=new_id("dep"),
        model=project.model,
        kind=kind,
        name=alias.removeprefix(EXPERIMENT),
        version=version,
        champion=champion,
        share=before.share if before is not None else _SHARES.get(kind, _HALF),
        salt=new_id("salt"),
        status="pending",
        from_version=before.version if before is not None else None,
        actor=_BY,
        reason=f"the alias {alias} was set in the registry",
        at=moment,
        requested_at=moment,
    )
    with state.transaction() as session:
        session.add(row)
        audit.append(session, deployed(row))
        if kind in _SEEN:
            tell_outside_deployment(session, row, moment, ended=False)
        go_live(session, row)


def _used(state: State, row: Deployment) -> bool:
    """Return whether another live deployment needs the alias of one that ends."""
    return any(
        other.name == row.name and other.version == row.version for other in _in(state, row.model, "live")
    )


def _in(state: State, model: str, *statuses: str) -> list[Deployment]:
    with state.transaction() as session:
        return list(
            session.scalars(
                select(Deployment)
                .where(Deployment.model == model, Deployment.status.in_(statuses))
                .order_by(Deployment.requested_at, Deployment.id)
            )
        )
