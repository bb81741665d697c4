"""Checks how far the candidate's probabilities are from frequencies."""

import numpy as np
import numpy.typing as npt

from tidemill.project.gate_checks import CalibrationCheck
from tidemill.registry.gates.judged_rows import GateFinding, Judged
from tidemill.tasks.calibration_error import calibration_error
from tidemill.tasks.task import Answers

__all__ = ["check_calibration"]


def check_calibration(check: CalibrationCheck, judged: Judged) -> GateFinding:
    """Return whether the expected calibration error is small enough, and not far above the champion's.

    Raises:
        DataError: the hold-out could not be scored.
    """
    rows = judged.scored()
    mine, theirs = _error(rows.truth, rows.answers), None
    if rows.champion_answers is not None:
        theirs = _error(rows.truth, rows.champion_answers)
    passed = np.isfinite(mine)
    said = [f"probabilities are off by {mine:.4f} on average"]
    if check.max_error is not None:
        passed = passed and mine <= check.max_error
        said.append(f"at most {check.max_error:g} is allowed")
    if check.max_rise is not None and theirs is not None:
        passed = passed and mine - theirs <= check.max_rise
        said.append(f"the champion's by {theirs:.4f}, {check.max_rise:g} more is allowed")
    numbers = {"candidate": mine, "champion": theirs}
    return GateFinding(bool(passed), ", ".join(said), {"error": numbers, "rows": len(rows.truth)})


def _error(truth: npt.NDArray[np.float64], answers: Answers) -> float:
    if answers.ndim == 1:
        return calibration_error(answers, np.asarray(truth, dtype=np.float64))
    return max(
        calibration_error(answers[:, n], (truth == n).astype(np.float64)) for n in range(answers.shape[1])
    )
