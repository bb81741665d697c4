"""Runs a check that is a function of the project."""

import json
from dataclasses import replace

import numpy as np

from tidemill.project.gate_checks import FunctionCheck
from tidemill.registry.gates.judged_rows import GateFinding, Judged

__all__ = ["check_function"]


def check_function(check: FunctionCheck, judged: Judged) -> GateFinding:
    """Return what the project's function finds; what it raises is a reason to refuse.

    Raises:
        DataError: the hold-out could not be scored.
        ConfigError: there is no such function.
    """
    function, rows = judged.project.load(check.function), judged.scored()
    try:
        found = function(rows)
    except Exception as error:  # noqa: BLE001 — the project's own code can raise anything
        return GateFinding(False, f"{check.function} failed: {type(error).__name__}: {error}")
    if not isinstance(found, GateFinding):
        return GateFinding(
            False, f"{check.function} returned {type(found).__name__}: it must return a tidemill.GateFinding"
        )
    if not isinstance(found.passed, bool | np.bool_) or not isinstance(found.said, str):
        return GateFinding(
            False,
            f"{check.function} returned {found.passed!r} and {found.said!r}: `passed` must be true or false, "
            "and `said` a sentence",
        )
    try:
        json.dumps(dict(found.numbers), allow_nan=False)
    except (TypeError, ValueError) as error:
        return GateFinding(False, f"{check.function} returned numbers that are no JSON values: {error}")
    return replace(found, passed=bool(found.passed))  # comparisons of NumPy give its own kind of truth value
