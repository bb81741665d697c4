"""Evaluate the gate for a version, and store its decision in the records and on the version itself."""

import json
from datetime import datetime

from mlflow import MlflowException

from tidemill.errors import RegistryError
from tidemill.ids import new_id
from tidemill.project import Project
from tidemill.registry.gates.champion_comparison import compare
from tidemill.registry.history.stage_history import passed_stages
from tidemill.registry.versions.model_versions import get_version
from tidemill.registry.versions.version_record import DECISION
from tidemill.state import State
from tidemill.state.tables import GateDecision
from tidemill.training.tracking.mlflow_tracking import connect, shortened

__all__ = ["ask_gate", "refuse_champion", "tag_version"]

_REASONS, _LONGEST = 8, 500  # in a tag, which MLflow cuts at 8,000 characters


def ask_gate(
    project: Project,
    state: State,
    version: str,
    champion: str | None,
    now: datetime,
    actor: str | None = None,
) -> GateDecision:
    """Compare a version with the champion on the version's hold-out, decide, and record the decision.

    Args:
        project: its sections ``gate`` and ``gates`` say what a candidate must show.
        state: where the decision is recorded; the version's tag repeats it.
        version: number or alias of the candidate.
        champion: number of the champion; None if there is none yet.
        now: event time of the decision.
        actor: who asked; None where a turn did, which has one.

    Raises:
        ModelNotFound: there is no such version.
        RegistryError: it is champion already, or archived.
    """
    candidate = get_version(project, version)
    candidate.refuse_archived()
    refuse_champion(project, candidate.version, champion)
    serving = get_version(project, champion) if champion else None
    verdict = compare(project, candidate, serving, now, passed_stages(project, state, candidate))
    decision = GateDecision(
        id=new_id("gate"),
        model=project.model,
        candidate=candidate.version,
        champion=champion,
        mode=project.config.gate_mode,
        passed=verdict.passed,
        reasons=list(verdict.reasons),
        numbers=dict(verdict.numbers),
        decided_at=now,
        actor=actor,
    )
    with state.transaction() as session:
        session.add(decision)
    tag_version(project, decision)
    return decision


def refuse_champion(project: Project, version: str, champion: str | None) -> None:
    """Raise `RegistryError` if a version that is to be promoted is the champion already."""
    if version == champion:
        raise RegistryError(
            f"{project.model} {version} is the champion already: there is nothing to promote",
            hint=f"`tidemill models list {project.model}` shows the other versions",
        )


def tag_version(project: Project, decision: GateDecision) -> None:
    """Sum a decision up in a tag of its version, so that MLflow shows it.

    The whole of it is in our records, as MLflow cuts tags.

    Raises:
        RegistryError: MLflow refused; the decision stays on record.
    """
    facts = {
        "decision": decision.id,
        "champion": decision.champion,
        "mode": decision.mode,
        "passed": decision.passed,
        "reasons": [shortened(reason, _LONGEST) for reason in decision.reasons[:_REASONS]],
        "at": decision.decided_at.isoformat(),
    }
    try:
        connect(project).set_model_version_tag(project.model, decision.candidate, DECISION, json.dumps(facts))
    except MlflowException as error:
        raise RegistryError(
            f"the gate's decision on {project.model} {decision.candidate} is recorded, but MLflow does not "
            f"take it as a tag of the version: {error}",
            hint="check the registry's database; asking the gate again sets the tag",
        ) from error
