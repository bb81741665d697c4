"""Says what keys that belong to users may do at the prediction API: no more than their owners."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from tidemill.accounts.identities import decide
from tidemill.accounts.key_format import ADMIN, ALERTS, FEEDBACK, METRICS, PREDICT
from tidemill.accounts.roles import Permission
from tidemill.accounts.user_facts import identity_of
from tidemill.accounts.users import user_info
from tidemill.state.tables import ApiKey, KnownProject, User

__all__ = ["owned_scopes"]

_NEEDS: Final[Mapping[str, Permission]] = {
    PREDICT: ("read", "model"),
    FEEDBACK: ("read", "model"),
    METRICS: ("read", "serving"),
    ALERTS: ("comment", "alert"),
    ADMIN: ("operate", "serving"),
}
"""Scope → what its owner must be allowed in the project."""


def owned_scopes(
    session: Session, keys: Sequence[ApiKey], model: str | None, now: datetime
) -> Mapping[str, list[str]]:
    """Return the scopes that are left of keys with an owner: key id → scopes.

    Args:
        session: of the records.
        keys: those with an owner.
        now: wall-clock time.
        model: at whose prediction API; without a project in the records only roles in every project count.
    """
    if not keys:
        return {}
    known = session.get(KnownProject, model) if model is not None else None
    project = known.name if known is not None else None
    owners = {
        row.id: None if row.disabled_at else identity_of(user_info(session, row, lapsing=now))
        for row in session.scalars(select(User).where(User.id.in_({key.owner for key in keys})))
    }
    found = {}
    for key in keys:
        owner = owners.get(key.owner or "")
        found[key.id] = [
            scope
            for scope in key.scopes
            if owner is not None and decide(owner, _NEEDS[scope], project) == "allowed"
        ]
    return found
