"""Finds in the audit log who moved an alias by Tidemill's pages of MLflow, which say what was asked there."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tidemill.accounts.audit import FAILED
from tidemill.state.tables import AuditEntry

__all__ = ["asked_of", "who_moved"]


def who_moved(session: Session, model: str, alias: str, version: str | None, since: datetime) -> str | None:
    """Return who gave an alias to a version, or took it away, by these pages; None if nobody did.

    Args:
        session: of the records.
        model: its name.
        alias: that was moved.
        version: that has it now; None: none has.
        since: of the wall clock: when it was moved before.
    """
    of = AuditEntry.model == model, AuditEntry.resource == "version", AuditEntry.at >= since
    kinds = AuditEntry.action.in_(("promote", f"{FAILED}promote"))
    for entry in session.scalars(select(AuditEntry).where(*of, kinds).order_by(AuditEntry.seq.desc())):
        asked = asked_of(entry)
        given = None if asked.get("version") is None else str(asked["version"])
        if (asked.get("name"), asked.get("alias"), given) == (model, alias, version):
            return None if entry.action.startswith(FAILED) else entry.actor
    return None


def asked_of(entry: AuditEntry) -> Mapping[str, Any]:
    """Return what MLflow's API was asked, by an entry; nothing of other acts."""
    try:
        asked = json.loads(json.loads(entry.details).get("asked", ""))
    except ValueError:
        return {}
    return asked if isinstance(asked, Mapping) else {}
