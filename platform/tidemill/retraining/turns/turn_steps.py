"""The steps of a turn: data, train, register, gate, promote.

Each step may be run again after a kill, and then has the same result: the package that does its work finds
what the killed attempt had finished. The turn itself only knows which step is next.

Engines are imported by the step that needs them: a controller waits for days until one does.
"""

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from tidemill.accounts import audit
from tidemill.clock import utc
from tidemill.data.repository.uncommitted_code import find_uncommitted
from tidemill.errors import FeatureError
from tidemill.plurals import counted
from tidemill.project import Project, load_project
from tidemill.project.moments import moment_parameters
from tidemill.retraining.candidates.current_training import train_current
from tidemill.retraining.turns.step_context import Step, StepContext, StepResult
from tidemill.retraining.turns.turn_end import end_turn
from tidemill.retraining.turns.turn_inputs import data_digest, read_sources, with_params
from tidemill.state import State
from tidemill.state.tables import AuditEntry, Turn
from tidemill.tasks.natural_metric import Metric, metric_of

if TYPE_CHECKING:
    from tidemill.training.search.search_budget import SearchProgress

__all__ = [
    "STEPS",
    "TRAIN",
    "Step",
    "StepContext",
    "StepResult",
    "data_message",
    "record_registration",
    "same_data",
]

_SHOWN = 2
"""Trials that run, of which the rounds are told."""
_APPLIED = "the definitions in the feature repository have changed: they are applied"


def data_message(as_of: datetime) -> str:
    """Return the first line of the message with which a turn commits its data version."""
    return f"Data as known at {as_of:%Y-%m-%d %H:%M} UTC"


def version_data(context: StepContext) -> StepResult:
    """Reproduce the data as known at the turn's moment, commit it, and fill the online store up to then."""
    from tidemill.data.versioning.data_versions import reproduce
    from tidemill.retraining.candidates.champion_basis import check_search

    project, turn = context.project, context.turn
    check_search(with_params(project, turn.overrides), turn.recipe)
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
    if turn.policy is not None and (same := same_data(context.state, turn, inputs["data"])):
        said = f"nothing new to learn: turn {same.id} ({same.status}) had the same data, code and parameters"
        return StepResult(columns, status="unchanged", message=said)
    return StepResult(columns, message=f"data version {version.revision[:10]}")


def _inputs(project: Project) -> dict[str, str | None]:
    """Return digests of what the turn reads."""
    sources = read_sources(project, {})
    return {"sources": sources.all, "data": data_digest(project, sources)}


def same_data(state: State, turn: Turn, digest: str | None) -> Turn | None:
    """Return another turn that ended, and had the same data, code and parameters; None if there is none.

    One that made a version is named before one that ended as unchanged itself.
    """
    ended = "promoted", "refused", "registered", "unchanged", "rollout", "asked"
    with state.transaction() as session:
        earlier = session.scalars(
            select(Turn).where(Turn.model == turn.model, Turn.id != turn.id, Turn.status.in_(ended))
        )
        found = [each for each in earlier if digest is not None and (each.inputs or {}).get("data") == digest]
    return max(found, key=lambda each: (each.status != "unchanged", each.as_of), default=None)


def search_model(context: StepContext) -> StepResult:
    """Search for the best model on the turn's data version, and fit it as the candidate."""
    from tidemill.retraining.candidates.champion_basis import plan_of

    project = load_project(context.project.root, context.project.settings)
    uncommitted = find_uncommitted(project.root)
    if uncommitted.files:
        context.tell(f"{uncommitted}; they go on record", None, None)
    metric = metric_of(project.config.train.metric)
    trained = train_current(
        project,
        context.turn.as_of,
        context.turn.id,
        uncommitted=uncommitted,
        plan=plan_of(project, context.state, context.turn.recipe),
        on_progress=lambda at: context.tell(said_progress(at, metric), at.done, at.total),
        must_resume=context.must_resume,
    )
    learnt = "" if trained.window is None else f"; it learnt from the window: {trained.window}"
    said = f"{counted(trained.trials, 'trial')}, {trained.failed_trials} failed; the best is {trained.family}"
    if trained.search_ended is not None:
        said = f"{said}; the search ended early, by {trained.search_ended}"
    if not trained.trials:
        said = f"{trained.family} with the champion's parameters, without a search"
    if trained.warm_start is not None:
        said = (
            f"{said}; {trained.warm_start}" if trained.trials else f"{trained.family}, {trained.warm_start}"
        )
    return StepResult(
        {
            "run_id": trained.run_id,
            "windows": [dict(each) for each in trained.windows] or None,
            "inputs": {**(context.turn.inputs or {}), "labels": trained.labels},
        },
        cpu_seconds=trained.cpu_seconds,
        gpu_seconds=trained.gpu_seconds,
        message=said + learnt,
    )


def said_progress(at: "SearchProgress", metric: Metric) -> str:
    """Say how far a search is: its best value so far, when it may end, and the rounds of what runs."""
    parts = [] if at.best is None else [f"best {metric.said(at.best)} (trial {at.best_trial})"]
    if at.seconds_left and at.done < at.total:
        minutes = at.seconds_left / 60
        parts.append(
            f"about {minutes:.0f} min left" if minutes >= 2 else f"about {at.seconds_left:.0f} s left"
        )
    running = sorted(at.running.items())
    parts += [f"trial {number}: round {made} of {rounds}" for number, (made, rounds) in running[:_SHOWN]]
    parts += [f"{len(running) - _SHOWN} more"] if len(running) > _SHOWN else []
    return ", ".join(parts)


def register_version(context: StepContext) -> StepResult:
    """Register the run's model as a version, or find the version if it is already registered."""
    from tidemill.registry.versions.new_versions import register

    assert context.turn.run_id is not None
    version = register(context.project, context.turn.run_id, context.turn.id)
    _put_on_record(context, version)
    columns = {"version": version}
    if not context.turn.promote:
        return StepResult(columns, status="registered", message=f"version {version}")
    return StepResult(columns, message=f"version {version}")


def _put_on_record(context: StepContext, version: str) -> None:
    turn = context.turn
    details = {"turn": turn.id, "run_id": turn.run_id}
    act = audit.Act(turn.actor, "register", "version", version, turn.model, turn.reason, details)
    record_registration(context.state, act)


def record_registration(state: State, act: audit.Act) -> None:
    """Put a new version on the audit, of which webhooks are told; once, however often it is asked for."""
    of = (AuditEntry.resource == "version", AuditEntry.action == "register")
    with state.transaction() as session:
        mine = (AuditEntry.model == act.model, AuditEntry.resource_id == act.resource_id, *of)
        if session.scalar(select(AuditEntry.seq).where(*mine).limit(1)) is None:
            audit.append(session, act)


def pass_gate(context: StepContext) -> StepResult:
    """Let the gate decide on the version, or find its recorded decision."""
    from tidemill.registry.promotion import earlier_decision, evaluate_gate

    project, state = load_project(context.project.root, context.project.settings), context.state
    version, as_of = context.turn.version, utc(context.turn.as_of)
    assert version is not None
    decision = earlier_decision(project, state, version, as_of) or evaluate_gate(
        project, state, version, as_of
    )
    return StepResult({"decision_id": decision.id}, message="; ".join(decision.reasons))


TRAIN = "train"
STEPS = (
    Step("data", "versioning data and building features", version_data),
    Step(TRAIN, "searching for a model", search_model),
    Step("register", "registering the candidate", register_version),
    Step("gate", "comparing with the champion", pass_gate),
    Step("promote", "deciding on the promotion", end_turn),
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
