"""Records moves of the champion that were made past Tidemill, such as by MLflow's own API on this machine.

Each raises an alert, which the next move by Tidemill resolves, as a person may. So does an alias that is
deleted there; that one ends too when the alias is back.
"""

import logging
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from tidemill.accounts import audit
from tidemill.ids import new_id
from tidemill.project import Project
from tidemill.registry.history.asked_in_mlflow import who_moved
from tidemill.registry.versions.alias_names import CHAMPION
from tidemill.state import State
from tidemill.state.external_alerts import ExternalAlert, take_external
from tidemill.state.tables import Alert, Deployment, Promotion, StageMove

__all__ = [
    "OUTSIDE",
    "end_outside_alert",
    "record_outside_move",
    "tell_outside_deployment",
    "tell_outside_stage",
]

OUTSIDE = "outside"
"""The kind of such a move."""
_WHY = "the alias champion was moved in the registry itself: without gate, reason and approval"
_ON_PAGES = "the alias champion was moved on Tidemill's pages of MLflow: without gate, reason and approval"
_DELETED = "the alias champion was deleted in the registry itself: without gate, reason and approval"
_SOURCE: Final = "registry"
_MONITOR: Final = "champion-moved-outside"
_GONE: Final = f"{CHAMPION}-deleted"
"""Fingerprint of the alert about an alias that was deleted."""
_log = logging.getLogger(__name__)


def record_outside_move(project: Project, state: State, champion: str | None) -> Promotion | None:
    """Record the champion as moved outside, if no move on record has put it there; the lock must be held.

    Args:
        project: whose model it is.
        state: the records.
        champion: the version that the registry names; None if the alias was deleted, which raises the alert
            only.
    """
    if champion is None and not _has_versions(project):
        return None  # MLflow makes an empty registry where its database was lost
    last = (
        select(Promotion)
        .where(Promotion.model == project.model, Promotion.status.in_(("pending", "done")))
        .order_by(Promotion.requested_at.desc(), Promotion.id.desc())
        .limit(1)
    )
    with state.transaction() as session:
        before = session.scalar(last)
        if before is None or before.status == "pending":
            return None
        now = datetime.now(UTC)
        if champion is None:
            _tell_deleted(session, before, now, _is_left(project, before.to_version))
            return None
        take_external(session, project.model, [_deletion(before, now, ended_at=now)], now)
        if before.to_version == champion:
            return None
        who = who_moved(session, project.model, CHAMPION, champion, before.requested_at)
        made = Promotion(
            id=new_id("move"),
            model=project.model,
            alias=CHAMPION,
            from_version=before.to_version,
            to_version=champion,
            kind=OUTSIDE,
            status="done",
            actor=who or _SOURCE,
            reason=_ON_PAGES if who else _WHY,
            at=now,
            requested_at=now,
        )
        session.add(made)
        if who is None:  # else the log has it already
            details = {"from_version": before.to_version, "id": made.id}
            act = audit.Act(_SOURCE, "move", "version", champion, project.model, _WHY, details)
            audit.append(session, act)
        take_external(session, project.model, [_alert(made)], now)
    _log.warning("version %s of %s serves: %s", champion, project.model, made.reason)
    return made


def end_outside_alert(session: Session, move: Promotion) -> None:
    """Resolve the alert about moves outside: Tidemill has moved the champion itself since."""
    now = datetime.now(UTC)
    ended = [_alert(move, ended_at=now), _deletion(move, now, ended_at=now)]
    take_external(session, move.model, ended, now)


def _is_left(project: Project, version: str) -> bool:
    from tidemill.registry.versions.model_versions import list_versions  # imports MLflow; pages import this

    return any(one.version == version for one in list_versions(project))


def _has_versions(project: Project) -> bool:
    from tidemill.registry.versions.model_versions import list_versions  # imports MLflow; pages import this

    return bool(list_versions(project))


def _tell_deleted(session: Session, before: Promotion, now: datetime, left: bool) -> None:
    """Raise the alert about an alias that was deleted, or see it again; its beginning is on record, once."""
    since = _deleted_since(session, before.model)
    if since is None:
        details = {"alias": CHAMPION, "from_version": before.to_version, "to_version": None}
        act = audit.Act(_SOURCE, "move", "version", before.to_version, before.model, _DELETED, details)
        audit.append(session, act)
        _log.warning("no version of %s is the champion: %s", before.model, _DELETED)
    take_external(session, before.model, [_deletion(before, since or now, left=left)], now)


