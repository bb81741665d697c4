"""Which replicas there are: each says so in the records every few seconds, and when it is taken away."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tidemill.serving.observability.version_counters import Count, Key, Tally, record_counts
from tidemill.serving.routing.version_watcher import Status
from tidemill.state import State
from tidemill.state.tables import ReplicaState

__all__ = ["forget_replica", "living", "record_status"]

_ALIVE = timedelta(seconds=20)
"""Some signs of life may be missed, by a machine that is busy or records that are away for a moment."""
_SILENCE = timedelta(minutes=1)


def record_status(
    state: State, model: str, replica: str, status: Status, now: datetime, tally: Tally | None = None
) -> None:
    """Put on record which versions a replica answers with, and what it counted.

    Replicas that are silent for a minute are forgotten; what they counted stays.
    """
    with _changed(tally) as counts, state.transaction() as session:
        record_counts(session, model, replica, counts, now)
        session.execute(
            delete(ReplicaState).where(ReplicaState.model == model, ReplicaState.seen_at < now - _SILENCE)
        )
        session.merge(
            ReplicaState(
                id=replica,
                model=model,
                version=status.version,
                wanted=status.wanted,
                error=status.error,
                lanes=[asdict(lane) for lane in status.lanes],
                loaded_at=status.loaded_at,
                seen_at=now,
            )
        )


def forget_replica(state: State, model: str, replica: str, now: datetime, tally: Tally | None = None) -> None:
    """Take a replica that ends off the records, at once; what it counted since its last word stays."""
    with _changed(tally) as counts, state.transaction() as session:
        record_counts(session, model, replica, counts, now)
        session.execute(delete(ReplicaState).where(ReplicaState.id == replica))


def _changed(tally: Tally | None) -> AbstractContextManager[Mapping[Key, Count]]:
    return nullcontext({}) if tally is None else tally.recording()


def living(session: Session, model: str, now: datetime) -> Sequence[ReplicaState]:
    """Return the replicas of a model that gave a sign of life lately: a killed one cannot say that it ends.

    Args:
        session: of the records.
        model: name of the registered model.
        now: wall-clock time.
    """
    return session.scalars(
        select(ReplicaState)
        .where(ReplicaState.model == model, ReplicaState.seen_at > now - _ALIVE)
        .order_by(ReplicaState.id)
    ).all()
