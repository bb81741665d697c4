"""What a turn is asked to do, and the record of one that begins."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tidemill.accounts import audit
from tidemill.clock import utc
from tidemill.errors import TurnInProgress, UsageError
from tidemill.ids import new_id
from tidemill.project import Project
from tidemill.retraining.recipes import Action, Ask, Recipe, question_of
from tidemill.retraining.turns.turn_inputs import with_params
from tidemill.retraining.turns.turn_steps import STEPS
from tidemill.state import State
from tidemill.state.tables import PolicyDecision, Turn

__all__ = [
    "TurnRequest",
    "check_request",
    "count_turns",
    "record_begin",
]


@dataclass(frozen=True)
class TurnRequest:
    """The task of a turn, and its reason."""

    as_of: datetime
    """The turn uses only data that was known by this moment."""
    reason: str
    actor: str
    trigger: str = "manual"
    promote: bool = True
    policy: str | None = None
    alert_id: str | None = None
    cause: str | None = None
    """Identifies what a policy makes it for."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Values of params.yaml that this turn sets, by dotted name."""
    recipe: Recipe = field(default_factory=Recipe)
    """How it makes its model."""
    action: Action = "promote"
    """What becomes of a version that passes the gate."""
    ask: Ask = field(default_factory=Ask)
    """Of the action ``ask``: how long it waits for an answer, and what happens then."""
    turns_before: int | None = None
    """How many turns were on record when it was decided: with more, nothing begins. None: any."""


def record_begin(project: Project, state: State, request: TurnRequest) -> Turn:
    """Record a turn that begins; the lock must be held.

    Raises:
        TurnInProgress: another turn was made since this one was decided.
    """
    turn = Turn(
        id=new_id("turn"),
        model=project.model,
        trigger=request.trigger,
        policy=request.policy,
        reason=request.reason,
        alert_id=request.alert_id,
        cause=request.cause,
        actor=request.actor,
        promote=request.promote,
        overrides=dict(request.params),
        as_of=utc(request.as_of),
        status="running",
        step=STEPS[0].name,
        seconds={},
        recipe=None if request.recipe == Recipe() else request.recipe.recorded,
        action=request.action if request.promote else "record",
        question=question_of(request.ask, request.as_of) if request.action == "ask" else None,
        requested_at=datetime.now(UTC),
    )
    with state.transaction() as session:
        if request.turns_before not in (None, count_turns(session, project.model)):
            raise TurnInProgress(
                f"another turn of {project.model} was made since this one was decided",
                hint="the next round decides anew, by what that one did",
            )
        session.add(turn)
        audit.append(session, _started(turn))
        if turn.policy is not None:
            _name_in_decision(session, turn)
    return turn


def _name_in_decision(session: Session, turn: Turn) -> None:
    """Record at the decision that a turn is made by which turn that is: a kill must not part the two."""
    of = PolicyDecision.model == turn.model, PolicyDecision.policy == turn.policy
    same = PolicyDecision.verdict == "retrain", PolicyDecision.cause == turn.cause
    latest = select(PolicyDecision).where(*of, *same, PolicyDecision.last_at >= turn.as_of)
    if (decision := session.scalar(latest.order_by(PolicyDecision.last_at).limit(1))) is not None:
        decision.turn_id = turn.id


def count_turns(session: Session, model: str) -> int:
    """Return how many turns of a model are on record."""
    return session.scalar(select(func.count(Turn.id)).where(Turn.model == model)) or 0


def _started(turn: Turn) -> audit.Act:
    """Return what the audit log says of a turn that begins."""
    details = {
        "trigger": turn.trigger,
        "alert_id": turn.alert_id,
        "as_of": utc(turn.as_of).isoformat(),
        "action": turn.action,
        "overrides": sorted(turn.overrides),
    }
    return audit.Act(turn.actor, "start", "turn", turn.id, turn.model, turn.reason, details)


def check_request(project: Project, params: Mapping[str, Any]) -> Project:
    """Refuse values that ``params.yaml`` must not have, before the turn is recorded.

    Returns:
        the project with these values.

    Raises:
        UsageError: the turn sets one of them itself.
        ConfigError: one is wrong.
    """
    dataset = project.config.dataset
    if own := [name for name in (dataset.as_of, dataset.last_month) if name in params]:
        raise UsageError(
            f"{own[0]} cannot be set: the turn sets it to its own moment",
            hint="choose the turn's moment with --as-of",
        )
    return with_params(project, params)
