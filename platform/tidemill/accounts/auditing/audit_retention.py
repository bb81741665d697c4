"""Removes entries of the audit log that are older than they must be kept, and puts that on record first."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select

from tidemill.accounts.audit import Act, append
from tidemill.accounts.auditing.audit_chain import Head
from tidemill.state import State
from tidemill.state.tables import AuditAnchor, AuditEntry

__all__ = ["Pruned", "prune"]

_CHUNK = 10_000


@dataclass(frozen=True)
class Pruned:
    """What was removed."""

    removed: int
    until: Head | None
    """The last entry that was removed; None if none was old enough."""


def prune(state: State, actor: str, keep: timedelta, now: datetime) -> Pruned:
    """Remove entries older than ``keep``, up to the first that is not.

    The anchor, by which the rest still verifies, and the entry about it are written before anything is
    removed; what a kill leaves undone, the next call does.

    Args:
        state: the records.
        actor: who removes.
        keep: how long entries are kept.
        now: wall-clock time.
    """
    with state.transaction() as session:
        kept = select(func.min(AuditEntry.seq)).where(AuditEntry.at >= now - keep)
        first = session.scalar(kept) or (session.scalar(select(func.max(AuditEntry.seq))) or 0) + 1
        last = session.get(AuditEntry, first - 1)
        known = session.get(AuditAnchor, first - 1)
        until = None
        if last is not None and known is None:
            until = Head(last.seq, last.hash)
            session.add(AuditAnchor(seq=last.seq, hash=last.hash, at=last.at))
            session.flush()
            details = {"until": str(until), "keep_days": keep / timedelta(days=1)}
            append(session, Act(actor, "prune", "audit", str(last.seq), details=details))
    return Pruned(_remove(state), until)


def _remove(state: State) -> int:
    """Delete what lies before the anchor, a part at a time: others write in between."""
    removed = 0
    while True:
        with state.transaction() as session:
            limit = session.scalar(select(func.max(AuditAnchor.seq))) or 0
            lowest = session.scalar(select(func.min(AuditEntry.seq)))
            if lowest is None or lowest > limit:
                return removed
            upto = min(lowest + _CHUNK - 1, limit)
            session.execute(delete(AuditEntry).where(AuditEntry.seq <= upto))
            removed += upto - lowest + 1
