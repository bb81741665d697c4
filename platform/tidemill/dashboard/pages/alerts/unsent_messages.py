"""Messages about alerts that were not sent, each with its reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import FastAPI

from tidemill.dashboard.page import PageNumber, add_page
from tidemill.dashboard.records.list_part import Part, read_part
from tidemill.dashboard.visit import Here
from tidemill.state.record_reader import Row

__all__ = ["UnsentMessage", "UnsentMessages", "add_to", "unsent_messages"]


@dataclass(frozen=True)
class UnsentMessage:
    """A message that was withheld, given up, or is still due."""

    alert_id: str
    kind: str
    severity: str
    message: str
    """What the alert says."""
    receiver: str
    """Empty where no route leads to one."""
    step: str
    status: str
    why: str | None
    at: datetime
    attempts: int
    next_at: datetime | None
    """When it is tried again; None if it is not."""


@dataclass(frozen=True)
class UnsentMessages:
    """A page of the list, the latest first."""

    model: str
    messages: Sequence[UnsentMessage]
    part: Part


def unsent_messages(visit: Here, model: str, number: PageNumber = 1) -> UnsentMessages:
    """Return the messages of a model's alerts that were not sent."""
    visit.project(model)
    where = "model = ? AND status IN ('withheld', 'failed', 'due')"
    rows, part = read_part(
        visit.records, "notifications", where, model, order="at DESC, id DESC", number=number
    )
    ids = [row.alert_id for row in rows]
    marks = ", ".join("?" * len(ids)) or "NULL"
    alerts = {row.id: row for row in visit.records.select("alerts", f"id IN ({marks})", *ids)}
    found = [_shown(row, alerts[row.alert_id]) for row in rows]
    return UnsentMessages(model, found, part)


def _shown(row: Row, alert: Row) -> UnsentMessage:
    return UnsentMessage(
        row.alert_id,
        alert.kind,
        alert.severity,
        alert.message,
        row.receiver,
        row.step,
        row.status,
        row.reason or row.error,
        row.at,
        row.attempts,
        row.next_at if row.status == "due" else None,
    )


def add_to(app: FastAPI) -> None:
    """Add the page."""
    add_page(
        app,
        "/models/{model}/unsent",
        unsent_messages,
        template="alerts/unsent.html",
        needs=("read", "alert"),
        title="Messages that were not sent",
    )
