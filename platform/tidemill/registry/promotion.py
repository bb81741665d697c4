"""Promote versions through the gate, and roll back to earlier champions."""

from datetime import UTC, datetime

from sqlalchemy import select

from tidemill.errors import DecisionOutdated, GateRefused, RegistryError
from tidemill.ids import new_id
from tidemill.project import Project
from tidemill.registry.approval_terms import bound_to, declared_rules
from tidemill.registry.cards.kept_fields import keep_at_promotion
from tidemill.registry.gates.gate_decisions import ask_gate, refuse_champion, tag_version
from tidemill.registry.history.alias_journal import finish_pending_moves, lock, move_alias, version_exists
from tidemill.registry.history.outside_moves import record_outside_move
from tidemill.registry.history.serving_history import decisions_for, previous_champion
from tidemill.registry.second_person import require_second_person
from tidemill.registry.versions.model_versions import CHAMPION, champion_version, get_version, list_versions
from tidemill.state import State
from tidemill.state.tables import GateDecision, Promotion

__all__ = ["check_decision", "earlier_decision", "evaluate_gate", "promote", "rollback"]


def evaluate_gate(
    project: Project, state: State, version: str, now: datetime, actor: str | None = None
) -> GateDecision:
    """Compare a version with the champion on the version's hold-out, decide, and record the decision.

    Args:
        project: its sections ``gate`` and ``gates`` say what a candidate must show.
        state: where the decision is recorded; the version's tag repeats it.
        version: number or alias of the candidate.
        now: event time of the decision.
        actor: who asked; None where a turn did, which has one.

    Raises:
        ModelNotFound: there is no such version.
        RegistryError: it is champion already, or the registry does not answer.
    """
    return ask_gate(project, state, version, _settled_champion(project, state), now, actor)


def earlier_decision(project: Project, state: State, version: str, at: datetime) -> GateDecision | None:
    """Return the gate's decision that was recorded for this version, the present champion and ``at``, if any.

    If a kill right after the recording left the version without its tag, the tag is added now.

    Raises:
        RegistryError: the registry does not answer.
    """
    wanted = _settled_champion(project, state), project.config.gate_mode, at
    for decision in reversed(decisions_for(state, project.model, version)):
        if (decision.champion, decision.mode, decision.decided_at) == wanted:
            tag_version(project, decision)
            return decision
    return None


def promote(
    project: Project,
    state: State,
    version: str,
    actor: str,
    reason: str,
    now: datetime,
    turn_id: str | None = None,
    decision: GateDecision | None = None,
    rollout_id: str | None = None,
) -> Promotion:
    """Make a version the champion, if the gate passes it.

    Args:
        project: whose model it is.
        state: where the promotion is recorded.
        version: number of the version.
        actor: who moves it.
        reason: why.
        now: event time.
        turn_id: the turn that promotes. A turn promotes once: when it asks again, it gets its first record.
        decision: the gate's, on this version and the present champion; default: the gate is asked now.
        rollout_id: the rollout that ends with it, whose beginning needed the approval that this would need.

    Raises:
        GateRefused: the gate refused the version, and is enforced.
        ApprovalNeeded: the project wants a second person's approval of what a person promotes.
        ModelNotFound: there is no such version.
        DecisionOutdated: the decision is about another pair of versions.
        RegistryError: the version is champion already, the turn's promotion was superseded, or the registry
            refused.
    """
    found = get_version(project, version)
    found.refuse_archived()
    version = found.version
    with lock(project, state) as held:
        finish_pending_moves(project, state)
        done = _promotion_of(project, state, turn_id)
        if done is not None:
            return done
        serving = champion_version(project)
        record_outside_move(project, state, serving)
        refuse_champion(project, version, serving)
        decision = decision or ask_gate(project, state, version, serving, now, actor)
        check_decision(project, decision, version, serving)
        if rollout_id is None:
            terms = {"champion": serving, **bound_to(found.digest, decision.numbers)}
            terms |= declared_rules(project.config.gates, project.config.gate)
            require_second_person(project, state, "promote", version, actor=actor, reason=reason, terms=terms)
        keep_at_promotion(project, version)
        move = _move(project, "promotion", serving, version, actor, reason, now)
        move.decision_id, move.turn_id = decision.id, turn_id
        return move_alias(project, state, move, held)


def rollback(
    project: Project, state: State, actor: str, reason: str, now: datetime, to: str | None = None
) -> Promotion:
    """Make an earlier champion the champion again, without asking the gate: it has served before.

    Args:
        project: whose model it is.
        state: the journal of champions; the rollback is recorded there.
        actor: who moves it.
        reason: why.
        now: event time.
        to: the version to go back to; default: the champion before this one.

    Raises:
        RegistryError: there is no earlier champion, it was deleted or archived, or ``to`` never served or
            serves now.
    """
    with lock(project, state) as held:
        finish_pending_moves(project, state)
        serving = champion_version(project)
        record_outside_move(project, state, serving)
        target = _target(project, _moves(state, project.model), serving, to)
        back = _move(project, "rollback", serving, target, actor, reason, now)
        return move_alias(project, state, back, held)


