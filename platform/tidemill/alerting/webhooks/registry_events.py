"""Tells webhooks of each change of the registry: what the audit log has about versions and rollouts.

The log itself is what is still to be sent: each webhook has the number of the last entry that it took. An
entry is sent again until it was taken, and those after it wait, so that each arrives at least once, in order.
"""

import json
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import func, select

from tidemill.accounts.audit import FAILED
from tidemill.alerting.webhooks.declared_hooks import Hook, load_hooks, secret_of
from tidemill.alerting.webhooks.signed_posting import post_signed
from tidemill.errors import NotDelivered
from tidemill.project import ProjectFolder
from tidemill.state import State
from tidemill.state.tables import AuditEntry, WebhookCursor

__all__ = ["send_events"]

log = logging.getLogger(__name__)

_OF: Final = ("version", "rollout")
_MOST: Final = 100
"""Entries a webhook and round."""
_SECONDS: Final = 20.0
"""After so long the rest of a webhook's entries waits for the next round, as what else a round does would."""
_FIRST_WAIT: Final = timedelta(seconds=10)
_LONGEST_WAIT: Final = timedelta(hours=1)


def send_events(project: ProjectFolder, state: State, now: datetime) -> int:
    """Send what each declared webhook has not taken yet, and is due; return how many were taken.

    A webhook that is new begins with the next change. After a failure it waits 10 s, then twice as long each
    time, at most an hour.

    Args:
        project: whose webhooks.
        state: the records.
        now: of the wall clock.

    Raises:
        ConfigError: ``webhooks.yaml`` is wrong.
        NotDelivered: some did not take it, and why; all were tried.
    """
    taken, refused = 0, list[NotDelivered]()
    for hook in load_hooks(project):
        try:
            taken += _send(project, state, hook, now)
        except NotDelivered as error:
            refused.append(error)
    if refused:
        raise NotDelivered("; ".join(map(str, refused)), hint=refused[0].hint)
    return taken


def _send(project: ProjectFolder, state: State, hook: Hook, now: datetime) -> int:
    cursor = _cursor(state, project.model, hook.name, now)
    if cursor.due_at > now:
        return 0
    taken, began = 0, time.monotonic()
    for entry in _waiting(state, project.model, cursor.seq):
        if time.monotonic() - began > _SECONDS:
            break
        if hook.actions and entry.action.removeprefix(FAILED) not in hook.actions:
            _settle(state, cursor, entry.seq, now)
            continue
        try:
            address, secret = (secret_of(hook, what, project.root) for what in ("url", "secret"))
            event = f"{entry.resource}.{entry.action}"
            post_signed(hook.name, address, secret, event, _message(entry), int(now.timestamp()))
        except NotDelivered as error:
            _postpone(state, cursor, str(error), now)
            raise
        _settle(state, cursor, entry.seq, now)
        taken += 1
    return taken


def _cursor(state: State, model: str, name: str, now: datetime) -> WebhookCursor:
    """Return how far a webhook is; a new one begins after the last entry."""
    with state.transaction() as session:
        found = session.get(WebhookCursor, (model, name))
        if found is None:
            last = session.scalar(select(func.max(AuditEntry.seq))) or 0
            found = WebhookCursor(
                model=model, name=name, seq=last, attempts=0, due_at=now, taken_at=None, problem=None
            )
            session.add(found)
    return found


def _waiting(state: State, model: str, after: int) -> Sequence[AuditEntry]:
    of = (AuditEntry.model == model, AuditEntry.resource.in_(_OF), AuditEntry.seq > after)
    with state.transaction() as session:
        return session.scalars(select(AuditEntry).where(*of).order_by(AuditEntry.seq).limit(_MOST)).all()


def _message(entry: AuditEntry) -> dict[str, Any]:
    """Return an entry as it is sent; its number is the same each time that it is sent."""
    names = ("seq", "model", "action", "resource", "resource_id", "actor", "reason", "hash")
    at = entry.at.astimezone(UTC).isoformat()
    return {**{name: getattr(entry, name) for name in names}, "at": at, "details": json.loads(entry.details)}


def _settle(state: State, cursor: WebhookCursor, seq: int, now: datetime) -> None:
    with state.transaction() as session:
        row = session.get_one(WebhookCursor, (cursor.model, cursor.name))
        row.seq, row.attempts, row.due_at, row.problem = max(row.seq, seq), 0, now, None
        row.taken_at = now


def _postpone(state: State, cursor: WebhookCursor, problem: str, now: datetime) -> None:
    with state.transaction() as session:
        row = session.get_one(WebhookCursor, (cursor.model, cursor.name))
        row.attempts, row.problem = row.attempts + 1, problem
        row.due_at = now + min(_FIRST_WAIT * 2 ** min(row.attempts - 1, 20), _LONGEST_WAIT)
