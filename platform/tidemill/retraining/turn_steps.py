"""The steps of a turn. Each one may be made again after a kill, and then brings the same result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select

from tidemill.clock import utc
from tidemill.data.versioning.data_versions import current, reproduce
from tidemill.errors import GateRefused
from tidemill.features.feature_store import definition_hash, materialise, service_features
from tidemill.project import Project, load_project
from tidemill.registry.promotion import evaluate_gate, promote, recover
from tidemill.registry.versions.model_versions import register
from tidemill.state import State
from tidemill.state.tables import GateDecision, Promotion, Turn
from tidemill.training.train import train

__all__ = ["STEPS", "Advance", "Step", "StepContext"]

_ADVICE = ("\t", "> ", "To track", "To enable", "Use `dvc", "Updating lock", "Generating lock")

Tell = Callable[[str, int | None, int | None], None]


@dataclass(frozen=True)
class StepContext:
    """What a step works with."""

    project: Project
    state: State
    turn: Turn
    tell: Tell


@dataclass(frozen=True)
class Advance:
    """What a step brought: columns of the turn's record, and perhaps the turn's end."""

    columns: Mapping[str, Any] = field(default_factory=dict)
    status: str | None = None
    error: str | None = None
    message: str = ""


@dataclass(frozen=True)
class Step:
    """A named step."""

    name: str
    title: str
    make: Callable[[StepContext], Advance]


def version_data(context: StepContext) -> Advance:
    """Reproduce the data as known at the turn's moment, commit it, and bring the online store up to it."""
    project, turn = context.project, context.turn
    dataset = project.config.dataset
    overrides = {
        dataset.last_month: f"{_last_instant_before(turn.as_of):%Y-%m}",
        dataset.as_of: utc(turn.as_of).isoformat(),
        **turn.overrides,
    }
    version = reproduce(
        project,
        overrides,
        message=f"Data as known at {turn.as_of:%Y-%m-%d %H:%M} UTC\n\n{turn.reason}",
        on_line=lambda line: _relay_line(line, context.tell),
    )
    materialise(project, turn.as_of)
    return Advance({"data_revision": version.revision}, message=f"data version {version.revision[:10]}")


def search_model(context: StepContext) -> Advance:
    """Tune, track, and fit the model that is going to be the candidate."""
    project = load_project(context.project.root, context.project.settings)
    trained = train(
        project,
        current(project),
        context.turn.as_of,
        context.turn.id,
        features=service_features(project),
        service=project.config.features.service,
        definition=definition_hash(project),
        on_progress=lambda done, total, best: context.tell(
            f"best {project.config.train.metric} {best:.4f}" if best is not None else "", done, total
        ),
    )
    return Advance(
        {"run_id": trained.run_id},
        message=f"{trained.trials} trials, {trained.failed_trials} failed; the best is {trained.family}",
    )


def register_version(context: StepContext) -> Advance:
    """Make the run's model a version in the registry; the same version again if it is one already."""
    assert context.turn.run_id is not None
    version = register(context.project, context.turn.run_id, context.turn.id)
    columns = {"version": version}
    if not context.turn.promote:
        return Advance(columns, status="registered", message=f"version {version}")
    return Advance(columns, message=f"version {version}")


def pass_gate(context: StepContext) -> Advance:
    """Let the gate decide."""
    project = load_project(context.project.root, context.project.settings)
    assert context.turn.version is not None
    decision = evaluate_gate(project, context.state, context.turn.version, context.turn.as_of)
    return Advance({"decision_id": decision.id}, message="; ".join(decision.reasons))


def move_alias(context: StepContext) -> Advance:
    """Promote, or put the refusal on record."""
    turn, state = context.turn, context.state
    recover(context.project, state)
    with state.transaction() as session:
        done = session.scalar(select(Promotion).where(Promotion.turn_id == turn.id))
        decision = session.get_one(GateDecision, turn.decision_id)
    assert turn.version is not None
    if done is not None:
        return Advance(status="promoted", message=f"version {done.to_version} is the champion")
    try:
        promote(
            context.project,
            state,
            turn.version,
            actor=turn.actor,
            reason=turn.reason,
            now=turn.as_of,
            decision=decision,
            turn_id=turn.id,
        )
    except GateRefused as refusal:
        return Advance(status="refused", message=str(refusal))
    return Advance(status="promoted", message=f"version {turn.version} is the champion")


STEPS = (
    Step("data", "versioning data and building features", version_data),
    Step("train", "searching for a model", search_model),
    Step("register", "registering the candidate", register_version),
    Step("gate", "comparing with the champion", pass_gate),
    Step("promote", "deciding on the promotion", move_alias),
)


def _relay_line(line: str, tell: Tell) -> None:
    """Pass on what a stage or DVC says, without DVC's advice on commands that the turn runs itself."""
    if line.strip() and not line.startswith(_ADVICE):
        tell(line, None, None)


def _last_instant_before(moment: datetime) -> datetime:
    """Return the last instant before ``moment``, in UTC: the month it falls in is the last one needed."""
    return utc(moment) - datetime.resolution
