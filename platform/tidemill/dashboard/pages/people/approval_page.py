"""Approvals: what a person asked for, and a second one must agree to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Annotated, Any

from fastapi import FastAPI, Request
from pydantic import BaseModel, StringConstraints

from tidemill.accounts.roles import Permission
from tidemill.dashboard.page import Done, PageNumber, add_act, add_page
from tidemill.dashboard.page_addresses import address_of
from tidemill.dashboard.pages.decisions.begun_acts import do_act
from tidemill.dashboard.records.list_part import Part, read_part
from tidemill.dashboard.records.registry_reading import why_away
from tidemill.dashboard.visit import Here
from tidemill.registry.approval_terms import said_terms, valid_until
from tidemill.registry.second_person import decide_approval
from tidemill.state.record_reader import Row

__all__ = ["Approvals", "add_to"]

APPROVE: Permission = ("approve", "version")


@dataclass(frozen=True)
class ShownApproval:
    """A request, and what was said to it."""

    id: str
    action: str
    version: str
    reason: str
    asked_by: str
    asked_at: datetime
    status: str
    decided_by: str | None
    decided_at: datetime | None
    comment: str | None
    terms: Mapping[str, Any] | None
    """What it is bound to; none: it counts for nothing, as an earlier version of Tidemill asked for it."""
    said: str
    """The terms in words."""
    turn: str | None
    """The turn that goes on when it is approved."""
    until: datetime | None
    """Until when it waits, or its approval counts; None if neither."""
    away: str | None
    """Why it can only be refused: the version was ``deleted``, or is ``archived``."""


@dataclass(frozen=True)
class Approvals:
    """The requests of a model, the latest first."""

    model: str
    approvals: Sequence[ShownApproval]
    part: Part


class ApprovalForm(BaseModel):
    """What a second person says."""

    comment: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


def approvals(visit: Here, model: str, number: PageNumber = 1) -> Approvals:
    """Return what waited and waits for a second person."""
    shown = visit.project(model)
    order = "asked_at DESC, id DESC"
    rows, part = read_part(visit.records, "approvals", "model = ?", model, order=order, number=number)
    waiting = visit.records.select("turns", "model = ? AND status = 'asked'", model)
    turns = {(turn.question or {}).get("approval"): turn.id for turn in waiting}
    away = why_away(visit.installation, shown, [row.version for row in rows if row.status == "waiting"])
    found = [_shown(row, turns.get(row.id), visit.now, away.get(row.version)) for row in rows]
    return Approvals(model, found, part)


def _shown(row: Row, turn: str | None, now: datetime, away: str | None) -> ShownApproval:
    own = [one.name for one in fields(ShownApproval) if one.name not in ("said", "turn", "until", "away")]
    values = {name: getattr(row, name) for name in own}
    until = valid_until(row.status, row.asked_at, row.decided_at)
    if until is not None and until <= now:
        values["status"] = "expired"  # the next who asks or answers puts it on record
    waits = values["status"] in ("waiting", "approved")
    said, turn = said_terms(row.terms), turn if waits else None
    return ShownApproval(**values, said=said, turn=turn, until=until, away=away)


def approve(visit: Here, request: Request, model: str, approval: str, form: ApprovalForm) -> Done:
    """Approve what another person asked for, and do it."""
    project = visit.installation.load(visit.project(model))
    row = decide_approval(visit.state, model, approval, "approve", actor=visit.who, comment=form.comment)
    return do_act(visit, request, project, "carry-out", form.comment, approval=row.id)


def refuse(visit: Here, model: str, approval: str, form: ApprovalForm) -> Done:
    """Refuse a request, or take back one's own."""
    visit.project(model)
    row = decide_approval(visit.state, model, approval, "refuse", actor=visit.who, comment=form.comment)
    return Done(f"Refused: version {row.version}.", address_of("models", model, "approvals"))


def add_to(app: FastAPI) -> None:
    """Add the page and its acts."""
    path = "/models/{model}/approvals"
    add_page(app, path, approvals, template="approvals.html", needs=("read", "version"), title="Approvals")
    add_act(app, path + "/{approval}/approve", approve, ApprovalForm, needs=APPROVE, title="Approve")
    add_act(app, path + "/{approval}/refuse", refuse, ApprovalForm, needs=APPROVE, title="Refuse")
