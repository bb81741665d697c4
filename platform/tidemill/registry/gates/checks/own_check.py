"""Runs a check that is a function of the project."""

import json
from dataclasses import replace
from typing import Any

import numpy as np

from tidemill.project.gate_checks import FunctionCheck
from tidemill.project.own_code import exits_as_errors
from tidemill.registry.gates.judged_rows import GateFinding, GateRows, Judged

__all__ = ["check_function"]


def check_function(check: FunctionCheck, judged: Judged) -> GateFinding:
    """Return what the project's function finds; what it raises is a reason to refuse.

    Raises:
        DataError: the hold-out could not be scored.
        ConfigError: there is no such function.
    """
    function, rows = judged.project.load(check.function), judged.scored()
    try:
        with exits_as_errors():
            found = function(_copied(rows))
    except Exception as error:  # noqa: BLE001 — the project's own code can raise anything
        return GateFinding(False, f"{check.function} failed: {type(error).__name__}: {error}")
    if not isinstance(found, GateFinding):
        return GateFinding(
            False, f"{check.function} returned {type(found).__name__}: it must return a tidemill.GateFinding"
        )
    passed: Any = found.passed
    said: Any = found.said
    if not isinstance(passed, bool | np.bool_) or not isinstance(said, str):
        return GateFinding(
            False,
            f"{check.function} returned {passed!r} and {said!r}: `passed` must be true or false, and "
            "`said` a sentence",
        )
    try:
        json.dumps(dict(found.numbers), allow_nan=False)
    except (TypeError, ValueError) as error:
        return GateFinding(False, f"{check.function} returned numbers that are no JSON values: {error}")
    return replace(found, passed=bool(passed))  # comparisons of NumPy give its own kind of truth value


def _copied(rows: GateRows) -> GateRows:
    """Return rows that a function may change: other checks look at the same answers."""
    theirs = None if rows.champion_answers is None else rows.champion_answers.copy()
    return replace(
        rows,
        rows=rows.rows.clone(),
        truth=rows.truth.copy(),
        answers=rows.answers.copy(),
        champion_answers=theirs,
    )
