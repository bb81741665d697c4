"""Compare a compiled model's answers with the original's, on real rows and on edge cases."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tidemill.tasks.binary import Binary
from tidemill.tasks.task import Task

__all__ = ["Parity", "compare_answers", "probe_rows", "worst_difference"]

Scores = npt.NDArray[np.float64]

_PROBES = 40
_ROUNDING = 1e-6
"""Sums in 32 bits change the seventh digit: of answers far from the others that is more than their spread."""
_BINARY = Binary("")


@dataclass(frozen=True)
class Parity:
    """The result of comparing a compiled model with its original."""

    rows: int
    """Real rows that both answered."""
    probes: int
    """Edge cases made of real rows: with missing values, or with zeros."""
    max_difference: float
    """Of the two answers to the row where they are furthest apart for what is allowed there; infinite if only
    one of the two gives an answer to some row."""
    threshold: float
    """The largest difference that counts as none, for that row."""
    unknown: str
    """How rows with a missing value are treated: ``answered``, or ``refused`` as by the original."""

    @property
    def passed(self) -> bool:
        """Whether the compiled model may answer in place of the original."""
        return self.max_difference <= self.threshold

    def __str__(self) -> str:
        return (
            f"the largest difference on {self.rows:,} rows and {self.probes} awkward ones is "
            f"{self.max_difference:.2g} ({'within' if self.passed else 'more than'} {self.threshold:g})"
        )


def compare_answers(
    original: Callable[[pd.DataFrame], Scores],
    compiled: Callable[[pd.DataFrame], Scores],
    rows: pd.DataFrame,
    task: Task = _BINARY,
) -> Parity:
    """Compare the answers of both on the same rows.

    Args:
        original: gives the task's answers; may raise an error for a row that it does not take.
        compiled: gives the task's answers, NaN where the original would raise an error.
        rows: real rows, at least one.
        task: what is predicted; it says which difference counts as none.

    >>> rows = pd.DataFrame({"wind": [1.0, 2.0]})
    >>> half = lambda frame: frame["wind"].to_numpy() / 4
    >>> compare_answers(half, lambda frame: half(frame) + 1e-7, rows).passed
    True
    >>> str(compare_answers(half, lambda frame: half(frame) + 0.1, rows))
    'the largest difference on 2 rows and 4 awkward ones is 0.1 (more than 1e-05)'
    """
    probes = probe_rows(rows)
    refused = 0
    answers = original(rows)
    least, middle = task.tolerance(answers), _middle(answers)
    found = [worst_difference(answers, compiled(rows), least, middle)]
    for number in range(len(probes)):
        row = probes.iloc[[number]]
        mine = compiled(row)
        try:
            theirs: Any = original(row)
        except Exception:  # noqa: BLE001 — it does not take such a row, whatever it says
            theirs = np.full(mine.shape, np.nan)
        refused += int(np.isnan(theirs).any())
        found.append(worst_difference(theirs, mine, least, middle))
    treated = "refused" if refused else "answered"
    worst, allowed = max(found, key=lambda one: one[0] / one[1])
    return Parity(len(rows), len(probes), worst, allowed, treated)


def worst_difference(
    one: Scores, other: Scores, least: float, middle: float | None = None
) -> tuple[float, float]:
    """Return the difference that is largest for what is allowed there, and what is allowed.

    Args:
        one: answers.
        other: answers to the same rows.
        least: the difference that is allowed for any answer; answers far from the others are allowed more.
        middle: what they are far from; default: the median of ``one``.

    >>> worst_difference(np.array([1.0, 2.0, 1e9]), np.array([1.0, 2.5, 1e9 + 9]), 1e-4)
    (0.5, 0.0001)
    >>> worst_difference(np.array([1.0]), np.array([np.nan]), 1e-4)
    (inf, 0.0001)
    """
    known = np.isfinite(one)
    if one.shape != other.shape or (known != np.isfinite(other)).any():
        return float("inf"), least
    if not known.any():
        return 0.0, least
    gaps = np.abs(one[known] - other[known])
    middle = _middle(one) if middle is None else middle
    allowed = np.maximum(least, _ROUNDING * np.abs(one[known] - middle))
    worst = int((gaps / allowed).argmax())
    return float(gaps[worst]), float(allowed[worst])


def _middle(answers: Scores) -> float:
    known = answers[np.isfinite(answers)]
    return float(np.median(known)) if len(known) else 0.0


def probe_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Return edge cases: real rows with one value missing or zero in turn, all missing, all zero.

    >>> probe_rows(pd.DataFrame({"wind": [3.0]}))["wind"].tolist()
    [nan, 0.0, nan, 0.0]
    """
    made = []
    columns = list(rows.columns)
    texts = rows.select_dtypes(exclude="number").to_numpy(object).ravel()
    missing = next((one for one in texts if one is None or one != one), None)  # as this table writes it
    for number, name in enumerate(columns[: _PROBES // 2]):
        row = rows.iloc[number % len(rows)]
        made += [_with(row, rows, [name], missing, unknown) for unknown in (True, False)]
    made += [_with(rows.iloc[0], rows, columns, missing, unknown) for unknown in (True, False)]
    return pd.DataFrame(made, columns=columns).astype(
        {name: kind if kind.kind == "O" else np.float64 for name, kind in rows.dtypes.items()}
    )


def _with(row: Any, rows: pd.DataFrame, names: list[str], missing: Any, unknown: bool) -> dict[str, Any]:
    changed = dict(row)
    for name in names:
        if pd.api.types.is_numeric_dtype(rows[name]):
            changed[name] = np.nan if unknown else 0.0
        else:
            changed[name] = missing if unknown else ""
    return changed
