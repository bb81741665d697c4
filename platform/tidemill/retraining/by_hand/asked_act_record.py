"""Keeps acts that people asked for by a form in the records, so that any page can show how far they are.

The process that does an act holds a lock while it works: whoever finds the act under way and no lock knows
that the process is gone.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from tidemill.files.locks import is_locked
from tidemill.ids import new_id
from tidemill.project import Project
from tidemill.state import State
from tidemill.state.tables import AskedAct

__all__ = ["Asked", "act_lock", "begin_record", "end_record", "is_lost"]

_BEGINNING: Final = timedelta(seconds=60)
"""A process has its lock by then."""


@dataclass(frozen=True)
class Asked:
    """An act on record."""

    id: str
    is_new: bool
    """False: the same is being done already."""


def act_lock(home: Path, act_id: str) -> Path:
    """Return the lock that the process which does an act holds."""
    return home / "acts" / f"{act_id}.lock"


def is_lost(home: Path, act_id: str, asked_at: datetime) -> bool:
    """Return whether an act that is under way by its record is not: its process is gone."""
    began = datetime.now(UTC) - asked_at < _BEGINNING
    return not began and not is_locked(act_lock(home, act_id))


def begin_record(
    state: State, project: Project, act: str, facts: Mapping[str, Any], *, actor: str, reason: str
) -> Asked:
    """Put an act on record as being done, unless the same is being done already.

    Args:
        state: the records.
        project: whose model it is.
        act: its name.
        facts: what it is done to.
        actor: who asks.
        reason: why.
    """
    subject, now = json.dumps(facts, sort_keys=True), datetime.now(UTC)
    of = (AskedAct.model == project.model, AskedAct.act == act, AskedAct.subject == subject)
    with state.transaction() as session:
        running = session.scalar(select(AskedAct).where(*of, AskedAct.status == "running"))
        if running is not None:
            if not is_lost(project.home, running.id, running.asked_at):
                return Asked(running.id, is_new=False)
            running.status, running.finished_at = "lost", now
            session.flush()
        made = AskedAct(
            id=new_id("act"),
            model=project.model,
            act=act,
            subject=subject,
            reason=reason,
            actor=actor,
            status="running",
            asked_at=now,
        )
        session.add(made)
        return Asked(made.id, is_new=True)


def end_record(state: State, act_id: str, answer: Mapping[str, Any], *, failed: bool = False) -> None:
    """Put on record what came of an act: the first word counts.

    Args:
        state: the records.
        act_id: the act.
        answer: as of `tidemill.retraining.by_hand.acts_by_hand.do`.
        failed: whether its process ended without an answer.
    """
    with state.transaction() as session:
        row = session.get(AskedAct, act_id)
        if row is None or row.status != "running":
            return
        row.status = "done" if "done" in answer else "failed" if failed else "refused"
        row.result = json.loads(json.dumps(answer.get("done", answer.get("error")), default=str))
        row.finished_at = datetime.now(UTC)
