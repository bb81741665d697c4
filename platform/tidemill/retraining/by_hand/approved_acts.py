"""Does what a second person has approved, in the name of who asked for it; both names are on record."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tidemill.errors import DecisionOutdated, TidemillError
from tidemill.project import Project
from tidemill.project.serve_config import RolloutConfig
from tidemill.registry.deployments import DeployRequest, deploy
from tidemill.registry.promotion import evaluate_gate, promote
from tidemill.registry.stage_promotion import StageRequest, put_into_stage
from tidemill.registry.versions.model_versions import champion_version
from tidemill.retraining.questions import Answer, answer, open_questions
from tidemill.rollouts.rollout_begin import begin
from tidemill.state import State
from tidemill.state.tables import Approval

__all__ = ["carry_out"]


def carry_out(project: Project, state: State, approved: Approval, now: datetime) -> str:
    """Do what was approved on the terms that were shown, and say what that was.

    If it was asked for by an answer to a turn, or by a turn, it is done by going on with that turn.

    Args:
        project: whose model it is.
        state: the records.
        approved: a request with the status ``approved``; it is used up.
        now: event time.

    Raises:
        DecisionOutdated: another version serves by now than the one that was to be replaced.
        TidemillError: it cannot be done now; the approval still counts, for as long as any.
    """
    terms = approved.terms
    serving = champion_version(project)
    if terms is None or terms["champion"] != serving:
        before = "an earlier version of Tidemill asked for it"
        if terms is not None:
            before = f"version {terms['champion'] or 'none'} served when it was asked for"
        raise DecisionOutdated(
            f"{approved.id} counts for nothing any more: {before}, and version {serving or 'none'} does now",
            hint="ask for it again, if it is still wanted",
        )
    try:
        return _by_turn(project, state, approved, now) or _by_itself(project, state, approved, now)
    except TidemillError as error:
        error.hint = f"{error.hint or 'look at the message'}; the approval counts for seven days all the same"
        raise


def _reason(approved: Approval) -> str:
    return f"{approved.reason} (approved by {approved.decided_by}: {approved.comment})"


def _by_itself(project: Project, state: State, approved: Approval, now: datetime) -> str:
    version, by, terms = approved.version, approved.asked_by, approved.terms or {}
    if approved.action == "promote":
        decision = evaluate_gate(project, state, version, now, by)
        done = promote(project, state, version, by, _reason(approved), now, decision=decision)
        return f"Version {done.to_version} serves now; before: {done.from_version or 'none'}."
    if approved.action == "deploy":
        wanted = DeployRequest(terms["kind"], version, terms["share"], by, _reason(approved), _name_of(terms))
        deploy(project, state, wanted, now)
        return f"Version {version} answers {terms['share'] * 100:g} % of the keys."
    if approved.action == "stage":
        asked = StageRequest(terms["stage"], by, _reason(approved), now)
        put_into_stage(project, state, version, asked)
        return f"Version {version} is in {terms['stage']}."
    plan = RolloutConfig.model_validate(terms["plan"])
    since = datetime.fromisoformat(terms["since"]) if terms["since"] else None
    begin(project, state, version, by, _reason(approved), now, plan, since)
    return f"Version {version} is being rolled out."


def _name_of(terms: Mapping[str, Any]) -> str:
    return str(terms["name"]) if terms["kind"] == "ab" else ""


def _by_turn(project: Project, state: State, approved: Approval, now: datetime) -> str | None:
    """Go on with the turn that waits for this approval; return None if none does."""
    waiting = [
        turn
        for turn in open_questions(state, project.model)
        if (turn.question or {}).get("approval") == approved.id
    ]
    if not waiting:
        return None
    said: Answer = "promote" if approved.action == "promote" else "rollout"
    done = answer(project, state, said, approved.asked_by, _reason(approved), now, waiting[0].version)
    word = {"promoted": "serves now", "rollout": "is being rolled out"}.get(done.status, done.status)
    return f"Version {approved.version} {word}."
