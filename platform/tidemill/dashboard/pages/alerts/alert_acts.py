"""What a person does about an alert from its page: each calls what the command line calls."""

from collections.abc import Callable
from typing import Annotated

from fastapi import FastAPI
from pydantic import BaseModel, Field

from tidemill.alerting.alert_actions import acknowledge, comment_on, mark_as_noise, resolve, withdraw_noise
from tidemill.dashboard.page import Done, add_act
from tidemill.dashboard.page_addresses import address_of
from tidemill.dashboard.records.alert_rows import own_alert
from tidemill.dashboard.templating import moment
from tidemill.dashboard.visit import Here, Visit
from tidemill.errors import MonitoringError
from tidemill.state.tables import Alert

__all__ = ["add_to"]

LONGEST = 2000
"""Characters of what is said."""


class Optional(BaseModel):
    """A comment that may be left out."""

    comment: Annotated[str, Field(max_length=LONGEST)] = ""


class Comment(BaseModel):
    """A comment that is needed."""

    comment: Annotated[str, Field(min_length=1, max_length=LONGEST)]


def acknowledge_alert(visit: Here, model: str, alert_id: str, form: Optional) -> Done:
    """Acknowledge an alert; who did so first stays on record."""
    row = _act(
        visit,
        model,
        alert_id,
        lambda: acknowledge(visit.state, alert_id, visit.who, visit.now, form.comment.strip() or None),
    )
    if (row.acknowledged_by, row.acknowledged_at) != (visit.who, visit.now):
        first = f"{row.acknowledged_by} acknowledged it before, at {moment(row.acknowledged_at)} UTC"
        return _done(model, alert_id, f"{first}{', your comment is added' if form.comment.strip() else ''}.")
    return _done(model, alert_id, f"The alert is yours now: acknowledged by {visit.who}.")


def comment_alert(visit: Here, model: str, alert_id: str, form: Comment) -> Done:
    """Comment on an alert."""
    _act(
        visit, model, alert_id, lambda: comment_on(visit.state, alert_id, visit.who, visit.now, form.comment)
    )
    return _done(model, alert_id, "The comment is on record.")


def resolve_alert(visit: Here, model: str, alert_id: str, form: Optional) -> Done:
    """Resolve an alert: its cause is gone."""
    _act(
        visit,
        model,
        alert_id,
        lambda: resolve(visit.state, alert_id, visit.who, visit.now, form.comment.strip() or None),
    )
    return _done(model, alert_id, "The alert is resolved. If its cause comes back soon, it is reopened.")


def mark_noise(visit: Here, model: str, alert_id: str, form: Comment) -> Done:
    """Mark an alert as noise, and resolve it."""
    _act(
        visit,
        model,
        alert_id,
        lambda: mark_as_noise(visit.state, alert_id, visit.who, visit.now, form.comment),
    )
    return _done(model, alert_id, "Marked as noise: the page of its monitor has what that proposes.")


def unmark_noise(visit: Here, model: str, alert_id: str, form: Comment) -> Done:
    """Take back that an alert was noise."""
    _act(
        visit,
        model,
        alert_id,
        lambda: withdraw_noise(visit.state, alert_id, visit.who, visit.now, form.comment),
    )
    return _done(model, alert_id, "It is marked as noise no more: the next run judges without that mark.")


def _act(visit: Visit, model: str, alert_id: str, act: Callable[[], Alert]) -> Alert:
    """Let ``act`` change an alert of a model; where somebody was faster, the error says who.

    Raises:
        AlertNotFound: the model has no such alert.
        MonitoringError: the alert's state does not allow it.
    """
    visit.project(model)
    own_alert(visit.records, model, alert_id)
    try:
        return act()
    except MonitoringError as error:
        steps = visit.records.select(
            "alert_steps",
            "alert_id = ? AND step IN ('resolved', 'noise')",
            alert_id,
            order="at DESC, id DESC",
            limit=1,
        )
        if steps and own_alert(visit.records, model, alert_id).status == "resolved":
            raise type(error)(
                f"{steps[0].person} was first, at {moment(steps[0].at)} UTC: {error}",
                hint="what you wrote was not recorded: the alert's page takes it as a comment",
            ) from error
        raise


def _done(model: str, alert_id: str, message: str) -> Done:
    return Done(message, address_of("models", model, "alerts", alert_id))


def add_to(app: FastAPI) -> None:
    """Add the acts."""
    path = "/models/{model}/alerts/{alert_id}"
    for name, act, form, action, title in (
        ("acknowledge", acknowledge_alert, Optional, "acknowledge", "Acknowledge an alert"),
        ("comment", comment_alert, Comment, "comment", "Comment on an alert"),
        ("resolve", resolve_alert, Optional, "resolve", "Resolve an alert"),
        ("noise", mark_noise, Comment, "resolve", "Mark an alert as noise"),
        ("unmark", unmark_noise, Comment, "resolve", "Take back that an alert was noise"),
    ):
        add_act(app, f"{path}/{name}", act, form, needs=(action, "alert"), title=title)
