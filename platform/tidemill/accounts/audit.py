"""Appends to the audit log, in the transaction of the act itself: both are recorded, or neither is.

Transactions run one at a time (`tidemill.state.store`), so each entry continues the last one.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from tidemill.accounts.auditing.audit_chain import FIRST, VERSION, Head, canonical, digest, entry_facts
from tidemill.accounts.caller import Caller, current_caller
from tidemill.state.tables import AuditAnchor, AuditEntry

__all__ = ["FAILED", "Act", "append", "kind_of", "without_keys"]

FAILED: Final = "fail-"
"""How the action of an entry begins that says that the act before it had no effect: another store refused."""
_PROCESSES = ("policy:", "rollout:", "registry:", "monitor:")
_KEY = re.compile(r"tmk_[0-9A-Za-z]+_[\w-]+")


@dataclass(frozen=True)
class Act:
    """What somebody does. It must hold no secret, and nothing of a person whose data are kept."""

    actor: str
    action: str
    """Such as ``promote``; as in the table of `tidemill.accounts.roles` where it has it."""
    resource: str
    """The kind of what it is done to, likewise."""
    resource_id: str
    model: str | None = None
    """None for what concerns the whole installation."""
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    """Whatever JSON has."""


def append(session: Session, act: Act) -> Head:
    """Append an act to the log; it is written when the session's transaction is.

    Returns:
        the new entry's number and hash.
    """
    last = session.execute(
        select(AuditEntry.seq, AuditEntry.hash).order_by(AuditEntry.seq.desc()).limit(1)
    ).first() or _anchor(session)
    row = _entry(act, last, current_caller(), datetime.now(UTC))
    row.hash = digest(entry_facts(row))
    values = {column.name: getattr(row, column.name) for column in AuditEntry.__table__.columns}
    session.execute(insert(AuditEntry).values(values))
    return Head(row.seq, row.hash)


def kind_of(actor: str, caller: Caller | None) -> str:
    """Return what kind of actor a name is of.

    >>> kind_of("policy:weekly", None), kind_of("ada", None)
    ('process', 'command')
    >>> kind_of("ada", Caller("ada", "person", None))
    'person'
    """
    if caller is not None and caller.name == actor:
        return caller.kind
    if actor.startswith("token:"):
        return "token"
    if _is_process(actor):
        return "process"
    return "command" if caller is None else "person"


def _is_process(actor: str) -> bool:
    return actor.startswith(_PROCESSES) or actor == "registry"


def without_keys(text: str) -> str:
    """Return a text without the API keys that somebody has pasted into it.

    >>> without_keys("it was tmk_0123456789ab_c2VjcmV0")
    'it was tmk_…'
    """
    return _KEY.sub("tmk_…", text)


def _anchor(session: Session) -> Any:
    query = select(AuditAnchor.seq, AuditAnchor.hash).order_by(AuditAnchor.seq.desc()).limit(1)
    return session.execute(query).first() or FIRST


def _entry(act: Act, last: Any, caller: Caller | None, now: datetime) -> AuditEntry:
    asked = caller is not None and not _is_process(act.actor)
    return AuditEntry(
        seq=last.seq + 1,
        version=VERSION,
        at=now,
        actor=without_keys(act.actor),
        actor_kind=kind_of(act.actor, caller),
        model=act.model,
        action=act.action,
        resource=act.resource,
        resource_id=without_keys(act.resource_id),
        reason=None if act.reason is None else without_keys(act.reason),
        details=canonical(json.loads(without_keys(canonical(act.details)))),
        address=caller.address if caller is not None and asked else None,
        prev_hash=last.hash,
    )
