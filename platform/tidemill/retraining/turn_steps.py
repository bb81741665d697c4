"""The steps of a turn: data, train, register, gate, promote.

Each step may be run again after a kill, and then has the same result: the package that does its work finds
what the killed attempt had finished. The turn itself only knows which step is next.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select

from tidemill.clock import utc
from tidemill.data.repository.uncommitted_code import find_uncommitted
from tidemill.data.versioning.data_versions import current, reproduce
from tidemill.errors import DecisionOutdated, FeatureError, GateRefused
from tidemill.features.project_features import feature_names, feature_source, features_digest
from tidemill.project import Project, load_project
from tidemill.project.moments import moment_parameters
from tidemill.registry.promotion import earlier_decision, evaluate_gate, promote
from tidemill.registry.versions.model_versions import champion_version
from tidemill.registry.versions.new_versions import register
from tidemill.retraining.turn_inputs import data_digest, read_sources
from tidemill.state import State
from tidemill.state.tables import GateDecision, Turn
from tidemill.training.train import train

__all__ = ["STEPS", "TRAIN", "Step", "StepContext", "StepResult", "data_message"]

_APPLIED = "the definitions in the feature repository have changed: they are applied"

Tell = Callable[[str, int | None, int | None], None]


@dataclass(frozen=True)
class StepContext:
    """The inputs of a step."""

    project: Project
    state: State
    turn: Turn
    tell: Tell


@dataclass(frozen=True)
class StepResult:
    """The result of a step for the turn's record, and how the turn continues."""

    columns: Mapping[str, Any] = field(default_factory=dict)
    status: str | None = None
    """Status that ends the turn; None if the turn continues."""
    error: str | None = None
    message: str = ""
    back_to: str | None = None
    """An earlier step to run next; None for the following step."""


@dataclass(frozen=True)
class Step:
    """A named step."""

    name: str
    title: str
    run: Callable[[StepContext], StepResult]


def data_message(as_of: datetime) -> str:
    """Return the first line of the message with which a turn commits its data version."""
    return f"Data as known at {as_of:%Y-%m-%d %H:%M} UTC"


def version_data(context: StepContext) -> StepResult:
    """Reproduce the data as known at the turn's moment, commit it, and fill the online store up to then."""
    project, turn = context.project, context.turn
    _apply_before_stages(context)
    version = reproduce(
        project,
        {**moment_parameters(project, turn.as_of), **turn.overrides},
        message=f"{data_message(turn.as_of)}\n\n{turn.reason}",
        on_line=lambda line: context.tell(line, None, None),
    )
    if project.has_store:
        from tidemill.features.definition_changes import apply_changes
        from tidemill.features.feature_store import materialise  # Feast takes seconds

        if apply_changes(project):
            context.tell(_APPLIED, None, None)
        materialise(project, turn.as_of)
    inputs = _inputs(load_project(project.root, project.settings))
    columns = {"data_revision": version.revision, "inputs": inputs}
    if turn.policy is not None and (same := _same_data(context, inputs["data"])):
        said = f"nothing new to learn: turn {same.id} ({same.status}) had the same data, code and parameters"
        return StepResult(columns, status="unchanged", message=said)
    return StepResult(columns, message=f"data version {version.revision[:10]}")


def _inputs(project: Project) -> dict[str, str | None]:
    """Return digests of what the turn reads."""
    sources = read_sources(project, {})
    return {"sources": sources.all, "data": data_digest(project, sources)}


def _same_data(context: StepContext, digest: str | None) -> Turn | None:
    """Return an earlier turn that ended, and had the same data; None if there is none."""
    turn = context.turn
    ended = "promoted", "refused", "registered", "unchanged"
    with context.state.transaction() as session:
        earlier = session.scalars(
            select(Turn).where(Turn.model == turn.model, Turn.id != turn.id, Turn.status.in_(ended))
        )
        found = [each for each in earlier if digest is not None and (each.inputs or {}).get("data") == digest]
    return max(found, key=lambda each: each.as_of, default=None)


def search_model(context: StepContext) -> StepResult:
    """Search for the best model on the turn's data version, and fit it as the candidate."""
    project = load_project(context.project.root, context.project.settings)
    uncommitted = find_uncommitted(project.root)
    if uncommitted.files:
        context.tell(f"{uncommitted}; they go on record", None, None)
    trained = train(
        project,
        current(project),
        context.turn.as_of,
        context.turn.id,
        features=feature_names(project),
        service=feature_source(project),
        definition=features_digest(project),
        uncommitted=uncommitted,
        on_progress=lambda done, total, best: context.tell(
            f"best {project.config.train.metric} {best:.4f}" if best is not None else "", done, total
        ),
    )
    return StepResult(
        {"run_id": trained.run_id},
        message=f"{trained.trials} trials, {trained.failed_trials} failed; the best is {trained.family}",
    )


def register_version(context: StepContext) -> StepResult:
    """Register the run's model as a version, or find the version if it is already registered."""
    assert context.turn.run_id is not None
    version = register(context.project, context.turn.run_id, context.turn.id)
    columns = {"version": version}
    if not context.turn.promote:
        return StepResult(columns, status="registered", message=f"version {version}")
    return StepResult(columns, message=f"version {version}")


def pass_gate(context: StepContext) -> StepResult:
    """Let the gate decide on the version, or find its recorded decision."""
    project, state = load_project(context.project.root, context.project.settings), context.state
    version, as_of = context.turn.version, utc(context.turn.as_of)
    assert version is not None
    decision = earlier_decision(project, state, version, as_of) or evaluate_gate(
        project, state, version, as_of
    )
    return StepResult({"decision_id": decision.id}, message="; ".join(decision.reasons))


def move_alias(context: StepContext) -> StepResult:
    """Promote the version, or record that the gate refused it."""
    turn, project = context.turn, context.project
    with context.state.transaction() as session:
        decision = session.get_one(GateDecision, turn.decision_id)
    assert turn.version is not None
    try:
        done = promote(
            project,
            context.state,
            turn.version,
            actor=turn.actor,
            reason=turn.reason,
            now=turn.as_of,
            decision=decision,
            turn_id=turn.id,
        )
    except GateRefused as refusal:
        return StepResult(status="refused", message=str(refusal))
    except DecisionOutdated as outdated:
        return StepResult(back_to="gate", message=str(outdated))
    serving = champion_version(project)
    message = f"version {done.to_version} is the champion"
    if serving != done.to_version:  # the alias was moved again before the promotion was recorded here
        message = f"version {done.to_version} became the champion; now it is {serving or 'none'}"
    return StepResult(status="promoted", message=message)


TRAIN = "train"
STEPS = (
    Step("data", "versioning data and building features", version_data),
    Step(TRAIN, "searching for a model", search_model),
    Step("register", "registering the candidate", register_version),
    Step("gate", "comparing with the champion", pass_gate),
    Step("promote", "deciding on the promotion", move_alias),
)


def _apply_before_stages(context: StepContext) -> None:
    """Apply changed feature definitions, so that stages which do not apply them join what is defined now."""
    if not context.project.has_store:
        return
    from tidemill.features.definition_changes import apply_changes  # Feast takes seconds

    try:
        if apply_changes(context.project, first=False):
            context.tell(_APPLIED, None, None)
    except FeatureError as error:  # a source that a stage is yet to write: afterwards it is an error
        context.tell(f"feature definitions will be applied after the stages: {error}", None, None)
