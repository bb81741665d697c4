"""Checks that a version has passed a stage before."""

from tidemill.project.gate_checks import StageCheck
from tidemill.registry.gates.judged_rows import GateFinding, Judged

__all__ = ["check_stage"]


def check_stage(check: StageCheck, judged: Judged) -> GateFinding:
    """Return whether the candidate's file has passed the stage's gates, and was not taken back since."""
    at, version = judged.stages.get(check.stage), judged.candidate.version
    numbers = {"stage": check.stage, "passed_at": None if at is None else at.isoformat()}
    if at is None:
        said = f"version {version} has not passed {check.stage}: `tidemill promote {version} --stage "
        return GateFinding(False, f"{said}{check.stage}` asks for it", numbers)
    return GateFinding(True, f"version {version} passed {check.stage} on {at:%Y-%m-%d %H:%M} UTC", numbers)
