"""Compare a compiled model's answers with the original's, on real rows and on edge cases."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tidemill.tasks.binary import Binary
from tidemill.tasks.task import Task

__all__ = ["Parity", "compare_answers", "probe_rows"]

Scores = npt.NDArray[np.float64]

_PROBES = 40
_BINARY = Binary("")


@dataclass(frozen=True)
class Parity:
    """The result of comparing a compiled model with its original."""

    rows: int
    """Real rows that both answered."""
    probes: int
    """Edge cases made of real rows: with missing values, or with zeros."""
    max_difference: float
    """Of two answers; infinite if only one of the two gives an answer to some row."""
    threshold: float
    """The largest difference that counts as none."""
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
    worst = _difference(answers, compiled(rows))
    for number in range(len(probes)):
        row = probes.iloc[[number]]
        mine = compiled(row)
        try:
            theirs: Any = original(row)
        except Exception:  # noqa: BLE001 — it does not take such a row, whatever it says
            theirs = np.full(mine.shape, np.nan)
        refused += int(np.isnan(theirs).any())
        worst = max(worst, _difference(theirs, mine))
    treated = "refused" if refused else "answered"
    return Parity(len(rows), len(probes), worst, task.tolerance(answers), treated)


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


def _difference(one: Scores, other: Scores) -> float:
    known = np.isfinite(one)
    if one.shape != other.shape or (known != np.isfinite(other)).any():
        return float("inf")
    return float(np.abs(one[known] - other[known]).max(initial=0.0))