def _move(
    project: Project,
    kind: str,
    from_version: str | None,
    to_version: str,
    actor: str,
    reason: str,
    now: datetime,
) -> Promotion:
    """Return the record of a move of the alias ``champion`` that is about to be made."""
    return Promotion(
        id=new_id("move"),
        model=project.model,
        alias=CHAMPION,
        from_version=from_version,
        to_version=to_version,
        kind=kind,
        status="pending",
        actor=actor,
        reason=reason,
        at=now,
        requested_at=datetime.now(UTC),
    )


def _settled_champion(project: Project, state: State) -> str | None:
    """Finish the moves that a killed process left pending, then return the champion."""
    with lock(project, state):
        finish_pending_moves(project, state)
        return champion_version(project)


def _promotion_of(project: Project, state: State, turn_id: str | None) -> Promotion | None:
    """Return the promotion that a turn has made already.

    Raises:
        RegistryError: it was superseded, so the turn's version never became champion.
    """
    if turn_id is None:
        return None
    with state.transaction() as session:
        found = session.scalar(select(Promotion).where(Promotion.turn_id == turn_id))
    if found is None or found.status != "superseded":
        return found
    version = f"{found.model} {found.to_version}"
    if not version_exists(project, found.to_version):
        raise RegistryError(
            f"turn {turn_id} was to promote {version}, but that version was deleted from the registry",
            hint="the next turn trains a new one: `tidemill retrain`",
        )
    raise RegistryError(
        f"turn {turn_id} was to promote {version}, but another version became champion before it",
        hint=f"`tidemill promote {version}` compares it with the present champion",
    )


def check_decision(project: Project, decision: GateDecision, version: str, serving: str | None) -> None:
    """Check that the gate let a version pass that is to replace the one that serves.

    Raises:
        DecisionOutdated: the decision is about another pair of versions.
        GateRefused: it says no, and is enforced.
    """
    if (decision.model, decision.candidate, decision.champion) != (project.model, version, serving):
        raise DecisionOutdated(
            f"the gate's decision {decision.id} compares {decision.model} {decision.candidate} with "
            f"{decision.champion or 'no champion'}, but version {version} is to replace "
            f"{serving or 'no champion'}",
            hint="the champion has changed meanwhile: ask the gate again",
        )
    if decision.mode == "enforce" and not decision.passed:
        raise GateRefused(
            f"the gate refused {project.model} {version}: {decision.reasons[0]}",
            hint=f"`tidemill models show {project.model} {version}` has all reasons; "
            "gate and gates in params.yaml say what a candidate must show",
        )


def _moves(state: State, model: str) -> list[tuple[str, str]]:
    """Return kind and new champion of each move that was made, in order."""
    with state.transaction() as session:
        done = select(Promotion).where(Promotion.model == model, Promotion.status == "done")
        found = session.scalars(done.order_by(Promotion.requested_at, Promotion.id))
        return [(move.kind, move.to_version) for move in found]


def _target(project: Project, moves: list[tuple[str, str]], serving: str | None, to: str | None) -> str:
    """Return the version that a rollback goes to."""
    served = list(dict.fromkeys(version for _, version in moves))
    if to is not None and to == serving:
        raise RegistryError(
            f"{project.model} {to} is the champion already: there is nothing to roll back",
            hint=f"`tidemill models history {project.model}` shows which versions served",
        )
    if to is not None and to not in served:
        raise RegistryError(
            f"{project.model} {to} has never been champion; those that were: {', '.join(served) or 'none'}",
            hint=f"`tidemill promote {project.model} {to}` lets the gate decide on it",
        )
    target = to or previous_champion(moves, serving)
    if to is None and serving is None and target is not None and not version_exists(project, target):
        target = previous_champion(moves, target)  # the champion itself was deleted, and its alias with it
    if target is None:
        raise RegistryError(
            f"{project.model} has no earlier champion to go back to"
            + (f": version {serving} is the first" if serving else _none_left(moves)),
            hint=f"`tidemill models history {project.model}` shows who served"
            if list_versions(project)
            else "no version is left at all: `tidemill run --promote` trains one",
        )
    if not version_exists(project, target):
        left = [one for one in served if one not in (target, serving) and version_exists(project, one)]
        raise RegistryError(
            f"{project.model} {target} was champion, but it was deleted from the registry: "
            "nothing can go back to it",
            hint=f"`tidemill rollback {project.model} --to {left[-1]}` goes back to an earlier one"
            if left
            else _without_earlier(project),
        )
    get_version(project, target).refuse_archived()
    return target


def _without_earlier(project: Project) -> str:
    """Return what to do when no version that served is left."""
    if not list_versions(project):
        return "no version is left at all: `tidemill run --promote` trains one"
    return (
        f"no other version that served is left: `tidemill models list {project.model}` shows those that can "
        "be promoted"
    )


def _none_left(moves: list[tuple[str, str]]) -> str:
    return f": version {moves[-1][1]}, the last, was deleted" if moves else ": it never had one"
