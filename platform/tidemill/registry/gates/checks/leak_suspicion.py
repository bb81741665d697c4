"""Checks that no feature tells the label almost alone."""

from typing import cast

from tidemill.data.profiling.leakage import Kind, find_leaks
from tidemill.project.gate_checks import LeakageCheck
from tidemill.registry.gates.judged_rows import GateFinding, Judged

__all__ = ["check_leakage"]


def check_leakage(check: LeakageCheck, judged: Judged) -> GateFinding:
    """Return whether all features of the candidate are beyond suspicion, on the hold-out.

    Raises:
        DataError: the hold-out could not be scored.
    """
    rows, label = judged.scored(), judged.project.config.dataset.label
    trained = judged.candidate.trained
    features = [name for name in (trained.features if trained else ()) if name in rows.rows.columns]
    kind = cast("Kind", rows.task.kind)  # gates for other tasks are refused with params.yaml
    found = find_leaks(rows.rows, label, kind, [name for name in features if name not in check.allowed])
    numbers = {"features": len(features), "suspicious": [leak._asdict() for leak in found]}
    said = "; ".join(f"{leak.column} {leak.reason}" for leak in found)
    return GateFinding(not found, said or f"none of {len(features)} features tells the label alone", numbers)
