"""Acts that take long: a form's is begun, and has a page that shows how far it is; a program waits."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from fastapi import FastAPI, Request

from tidemill.dashboard.acting import act_apart, begin_act
from tidemill.dashboard.error_pages import wants_json
from tidemill.dashboard.installation import ShownProject
from tidemill.dashboard.page import Done, add_page
from tidemill.dashboard.page_addresses import address_of
from tidemill.dashboard.records.decision_rows import own
from tidemill.dashboard.visit import Here, Visit
from tidemill.errors import TidemillError
from tidemill.project import Project
from tidemill.retraining.by_hand.asked_act_record import is_lost

__all__ = ["BegunAct", "Link", "acts_under_way", "add_to", "do_act"]

_LATEST = 5

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Link:
    """Where to look next."""

    address: str
    words: str


@dataclass(frozen=True)
class BegunAct:
    """An act that somebody asked for by a form."""

    id: str
    model: str
    what: str
    """What it does, in words."""
    state: Literal["running", "done", "refused", "failed", "lost"]
    message: str | None
    """What was done, or why it was not."""
    hint: str | None
    reason: str
    actor: str
    asked_at: datetime
    """By the clock of the machine, as ``finished_at``."""
    finished_at: datetime | None
    links: list[Link]


def do_act(visit: Visit, request: Request, project: Project, act: str, reason: str, /, **facts: Any) -> Done:
    """Do what a program asks for, and return what was done; begin what a form asks for, and lead to its page.

    Args:
        visit: who asks, and when.
        request: the program's or form's.
        project: whose model it is.
        act: one of `tidemill.retraining.by_hand.acts_by_hand.ACTS`.
        reason: why.
        facts: what the act needs.
    """
    if not wants_json(request):
        begun = begin_act(visit, project, act, reason, **facts)
        return Done("", address_of("models", project.model, "acts", begun))
    done = act_apart(visit, project, act, reason=reason, **facts)
    return Done(_done(act, done), _place(project.model, act, facts).address)


def begun_act(visit: Here, model: str, act_id: str) -> BegunAct:
    """Return an act that was begun, and what came of it by now."""
    shown = visit.project(model)
    row = own(visit.records, "asked_acts", model, act_id)
    facts, result = json.loads(row.subject), row.result or {}
    place = _place(model, row.act, facts)
    state, message, hint, links = row.status, None, None, [place]
    if state == "running" and _is_gone(visit, shown, row.id, row.asked_at):
        state = "lost"
    if state == "done":
        message = _done(row.act, result)
    elif state in ("refused", "failed"):
        message, hint = result["message"], result["hint"]
        links = [*_evidence(model, result), place]
    elif state == "lost":
        message = "its process has ended, and nobody heard how: the machine was stopped, or it was killed"
        hint = "what is half done is finished or undone soon: look what serves before you ask again"
    what = _what(row.act, facts)
    return BegunAct(
        row.id,
        model,
        what,
        state,
        message,
        hint,
        row.reason,
        row.actor,
        row.asked_at,
        row.finished_at,
        links,
    )


def acts_under_way(visit: Visit, model: str) -> list[Link]:
    """Return the latest acts of a model that are being done, each with its page."""
    of, order = "model = ? AND status = 'running'", "asked_at DESC, id DESC"
    shown = visit.project(model)
    return [
        Link(
            address_of("models", model, "acts", row.id),
            f"{_what(row.act, json.loads(row.subject))}, asked for by {row.actor}",
        )
        for row in visit.records.select("asked_acts", of, model, order=order, limit=_LATEST)
        if not _is_gone(visit, shown, row.id, row.asked_at)
    ]


def _is_gone(visit: Visit, shown: ShownProject, act_id: str, asked_at: datetime) -> bool:
    """Return whether the process of an act is gone; where its folder cannot be read, nobody knows."""
    try:
        home = visit.installation.load(shown).home
    except TidemillError:
        return False
    return is_lost(home, act_id, asked_at)


def _what(act: str, facts: Facts) -> str:
    """Return what an act does.

    >>> _what("promote", {"version": "3"}), _what("answer", {"version": "3", "approve": False})
    ('Promote version 3', 'Refuse version 3')
    >>> _what("promote", {"version": "3", "stage": "staging"})
    'Put version 3 into staging'
    >>> _what("roll-back", {"version": "3", "stage": "staging"})
    'Take version 3 back from staging'
    """
    version, stage = facts.get("version"), facts.get("stage")
    back = f"Take version {version} back from {stage}" if stage else f"Roll back to version {version}"
    return {
        "promote": f"Put version {version} into {stage}" if stage else f"Promote version {version}",
        "roll-back": back,
        "carry-out": "Do what was approved",
        "stop-rollout": "Stop the rollout",
        "answer": f"{'Approve' if facts.get('approve') else 'Refuse'} version {version}",
    }[act]


def _done(act: str, result: Facts) -> str:
    """Return what an act has done.

    >>> _done("promote", {"from": None, "to": "3"})
    'Version 3 serves now; before: none.'
    >>> _done("carry-out", {"said": "Version 3 is being rolled out."})
    'Approved. Version 3 is being rolled out.'
    """
    match act:
        case "promote" | "roll-back" if "stage" in result:
            there = f"Version {result['to']}" if result["to"] else "No version"
            return f"{there} is in {result['stage']}; before: {result['from'] or 'none'}."
        case "promote" | "roll-back":
            word = "now" if act == "promote" else "again"
            return f"Version {result['to']} serves {word}; before: {result['from'] or 'none'}."
        case "carry-out":
            return f"Approved. {result['said']}"
        case "stop-rollout":
            return f"The rollout of version {result['version']} is stopped: the champion answers everything."
        case _:
            status = {"refused": "is refused", "promoted": "serves now", "rollout": "is being rolled out"}
            return f"Version {result['version']} {status.get(result['status'], result['status'])}."


def _place(model: str, act: str, facts: Facts) -> Link:
    """Return where to look at what came of an act."""
    of = "models", model
    match act:
        case "promote" | "roll-back" if facts.get("stage"):
            place = address_of(*of, "versions", facts["version"])
            return Link(place, "The version, and what the gates of its stages said")
        case "carry-out":
            return Link(address_of(*of, "approvals"), "What waits for a second person")
        case "stop-rollout":
            return Link(address_of(*of, "rollouts", facts["rollout"]), "The rollout")
        case "answer":
            return Link(address_of(*of, "turns", facts["turn"]), "The turn that made the version")
        case _:
            return Link(address_of(*of, "decisions"), "Which version serves, and who served when")


def _evidence(model: str, error: Facts) -> list[Link]:
    """Return where an error's reasons are."""
    if error.get("decision"):
        address = address_of("models", model, "decisions", error["decision"])
        return [Link(address, "What the gate found")]
    if error["kind"] == "ApprovalNeeded":
        return [Link(address_of("models", model, "approvals"), "What waits for a second person")]
    return []


def add_to(app: FastAPI) -> None:
    """Add the page."""
    path, needs = "/models/{model}/acts/{act_id}", ("read", "version")
    add_page(app, path, begun_act, template="decisions/begun.html", needs=needs, title="An act")
