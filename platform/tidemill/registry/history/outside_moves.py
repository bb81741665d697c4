"""Records moves of the champion that were made past Tidemill, such as by MLflow's own API on this machine."""

import logging
from datetime import UTC, datetime

from sqlalchemy import select

from tidemill.accounts import audit
from tidemill.ids import new_id
from tidemill.project import Project
from tidemill.registry.versions.alias_names import CHAMPION
from tidemill.state import State
from tidemill.state.tables import Promotion

__all__ = ["OUTSIDE", "record_outside_move"]

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
    _log.warning("version %s of %s serves: %s", champion, project.model, _WHY)
    return made
