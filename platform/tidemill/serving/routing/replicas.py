"""Record the living replicas: each writes a heartbeat every few seconds, and removes itself at its end."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tidemill.serving.observability.version_counters import Count, Key, VersionCounters, record_counts
from tidemill.serving.routing.version_watcher import Status
from tidemill.state import State
from tidemill.state.tables import ReplicaState

__all__ = ["forget_replica", "live_replicas", "record_status"]

_ALIVE = timedelta(seconds=20)
"""Some heartbeats may be missed, by a busy machine or records that are down for a moment."""
_SILENCE = timedelta(minutes=1)


def record_status(
    state: State,
    model: str,
    replica: str,
    status: Status,
    now: datetime,
    counters: VersionCounters | None = None,
) -> None:
    """Put on record which versions a replica answers with, and what it counted.

    Replicas that are silent for a minute are forgotten; what they counted stays.
    """
    with _changed(counters) as counts, state.transaction() as session:
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


def forget_replica(
    state: State, model: str, replica: str, now: datetime, counters: VersionCounters | None = None
) -> None:
    """Remove a replica that ends from the records; what it counted since its last heartbeat is kept."""
    with _changed(counters) as counts, state.transaction() as session:
        record_counts(session, model, replica, counts, now)
        session.execute(delete(ReplicaState).where(ReplicaState.id == replica))


def _changed(counters: VersionCounters | None) -> AbstractContextManager[Mapping[Key, Count]]:
    return nullcontext({}) if counters is None else counters.recording()


def live_replicas(session: Session, model: str, now: datetime) -> Sequence[ReplicaState]:
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