def _deleted_since(session: Session, model: str) -> datetime | None:
    """Return since when the alias is known to be deleted; None if that is new."""
    of = Alert.model == model, Alert.monitor == f"{_SOURCE}/{_MONITOR}"
    known = session.scalars(select(Alert).where(*of).order_by(Alert.raised_at.desc(), Alert.id.desc()))
    last = next((one for one in known if one.details.get("fingerprint") == _GONE), None)
    if last is None or last.details.get("ended_at") is not None:
        return None
    return datetime.fromisoformat(last.details["starts_at"])


def _deletion(
    before: Promotion, starts_at: datetime, ended_at: datetime | None = None, left: bool = True
) -> ExternalAlert:
    """Return the alert; ``left`` says whether the registry still has the version that was champion."""
    version, model = before.to_version, before.model
    back = f"version {version} was: `tidemill rollback {model} --to {version}` brings it back"
    if not left:
        back = f"version {version} was, and is deleted, too: `tidemill rollback {model}` goes back to the "
        back += "champion before it"
    return ExternalAlert(
        source=_SOURCE,
        name=_MONITOR,
        fingerprint=_GONE,
        firing=ended_at is None,
        severity="critical",
        message=f"no version is the champion: {_DELETED}; {back}",
        labels={"alias": CHAMPION, "version": version},
        starts_at=starts_at,
        ends_at=ended_at,
    )


def _alert(move: Promotion, ended_at: datetime | None = None) -> ExternalAlert:
    return ExternalAlert(
        source=_SOURCE,
        name=_MONITOR,
        fingerprint=CHAMPION,
        firing=ended_at is None,
        severity="critical",
        message=f"version {move.to_version} serves in place of version {move.from_version}: {move.reason}; "
        f"`tidemill rollback {move.model}` takes it back; resolve this when somebody has looked at it",
        labels={
            "alias": CHAMPION,
            "version": move.to_version,
            "from_version": move.from_version or "none",
        },
        starts_at=move.requested_at,
        ends_at=ended_at,
    )


def tell_outside_deployment(session: Session, row: Deployment, now: datetime, *, ended: bool) -> None:
    """Raise an alert about a version that answers callers by an alias set past Tidemill, or resolve it."""
    told = ExternalAlert(
        source="registry",
        name="deployed-outside",
        fingerprint=row.name,
        firing=not ended,
        severity="critical",
        message=f"version {row.version} answers {row.share * 100:g} % of the keys as {row.name}: its "
        "alias was set in the registry itself, without gate, reason and approval; "
        f"`tidemill deploy stop {row.name}` ends it",
        labels={"alias": row.name, "version": row.version},
        starts_at=row.requested_at,
        ends_at=now if ended else None,
    )
    take_external(session, row.model, [told], now)


def tell_outside_stage(
    session: Session, move: StageMove, now: datetime, *, ended: bool, left: bool = True
) -> None:
    """Raise an alert about a stage whose alias was moved past Tidemill, or resolve it.

    ``left`` says whether the registry still has the version that was there before.
    """
    stage, version = move.stage, move.to_version
    who = f"version {version} is in {stage}" if version else f"no version is in {stage}"
    again = f"`tidemill promote {move.from_version} --stage {stage}` puts that one there again"
    if not left:
        again = f"version {move.from_version} is deleted, too: `tidemill promote VERSION --stage {stage}` "
        again += "puts another one there"
    if version:
        again = f"`tidemill promote {version} --stage {stage}` asks them, "
        again += f"`tidemill rollback --stage {stage}` takes it back"
    told = ExternalAlert(
        source=_SOURCE,
        name="stage-moved-outside",
        fingerprint=stage,
        firing=not ended,
        severity="warning",
        message=f"{who}, in place of {move.from_version or 'none'}: its alias was moved in the registry "
        f"itself, without gates, reason and approval; {again}",
        labels={"alias": stage, "version": version or "none", "from_version": move.from_version or "none"},
        starts_at=move.requested_at,
        ends_at=now if ended else None,
    )
    take_external(session, move.model, [told], now)
