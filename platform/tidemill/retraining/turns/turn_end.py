"""Ends a turn: its version is promoted, rolled out, put before a person, or only recorded."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from tidemill.errors import ApprovalNeeded, DecisionOutdated, GateRefused, RegistryError
from tidemill.project import load_project
from tidemill.registry.approval_terms import VALID
from tidemill.registry.deployments import DeployRequest, deploy
from tidemill.registry.promotion import check_decision, promote
from tidemill.registry.versions.model_versions import champion_version
from tidemill.retraining.turns.step_context import StepContext, StepResult
from tidemill.rollouts.rollout_begin import begin
from tidemill.state import State
from tidemill.state.tables import GateDecision, Rollout, Turn

__all__ = ["end_turn", "question_again", "rollout_of"]


def end_turn(context: StepContext) -> StepResult:
    """Do with the version what the turn's action says, or record that the gate refused it."""
    turn = context.turn
    assert turn.version is not None
    with context.state.transaction() as session:
        decision = session.get_one(GateDecision, turn.decision_id)
    try:
        if turn.action == "rollout" and champion_version(context.project) is not None:
            return _roll_out(context, decision)
        if turn.action == "shadow" and champion_version(context.project) is not None:
            return _shadow(context, decision)
        if turn.action in ("record", "ask"):
            check_decision(context.project, decision, turn.version, champion_version(context.project))
            return _ask(turn) if turn.action == "ask" else _keep(turn)
        return _promote(context, decision)
    except ApprovalNeeded as needed:
        return _wait_for_approval(turn, needed)
    except GateRefused as refusal:
        return StepResult(status="refused", message=str(refusal))
    except DecisionOutdated as outdated:
        return StepResult(back_to="gate", message=str(outdated))


def question_again(turn: Turn) -> dict[str, Any] | None:
    """Return what puts the version of a turn before a person again; None if nobody has answered.

    What failed after an answer may be away for a moment only, and the answer must not be lost by it.
    """
    asked = turn.question or {}
    if "answer" not in asked:
        return None
    again = {name: asked[name] for name in ("until", "default", "approval") if name in asked}
    return {"question": again, "action": "ask", "step": "end"}


def _wait_for_approval(turn: Turn, needed: ApprovalNeeded) -> StepResult:
    """Put the version before a second person; the question names the request, which goes on with the turn."""
    asked = turn.question or {"until": (datetime.now(UTC) + VALID).isoformat(), "default": "refuse"}
    question = {"until": asked["until"], "default": asked["default"], "approval": needed.approval}
    columns = {"question": question, "action": "ask"}
    return StepResult(columns, status="asked", error=str(needed), message=str(needed))


def rollout_of(state: State, turn: Turn) -> Rollout | None:
    """Return the rollout that a turn began; None if it began none."""
    query = (
        select(Rollout)
        .where(
            Rollout.model == turn.model,
            Rollout.version == turn.version,
            Rollout.requested_at >= turn.requested_at,
        )
        .order_by(Rollout.requested_at.desc())
        .limit(1)
    )
    with state.transaction() as session:
        return session.scalar(query)


def _actor(turn: Turn) -> str:
    """Return who decided: the person who was asked, else who began the turn."""
    return str((turn.question or {}).get("by") or turn.actor)


def _decided_at(turn: Turn) -> datetime:
    """Return the event time of the decision: the answer's, which may be days after the turn's own."""
    answered = (turn.question or {}).get("at")
    return datetime.fromisoformat(answered) if answered else turn.as_of


def _keep(turn: Turn) -> StepResult:
    return StepResult(status="registered", message=f"version {turn.version} passed the gate; it is on record")


def _shadow(context: StepContext, decision: GateDecision) -> StepResult:
    """Let the version answer beside the champion, unseen; the one that did so before ends."""
    turn, project = context.turn, context.project
    assert turn.version is not None
    check_decision(project, decision, turn.version, champion_version(project))
    wanted = DeployRequest("shadow", turn.version, 1.0, turn.actor, turn.reason)
    try:
        deploy(project, context.state, wanted, datetime.now(UTC))
    except RegistryError as error:
        if isinstance(error, GateRefused | DecisionOutdated):
            raise
        said = f"version {turn.version} is registered, but does not answer as the shadow: {error}"
        return StepResult(status="registered", error=said, message=said)
    said = f"version {turn.version} passed the gate; it answers as the shadow: `tidemill deploy report`"
    return StepResult(status="registered", message=said)


def _ask(turn: Turn) -> StepResult:
    """Put the version before a person; `tidemill.retraining.questions` takes the answer."""
    asked = turn.question or {}
    then = f"until {asked['until']}, then: {asked['default']}"
    said = f"version {turn.version} passed the gate and waits for an answer {then}"
    return StepResult(status="asked", message=said)


def _roll_out(context: StepContext, decision: GateDecision) -> StepResult:
    """Begin the rollout, or find that it has begun; where another is under way, the version is kept."""
    turn, state = context.turn, context.state
    project = load_project(context.project.root, context.project.settings)  # its steps and limits of now
    assert turn.version is not None
    serving = champion_version(project)
    if (begun := rollout_of(state, turn)) is not None:
        return StepResult(status="rollout", message=f"version {turn.version} is rolled out by {begun.id}")
    check_decision(project, decision, turn.version, serving)
    try:
        begun = begin(
            project,
            state,
            turn.version,
            _actor(turn),
            turn.reason,
            datetime.now(UTC),  # rollouts count what is answered from now on
            decision=decision,
        )
    except RegistryError as error:
        if isinstance(error, GateRefused | DecisionOutdated) or question_again(turn) is not None:
            raise
        said = f"version {turn.version} is registered, but its rollout did not begin: {error}"
        return StepResult(status="registered", error=said, message=said)
    return StepResult(status="rollout", message=f"version {turn.version} is rolled out by {begun.id}")


def _promote(context: StepContext, decision: GateDecision) -> StepResult:
    """Promote the version."""
    turn, project = context.turn, context.project
    assert turn.version is not None
    done = promote(
        project,
        context.state,
        turn.version,
        actor=_actor(turn),
        reason=turn.reason,
        now=_decided_at(turn),
        decision=decision,
        turn_id=turn.id,
    )
    serving = champion_version(project)
    message = f"version {done.to_version} is the champion"
    if serving != done.to_version:  # the alias was moved again before the promotion was recorded here
        message = f"version {done.to_version} became the champion; now it is {serving or 'none'}"
    return StepResult(status="promoted", message=message)
