"""Stop a rollout, begin or cancel a turn, and answer for a version: what will happen, and the act itself."""

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import FastAPI, Request
from pydantic import BaseModel, Field, StringConstraints

from tidemill.clock import parse_moment
from tidemill.dashboard.acting import start_turn
from tidemill.dashboard.page import Done, add_act, add_page
from tidemill.dashboard.page_addresses import address_of
from tidemill.dashboard.pages.decisions.begun_acts import do_act
from tidemill.dashboard.pages.decisions.rollout_pages import RUNNING, OneRollout, one_rollout
from tidemill.dashboard.pages.decisions.turn_pages import OneTurn, one_turn
from tidemill.dashboard.records.decision_rows import Champion, champion_of, own
from tidemill.dashboard.records.registry_reading import why_away
from tidemill.dashboard.templating import moment
from tidemill.dashboard.visit import Here, Visit
from tidemill.errors import DecisionOutdated, TidemillError, UsageError
from tidemill.retraining.cancelling.cancelled_turns import cancel_turn
from tidemill.state import record_queries

__all__ = ["Retraining", "add_to", "retraining"]

REASON = StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)


@dataclass(frozen=True)
class Retraining:
    """What a turn would do."""

    model: str
    champion: Champion | None
    running: str | None
    """The turn that is being made already: there is at most one."""
    gate: str
    problem: str | None


@dataclass(frozen=True)
class Question:
    """A version that waits for an answer, or has got one."""

    turn: OneTurn
    champion: Champion | None
    served: bool
    """Whether replicas answer now: then the version is rolled out, else promoted at once."""
    away: str | None
    """Why it can only be refused: the version was ``deleted``, or is ``archived``."""


class ReasonForm(BaseModel):
    """An act that needs a reason."""

    reason: Annotated[str, REASON]


class RetrainForm(ReasonForm):
    """A turn that is asked for."""

    as_of: Annotated[
        str, Field(max_length=40, description="Only what was known by then; empty: as usual.")
    ] = ""


class AnswerForm(ReasonForm):
    """An answer to the question whether a version is to serve."""

    answer: Literal["approve", "refuse"]
    at_once: Annotated[bool, Field(description="Promote it without a rollout.")] = False


def rollout_to_stop(visit: Here, model: str, rollout_id: str) -> OneRollout:
    """Return the rollout that is to be stopped."""
    return one_rollout(visit, model, rollout_id)


def stop_rollout(visit: Here, request: Request, model: str, rollout_id: str, form: ReasonForm) -> Done:
    """Stop a rollout: its version answers nothing any more."""
    project = visit.installation.load(visit.project(model))
    row = own(visit.records, "rollouts", model, rollout_id)
    if row.status not in RUNNING:
        how = row.status.replace("_", " ")
        raise DecisionOutdated(
            f"this rollout has ended at {moment(row.finished_at)} UTC: {how}, {row.outcome}",
            hint="there is nothing left to stop",
        )
    return do_act(visit, request, project, "stop-rollout", form.reason, rollout=rollout_id)


def retraining(visit: Here, model: str) -> Retraining:
    """Return what a turn would do."""
    shown, gate, problem = visit.project(model), "enforce", None
    try:
        gate = visit.installation.load(shown).config.gate_mode
    except TidemillError as error:
        problem = f"{error}{f': {error.hint}' if error.hint else ''}"
    running = visit.records.select("turns", "model = ? AND status = 'running'", model, limit=1)
    return Retraining(
        model, champion_of(visit.records, model), running[0].id if running else None, gate, problem
    )


def retrain(visit: Here, model: str, form: RetrainForm) -> Done:
    """Begin a whole turn: train, ask the gate, promote. It goes on when this answer has been given."""
    project = visit.installation.load(visit.project(model))
    try:
        as_of = parse_moment(form.as_of).isoformat() if form.as_of.strip() else None
    except ValueError as error:
        raise UsageError(
            f"{form.as_of!r} is not a moment", hint="write it like 2013-04-01 or 2013-04-01T06:00"
        ) from error
    turn = start_turn(visit, project, form.reason, as_of)
    if turn is None:
        return Done(
            "The turn is about to begin: it is in this list soon.", address_of("models", model, "turns")
        )
    return Done("The turn has begun.", address_of("models", model, "turns", turn))


def question(visit: Here, model: str, turn_id: str) -> Question:
    """Return the turn whose version waits for an answer."""
    turn = one_turn(visit, model, turn_id)
    served = bool(record_queries.replicas(visit.records, model, visit.now))
    version = turn.turn.version
    away = why_away(visit.installation, visit.project(model), [version]).get(version or "")
    return Question(turn, champion_of(visit.records, model), served, away)


def answer_question(visit: Here, request: Request, model: str, turn_id: str, form: AnswerForm) -> Done:
    """Approve or refuse a version that waits."""
    project = visit.installation.load(visit.project(model))
    row = own(visit.records, "turns", model, turn_id)
    _refuse_answered(visit, model, turn_id)
    asked = {"approve": form.answer == "approve", "at_once": form.at_once, "version": row.version}
    return do_act(visit, request, project, "answer", form.reason, turn=turn_id, **asked)


def _refuse_answered(visit: Visit, model: str, turn_id: str) -> None:
    """Refuse a second answer, and say whose the first one is."""
    row = own(visit.records, "turns", model, turn_id)
    if row.status == "asked":
        return
    said = row.question or {}
    if said.get("by"):
        first = (
            f"{said['by']} was first: {said.get('answer')}, {said.get('at', '')[:16].replace('T', ' ')} UTC"
        )
        raise DecisionOutdated(f"{first}: {said.get('comment')}", hint="its turn's page says what came of it")
    raise DecisionOutdated(
        f"version {row.version} does not wait for an answer: its turn is {row.status}",
        hint="the decisions name those that wait",
    )


def turn_to_cancel(visit: Here, model: str, turn_id: str) -> OneTurn:
    """Return the turn that is to be cancelled."""
    return one_turn(visit, model, turn_id)


def cancel(visit: Here, model: str, turn_id: str, form: ReasonForm) -> Done:
    """Cancel a turn that is being made: nothing of it is promoted."""
    project = visit.installation.load(visit.project(model))
    own(visit.records, "turns", model, turn_id)
    turn = cancel_turn(project, visit.state, turn_id, visit.who, form.reason)
    return Done(
        "The turn is cancelled. Who makes it stops within seconds; on a cluster, with the next round.",
        address_of("models", model, "turns", turn.id),
    )


def add_to(app: FastAPI) -> None:
    """Add the pages and acts."""
    folder, base = "decisions", "/models/{model}"
    for path, page, act, form, template, needs, title in (
        ("rollouts/{rollout_id}/stop", rollout_to_stop, stop_rollout, ReasonForm, "stop", ("stop", "rollout"),
         "Stop a rollout"),
        ("retrain", retraining, retrain, RetrainForm, "retrain", ("start", "turn"), "Retrain"),
        ("turns/{turn_id}/answer", question, answer_question, AnswerForm, "answer", ("approve", "version"),
         "Approve or refuse a version"),
        ("turns/{turn_id}/cancel", turn_to_cancel, cancel, ReasonForm, "cancel", ("cancel", "turn"),
         "Cancel a turn"),
    ):  # fmt: skip
        address = f"{base}/{path}"
        add_page(app, address, page, template=f"{folder}/{template}.html", needs=needs, title=title)
        add_act(app, address, act, form, needs=needs, title=title)
