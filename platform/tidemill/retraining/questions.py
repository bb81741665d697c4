"""Takes the answer of a person to the question whether a turn's version is to serve."""

from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import select

from tidemill.accounts import audit
from tidemill.clock import utc
from tidemill.errors import ApprovalNeeded, RetrainingError, TurnInProgress, UsageError
from tidemill.project import Project
from tidemill.registry.second_person import expire_requests, withdraw
from tidemill.retraining.turns.turn import Listener, resume_turns
from tidemill.serving.routing.replicas import live_replicas
from tidemill.state import State
from tidemill.state.tables import Turn

__all__ = ["Answer", "answer", "answer_overdue", "is_served", "open_questions", "raise_needed"]

Answer = Literal["refuse", "promote", "rollout"]


def is_served(state: State, model: str) -> bool:
    """Return whether replicas answer with a model now, so that a version can be rolled out."""
    with state.transaction() as session:
        return bool(live_replicas(session, model, datetime.now(UTC)))


def open_questions(state: State, model: str) -> list[Turn]:
    """Return the turns whose version waits for an answer, the oldest first."""
    query = select(Turn).where(Turn.model == model, Turn.status == "asked").order_by(Turn.as_of)
    with state.transaction() as session:
        return list(session.scalars(query))


def answer(
    project: Project,
    state: State,
    said: Answer,
    person: str,
    comment: str,
    now: datetime,
    version: str | None = None,
    listen: Listener | None = None,
) -> Turn:
    """Record an answer, and do what it says; what a kill leaves undone, the controller's next round does.

    Args:
        project: whose model it is.
        state: the records.
        said: whether the version is refused, promoted or rolled out.
        person: who says so.
        comment: why.
        now: event time.
        version: the version; default: the only one that waits.
        listen: called for the progress.

    Returns:
        the turn as it is then.

    Raises:
        UsageError: no version waits, not this one, or several do.
        TurnInProgress: another turn is being made; the answer is not recorded.
        ApprovalNeeded: the project wants a second person's approval; the turn goes on when it is given.
        RetrainingError: the promotion or the rollout failed; the version waits for an answer again.
    """
    turn = _asked(project, state, version)
    _record(state, turn, said, {"by": person, "comment": comment, "at": utc(now).isoformat()})
    if said != "refuse":
        resume_turns(project, state, listen)
    with state.transaction() as session:
        done = session.get_one(Turn, turn.id)
    if done.status == "asked":
        raise_needed(done)
        raise RetrainingError(
            f"version {done.version} of {done.model} does not serve: {done.error}",
            hint="it waits for an answer again: answer when that is mended; when its time is over, the "
            "controller tries its default in every round",
        )
    return done


def raise_needed(turn: Turn) -> None:
    """Raise what a turn waits for, if that is a second person.

    Raises:
        ApprovalNeeded: it is.
    """
    approval = (turn.question or {}).get("approval")
    if approval is not None and approval in (turn.error or ""):
        needed = ApprovalNeeded(
            str(turn.error),
            hint=f"somebody else approves it, which does it: tidemill approvals approve {approval}",
        )
        needed.approval = approval
        raise needed


def answer_overdue(project: Project, state: State, now: datetime) -> list[Turn]:
    """Answer the questions whose time is over by their default, and return their turns.

    Requests for a second person that nobody has answered in time expire with them.

    Raises:
        TidemillError: as `answer` does; the next round tries it again.
    """
    done = []
    expire_requests(state, project.model)
    for turn in open_questions(state, project.model):
        asked = turn.question or {}
        if datetime.fromisoformat(asked["until"]) <= now:
            said = f"nobody answered until {asked['until']}"
            done.append(answer(project, state, asked["default"], turn.actor, said, now, turn.version))
    return done


def _asked(project: Project, state: State, version: str | None) -> Turn:
    waiting = open_questions(state, project.model)
    found = [turn for turn in waiting if version in (None, turn.version)]
    if len(found) == 1:
        return found[0]
    named = ", ".join(str(turn.version) for turn in waiting) or "none"
    raise UsageError(
        f"no version of {project.model} waits for an answer"
        if version is None and not waiting
        else f"version {version} of {project.model} does not wait for an answer"
        if version is not None
        else f"several versions of {project.model} wait for an answer",
        hint=f"those that wait: {named}; `tidemill policies history` has what was decided",
    )


def _record(state: State, turn: Turn, said: Answer, by: dict[str, Any]) -> None:
    """Record the answer in one transaction with what follows from it: the turn's end, or its last step."""
    with state.transaction() as session:
        running = session.scalar(select(Turn.id).where(Turn.model == turn.model, Turn.status == "running"))
        if running is not None and said != "refuse":
            raise TurnInProgress(
                f"turn {running} of {turn.model} is being made: the answer was not recorded",
                hint="answer again when it has ended; `tidemill status` shows how far it is",
            )
        row = session.get_one(Turn, turn.id)
        if row.status != "asked":
            raise UsageError(
                f"version {row.version} has an answer already: {(row.question or {}).get('answer')}",
                hint="`tidemill models history` shows which version serves",
            )
        row.question = {**(row.question or {}), "answer": said, **by}
        if said == "refuse":
            row.status, row.error = "refused", None  # it waits for no second person any more
            row.finished_at = datetime.now(UTC)
            if approval := row.question.get("approval"):
                withdraw(session, approval, by=by["by"], comment=by["comment"])
        else:
            row.action, row.status, row.step, row.finished_at = said, "running", "promote", None
        action = "reject" if said == "refuse" else "approve"
        details = {"turn_id": row.id, "answer": said}
        act = audit.Act(by["by"], action, "version", str(row.version), row.model, by["comment"], details)
        audit.append(session, act)
