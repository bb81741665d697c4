"""Put versions into the stages before production through their gates, and take them back.

A stage is an alias in the registry. The version that has it is judged by the stage's own gates, beside the
champion: what serves, and who answers callers, does not change.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tidemill.errors import ApprovalNeeded, DecisionOutdated, GateRefused, RegistryError, UsageError
from tidemill.ids import new_id
from tidemill.project import Project
from tidemill.project.declared_gates import StageConfig
from tidemill.registry.approval_terms import bound_to, declared_rules
from tidemill.registry.gates.champion_comparison import compare
from tidemill.registry.history.alias_journal import finish_pending_moves, lock, version_exists
from tidemill.registry.history.outside_moves import OUTSIDE
from tidemill.registry.history.reconciliation import reconcile_deployments
from tidemill.registry.history.stage_history import (
    done_moves,
    earlier_versions,
    has_passed,
    passed_stages,
)
from tidemill.registry.history.stage_journal import move_stage
from tidemill.registry.second_person import require_second_person
from tidemill.registry.versions.alias_names import ARCHIVED
from tidemill.registry.versions.aliases import read_aliases
from tidemill.registry.versions.model_versions import CHAMPION, get_version
from tidemill.registry.versions.version_record import ModelVersion
from tidemill.state import State
from tidemill.state.tables import StageMove

__all__ = ["StageRequest", "put_into_stage", "stage_of", "take_back"]


@dataclass(frozen=True)
class StageRequest:
    """Which stage is meant, who asks, and why."""

    stage: str
    actor: str
    reason: str
    now: datetime
    """Event time."""


def stage_of(project: Project, name: str) -> StageConfig:
    """Return a declared stage.

    Raises:
        UsageError: there is none of that name.
    """
    stages = {one.name: one for one in project.config.stages}
    if name not in stages:
        declared = f"it declares {', '.join(stages)}" if stages else "it declares none"
        raise UsageError(
            f"{project.root / 'params.yaml'} has no stage {name!r}: {declared}",
            hint="docs/gates.md says how stages are declared; without --stage it is about the champion",
        )
    return stages[name]


def put_into_stage(project: Project, state: State, version: str, asked: StageRequest) -> StageMove:
    """Give a version the alias of a stage, if the stage's gates pass it; what they say is on record.

    Args:
        project: whose model it is.
        state: where the move is recorded.
        version: number or alias of the version.
        asked: the stage, who asks, and why.

    Raises:
        UsageError: there is no such stage.
        GateRefused: a gate refused the version, and is enforced.
        ApprovalNeeded: the stage wants a second person's approval of what a person puts there.
        ModelNotFound: there is no such version.
        RegistryError: it is archived, the champion, or there already; or the registry refused.
    """
    stage, found = stage_of(project, asked.stage), get_version(project, version)
    found.refuse_archived()
    with lock(project, state) as held:
        finish_pending_moves(project, state)
        reconcile_deployments(project, state)
        aliases = read_aliases(project)
        there, serving = aliases.get(stage.name), aliases.get(CHAMPION)
        if found.version == serving:
            raise _needless(found, f"is the champion: it is past {stage.name}")
        if there == found.version and _was_put(state, found, stage.name):
            raise _needless(found, f"is in {stage.name} already")
        move = _judged(project, state, found, stage, serving, _move(project, asked, there, found.version))
        if (move.mode, move.passed) == ("enforce", False):
            raise _refused(state, move)
        _ask_second_person(project, state, found, stage, move)
        return move_stage(project, state, move, held)


def _needless(found: ModelVersion, why: str) -> RegistryError:
    hint = f"`tidemill models list {found.model}` shows the other versions"
    return RegistryError(f"{found.model} {found.version} {why}", hint=hint)


def _was_put(state: State, there: ModelVersion, stage: str) -> bool:
    """Return whether the version in a stage got there by its gates, and not past Tidemill."""
    moves = done_moves(state, there.model, stage)
    return has_passed(state, there, stage) and moves[-1].kind != OUTSIDE


def take_back(project: Project, state: State, asked: StageRequest, version: str | None = None) -> StageMove:
    """Give the alias of a stage back to the version that had it before; take it away if there is none.

    The version that had it has not passed the stage any more.

    Args:
        project: whose model it is.
        state: where the move is recorded.
        asked: the stage, who asks, and why.
        version: the one that is to be taken back; default: whichever is there.

    Raises:
        UsageError: there is no such stage.
        RegistryError: no version is there, or the registry refused.
        DecisionOutdated: another version is there than the one that is to be taken back.
    """
    stage = stage_of(project, asked.stage).name
    with lock(project, state) as held:
        finish_pending_moves(project, state)
        reconcile_deployments(project, state)
        there = read_aliases(project).get(stage)
        if there is None:
            raise RegistryError(
                f"no version of {project.model} is in {stage}",
                hint=f"`tidemill promote {project.model} VERSION --stage {stage}` puts one there",
            )
        if version not in (None, there):
            raise DecisionOutdated(
                f"version {there} of {project.model} is in {stage} by now, not version {version}",
                hint=f"`tidemill models list {project.model}` shows which version is where; decide again",
            )
        earlier = earlier_versions(done_moves(state, project.model, stage), there)
        to, said = _back_to(project, earlier)
        move = _move(project, asked, there, to)
        move.kind, move.reasons = "rollback", said
        return move_stage(project, state, move, held)


def _back_to(project: Project, earlier: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the first version that a stage can go back to, and why not to those before, in sentences."""
    said = []
    for version in earlier:
        if not version_exists(project, version):
            said.append(f"version {version}, which was there before, was deleted")
        elif ARCHIVED in get_version(project, version).tags:
            back = f"`tidemill models unarchive {version}` brings it back"
            said.append(f"version {version}, which was there before, is archived: {back}")
        else:
            return version, said
    return None, [*said, "there is no earlier version to go back to: the stage is empty now"]


