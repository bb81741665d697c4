"""What the platform's records hold, as whole rows, for tests to look at."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from tidemill.state import State
from tidemill.state.key_facts import KeyInfo, key_info
from tidemill.state.tables import Alert, ApiKey, Rollout


def list_alerts(state: State, model: str | None = None, *, include_resolved: bool = False) -> list[Alert]:
    """Return alerts, the latest first.

    Args:
        state: the records.
        model: name of a registered model; None for all.
        include_resolved: whether to return resolved alerts too.
    """
    query = select(Alert).order_by(Alert.raised_at.desc(), Alert.id.desc())
    if model is not None:
        query = query.where(Alert.model == model)
    if not include_resolved:
        query = query.where(Alert.status != "resolved")
    with state.transaction() as session:
        return list(session.scalars(query))


def list_keys(state: State, now: datetime) -> list[KeyInfo]:
    """Return all keys, revoked ones too, the latest first."""
    with state.transaction() as session:
        rows = session.scalars(select(ApiKey).order_by(ApiKey.created_at.desc())).all()
    return [key_info(row, now) for row in rows]


def list_rollouts(state: State, model: str, limit: int = 10) -> Sequence[Rollout]:
    """Return the latest rollouts, the latest first."""
    with state.transaction() as session:
        return session.scalars(
            select(Rollout)
            .where(Rollout.model == model)
            .order_by(Rollout.requested_at.desc(), Rollout.id)
            .limit(limit)
        ).all()
