"""Runs the checks under ``gates`` in ``params.yaml``, and makes one verdict of theirs and of ``gate``'s."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from tidemill.errors import TidemillError
from tidemill.project.declared_gates import strictest
from tidemill.project.gate_checks import GateCheck, GateMode
from tidemill.registry.gates.checks.artefact_limits import check_latency, check_size
from tidemill.registry.gates.checks.calibration_limit import check_calibration
from tidemill.registry.gates.checks.decided_worth import check_kpi
from tidemill.registry.gates.checks.filled_card import check_card
from tidemill.registry.gates.checks.group_gaps import check_groups
from tidemill.registry.gates.checks.leak_suspicion import check_leakage
from tidemill.registry.gates.checks.metric_limits import check_metric
from tidemill.registry.gates.checks.own_check import check_function
from tidemill.registry.gates.checks.passed_stage import check_stage
from tidemill.registry.gates.checks.robust_answers import check_robustness
from tidemill.registry.gates.checks.sent_features import check_signature
from tidemill.registry.gates.checks.slice_losses import check_slices
from tidemill.registry.gates.checks.training_age import check_data_age
from tidemill.registry.gates.gate_rules import Verdict
from tidemill.registry.gates.judged_rows import GateFinding, Judged

__all__ = ["GateOutcome", "combined", "run_gates"]

_CHECKS: Final[dict[str, Callable[[Any, Judged], GateFinding]]] = {
    "metric": check_metric,
    "groups": check_groups,
    "slices": check_slices,
    "calibration": check_calibration,
    "latency": check_latency,
    "size": check_size,
    "signature": check_signature,
    "robustness": check_robustness,
    "leakage": check_leakage,
    "data_age": check_data_age,
    "card": check_card,
    "kpi": check_kpi,
    "stage": check_stage,
    "function": check_function,
}


@dataclass(frozen=True)
class GateOutcome:
    """What became of one gate."""

    check: str
    name: str
    mode: GateMode
    passed: bool
    said: str
    numbers: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    """It took this long to measure."""


def run_gates(gates: Sequence[GateCheck], judged: Judged) -> tuple[GateOutcome, ...]:
    """Run the checks that are not off; one that cannot be measured has not passed."""
    return tuple(_run(one, judged) for one in gates if one.mode != "off")


def _run(check: GateCheck, judged: Judged) -> GateOutcome:
    start = time.perf_counter()
    try:
        found = _CHECKS[check.check](check, judged)
    except TidemillError as error:
        found = GateFinding(False, f"{error}{f' ({error.hint})' if error.hint else ''}")
    seconds = round(time.perf_counter() - start, 3)
    numbers = dict(found.numbers)
    return GateOutcome(check.check, check.title, check.mode, found.passed, found.said, numbers, seconds)


def combined(mode: GateMode, verdict: Verdict, outcomes: Sequence[GateOutcome]) -> Verdict:
    """Return one verdict of the section ``gate`` and of the listed gates.

    It is that of all gates of the strictest mode together. What a gate in a dry run would have refused is
    said after the reasons that decide.

    Args:
        mode: of the section ``gate``.
        verdict: of the section ``gate``.
        outcomes: of the listed gates.

    >>> age = GateOutcome("data_age", "data_age", "dry_run", False, "its data ends 9.0 days ago")
    >>> found = combined("enforce", Verdict(True, ("roc_auc 0.7 of version 2",)), [age])
    >>> found.passed, found.reasons[1]
    (True, 'dry run, would refuse: data_age: its data ends 9.0 days ago')
    >>> combined("off", Verdict(True, ()), [age]).passed
    False
    """
    if not outcomes:
        return verdict
    of_all = strictest((mode, *(one.mode for one in outcomes)))
    decisive = [one for one in outcomes if one.mode == of_all]
    said = {
        passed: [f"{one.name}: {one.said}" for one in decisive if one.passed is passed]
        for passed in (False, True)
    }
    tried = [one for one in outcomes if one.mode != of_all]
    notes = [f"dry run, would {'pass' if one.passed else 'refuse'}: {one.name}: {one.said}" for one in tried]
    passed = all(one.passed for one in decisive)
    first: tuple[str, ...] = ()
    if mode == of_all:
        passed, first = passed and verdict.passed, verdict.reasons
    elif mode == "dry_run":
        would = "pass" if verdict.passed else "refuse"
        notes = [f"dry run, would {would}: {reason}" for reason in verdict.reasons[:1]] + notes
    its_own = list(first) if verdict.passed else []
    against = [] if verdict.passed else list(first)
    reasons = (*against, *said[False], *its_own, *said[True], *notes)
    main = asdict(GateOutcome("gate", "gate", mode, verdict.passed, "".join(verdict.reasons[:1])))
    listed = [asdict(one) for one in outcomes]
    return Verdict(passed, reasons, {**verdict.numbers, "gates": [main, *listed]})