def _judged(
    project: Project,
    state: State,
    found: ModelVersion,
    stage: StageConfig,
    serving: str | None,
    move: StageMove,
) -> StageMove:
    """Let the gates of a stage decide, and write what they say into the record of the move."""
    champion = get_version(project, serving) if serving else None
    verdict = compare(project, found, champion, move.at, passed_stages(project, state, found), stage)
    move.champion, move.mode, move.passed = serving, stage.mode, verdict.passed
    move.reasons, move.numbers = list(verdict.reasons), dict(verdict.numbers)
    move.digest = found.digest
    return move


def _refused(state: State, move: StageMove) -> GateRefused:
    """Put a refusal on record, and return the error that says so."""
    _keep(state, move, "refused")
    return GateRefused(
        f"the gates of {move.stage} refused {move.model} {move.to_version}: {move.reasons[0]}",
        hint=f"`tidemill models show {move.model} {move.to_version}` has all reasons; stages in params.yaml "
        "says what a version must show",
    )


def _ask_second_person(
    project: Project, state: State, found: ModelVersion, stage: StageConfig, move: StageMove
) -> None:
    """Take the approval that a stage wants.

    Raises:
        ApprovalNeeded: nobody else has approved it yet; the request is on record, and what the gates said.
    """
    terms: dict[str, Any] = {"stage": stage.name, "champion": move.champion, "from": move.from_version}
    terms |= bound_to(found.digest, move.numbers) | declared_rules(stage.gates)
    try:
        require_second_person(
            project,
            state,
            "stage",
            found.version,
            actor=move.actor,
            reason=move.reason,
            terms=terms,
            four_eyes=stage.four_eyes,
        )
    except ApprovalNeeded:
        _keep(state, move, "asked")
        raise


def _keep(state: State, move: StageMove, status: str) -> None:
    """Write a move that is not made, for what the gates said."""
    move.status = status
    with state.transaction() as session:
        session.add(move)


def _move(project: Project, asked: StageRequest, before: str | None, to: str | None) -> StageMove:
    """Return the record of a move of a stage's alias that may be made."""
    return StageMove(
        id=new_id("stage"),
        model=project.model,
        stage=asked.stage,
        from_version=before,
        to_version=to,
        kind="promotion",
        status="pending",
        champion=None,
        mode=None,
        passed=None,
        reasons=[],
        numbers={},
        digest=None,
        actor=asked.actor,
        reason=asked.reason,
        at=asked.now,
        requested_at=datetime.now(UTC),
    )
