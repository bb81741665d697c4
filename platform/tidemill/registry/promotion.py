"""Who may become champion: through the gate, or back to one who was."""

import json
from datetime import UTC, datetime

from mlflow.exceptions import MlflowException
from sqlalchemy import select

from tidemill.errors import GateRefused, RegistryError
from tidemill.ids import new_id
from tidemill.project import Project
from tidemill.registry.gates.champion_comparison import compare
from tidemill.registry.history.alias_journal import lock, move, recover, settle
from tidemill.registry.history.serving_history import previous_champion
from tidemill.registry.versions.model_versions import CHAMPION, champion_version, get_version
from tidemill.registry.versions.version_record import DECISION
from tidemill.state import State
from tidemill.state.tables import GateDecision, Promotion
from tidemill.training.tracking.mlflow_tracking import connect

__all__ = ["evaluate_gate", "promote", "recover", "rollback"]


def evaluate_gate(project: Project, state: State, version: str, now: datetime) -> GateDecision:
    """Compare a version with the champion on the version's hold-out, decide, and put that on record.

    Args:
        project: its ``gate`` section says what is asked for.
        state: where the decision goes; it goes on the version, too.
        version: number of the candidate.
        now: event time of the decision.

    Raises:
        ModelNotFound: there is no such version.
        RegistryError: it is champion already.
    """
    candidate, serving = get_version(project, version), champion_version(project)
    _refuse_champion(project, candidate.version, serving)
    verdict = compare(project, candidate, get_version(project, serving) if serving else None)
    decision = GateDecision(
        id=new_id("gate"),
        model=project.model,
        candidate=candidate.version,
        champion=serving,
        mode=project.config.gate.mode,
        passed=verdict.passed,
        reasons=list(verdict.reasons),
        numbers=dict(verdict.numbers),
        decided_at=now,
    )
    with state.transaction() as session:
        session.add(decision)
    said = {
        "decision": decision.id,
        "champion": serving,
        "mode": decision.mode,
        "passed": decision.passed,
        "reasons": decision.reasons,
        "numbers": decision.numbers,
        "at": now.isoformat(),
    }
    try:
        connect(project).set_model_version_tag(project.model, candidate.version, DECISION, json.dumps(said))
    except MlflowException as error:
        raise RegistryError(f"the decision on {project.model} {version} cannot be noted: {error}") from error
    return decision


def promote(
    project: Project,
    state: State,
    version: str,
    actor: str,
    reason: str,
    now: datetime,
    turn_id: str | None = None,
    decision: GateDecision | None = None,
) -> Promotion:
    """Make a version the champion, if the gate lets it.

    Args:
        project: whose model it is.
        state: where the promotion goes on record.
        version: number of the version.
        actor: who moves it.
        reason: why.
        now: event time.
        turn_id: the turn that promotes: it does so at most once, asked again it gets the same record.
        decision: what the gate said of this version and the present champion; default: it is asked now.

    Raises:
        GateRefused: the gate said no, and is enforced.
        ModelNotFound: there is no such version.
        RegistryError: the version is champion already, the decision is about another pair of versions, or
            the registry refused.
    """
    version = get_version(project, version).version
    with lock(project):
        settle(project, state)
        done = _of_turn(state, turn_id)
        if done is not None:
            return done
        serving = champion_version(project)
        _refuse_champion(project, version, serving)
        decision = decision or evaluate_gate(project, state, version, now)
        _check(project, decision, version, serving)
        return move(
            project,
            state,
            Promotion(
                id=new_id("move"),
                model=project.model,
                alias=CHAMPION,
                from_version=serving,
                to_version=version,
                kind="promotion",
                status="pending",
                actor=actor,
                reason=reason,
                decision_id=decision.id,
                turn_id=turn_id,
                at=now,
                requested_at=datetime.now(UTC),
            ),
        )


def rollback(
    project: Project, state: State, actor: str, reason: str, now: datetime, to: str | None = None
) -> Promotion:
    """Make an earlier champion the champion again. No gate is asked: it has served before.

    Args:
        project: whose model it is.
        state: knows who served, and where this goes on record.
        actor: who moves it.
        reason: why.
        now: event time.
        to: the version to go back to; default: the champion before this one.

    Raises:
        RegistryError: there is none to go back to, or ``to`` never served or serves now.
    """
    with lock(project):
        settle(project, state)
        serving = champion_version(project)
        with state.transaction() as session:
            moves = [
                (move.kind, move.to_version)
                for move in session.scalars(
                    select(Promotion)
                    .where(Promotion.model == project.model, Promotion.status == "done")
                    .order_by(Promotion.requested_at, Promotion.id)
                )
            ]
        target = get_version(project, _target(project, moves, serving, to)).version
        return move(
            project,
            state,
            Promotion(
                id=new_id("move"),
                model=project.model,
                alias=CHAMPION,
                from_version=serving,
                to_version=target,
                kind="rollback",
                status="pending",
                actor=actor,
                reason=reason,
                at=now,
                requested_at=datetime.now(UTC),
            ),
        )


def _of_turn(state: State, turn_id: str | None) -> Promotion | None:
    if turn_id is None:
        return None
    with state.transaction() as session:
        found = session.scalar(select(Promotion).where(Promotion.turn_id == turn_id))
    if found is not None and found.status == "superseded":
        raise RegistryError(
            f"turn {turn_id} was to promote version {found.to_version}, but somebody else was faster",
            hint=f"`tidemill promote {found.model} {found.to_version}` does it by hand",
        )
    return found


def _refuse_champion(project: Project, version: str, serving: str | None) -> None:
    if version == serving:
        raise RegistryError(f"{project.model} {version} is the champion already: there is nothing to promote")


def _check(project: Project, decision: GateDecision, version: str, serving: str | None) -> None:
    if (decision.model, decision.candidate, decision.champion) != (project.model, version, serving):
        raise RegistryError(
            f"the gate's decision {decision.id} is about {decision.model} {decision.candidate} against "
            f"{decision.champion or 'no champion'}, but version {version} is to follow {serving or 'nobody'}",
            hint="the champion has changed meanwhile: ask the gate again",
        )
    if decision.mode == "enforce" and not decision.passed:
        raise GateRefused(
            f"the gate refused {project.model} {version}: {decision.reasons[0]}",
            hint=f"`tidemill models show {project.model} {version}` has all reasons; "
            "the gate section of params.yaml says what is asked for",
        )


def _target(project: Project, moves: list[tuple[str, str]], serving: str | None, to: str | None) -> str:
    served = list(dict.fromkeys(version for _, version in moves))
    if to is None:
        previous = previous_champion(moves, serving)
        if previous is None:
            raise RegistryError(
                f"{project.model} has no earlier champion to go back to"
                + (f": version {serving} is the first" if serving else ": it never had one"),
                hint=f"`tidemill models history {project.model}` shows who served",
            )
        return previous
    if to == serving:
        raise RegistryError(f"{project.model} {to} is the champion already: there is nothing to roll back")
    if to not in served:
        raise RegistryError(
            f"{project.model} {to} has never been champion; those that were: {', '.join(served) or 'none'}",
            hint=f"`tidemill promote {project.model} {to}` lets the gate decide on it",
        )
    return to
