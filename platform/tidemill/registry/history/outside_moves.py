"""Records moves of the champion that were made past Tidemill, such as by MLflow's own API on this machine.

Each raises an alert, which the next move by Tidemill resolves, as a person may.
"""

import logging
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from tidemill.accounts import audit
from tidemill.ids import new_id
from tidemill.project import Project
from tidemill.registry.versions.alias_names import CHAMPION
from tidemill.state import State
from tidemill.state.external_alerts import ExternalAlert, take_external
from tidemill.state.tables import Deployment, Promotion

__all__ = ["OUTSIDE", "end_outside_alert", "record_outside_move", "tell_outside_deployment"]

OUTSIDE = "outside"
"""The kind of such a move."""
_WHY = "the alias champion was moved in the registry itself: without gate, reason and approval"
_log = logging.getLogger(__name__)


def record_outside_move(project: Project, state: State, champion: str | None) -> Promotion | None:
    """Record the champion as moved outside, if no move on record has put it there; the lock must be held.

    Args:
        project: whose model it is.
        state: the records.
        champion: the version that the registry names.
    """
    last = (
        select(Promotion)
        .where(Promotion.model == project.model, Promotion.status.in_(("pending", "done")))
        .order_by(Promotion.requested_at.desc(), Promotion.id.desc())
        .limit(1)
    )
    with state.transaction() as session:
        before = session.scalar(last)
        if champion is None or before is None or before.status == "pending" or before.to_version == champion:
            return None
        now = datetime.now(UTC)
        made = Promotion(
            id=new_id("move"),
            model=project.model,
            alias=CHAMPION,
            from_version=before.to_version,
            to_version=champion,
            kind=OUTSIDE,
            status="done",
            actor="registry",
            reason=_WHY,
            at=now,
            requested_at=now,
        )
        session.add(made)
        details = {"from_version": before.to_version, "id": made.id}
        audit.append(
            session, audit.Act("registry", "move", "version", champion, project.model, _WHY, details)
        )
        take_external(session, project.model, [_alert(made)], now)
    _log.warning("version %s of %s serves: %s", champion, project.model, _WHY)
    return made


def end_outside_alert(session: Session, move: Promotion) -> None:
    """Resolve the alert about moves outside: Tidemill has moved the champion itself since."""
    now = datetime.now(UTC)
    take_external(session, move.model, [_alert(move, ended_at=now)], now)


def _alert(move: Promotion, ended_at: datetime | None = None) -> ExternalAlert:
    return ExternalAlert(
        source="registry",
        name="champion-moved-outside",
        fingerprint=CHAMPION,
        firing=ended_at is None,
        severity="critical",
        message=f"version {move.to_version} serves in place of version {move.from_version}: {_WHY}; "
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
