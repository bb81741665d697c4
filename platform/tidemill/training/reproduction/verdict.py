"""Says whether a model that was fitted once more is the same, by its answers to the hold-out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import polars as pl

from tidemill.training.tracking.reference_rows import ReferenceRows

__all__ = ["WITHIN", "Reproduction", "compare_models", "reasons"]

WITHIN: Final = 1e-9
"""Largest difference of two scores that counts as none."""
_UNEXPLAINED = (
    "nothing on record explains it: threads, hardware, or a family that draws at random without a seed may"
)
Verdict = Literal["bit-equal", "equal", "differs"]


@dataclass(frozen=True)
class Reproduction:
    """What came of fitting a model once more."""

    verdict: Verdict
    """``equal``: within `within`, not bit by bit."""
    rows: int
    """Rows of the hold-out whose answers were compared."""
    largest: float | None
    """The largest difference of two scores; None where the rows are others."""
    within: float
    metrics: Mapping[str, tuple[float | None, float | None]]
    """On record and now, of those that differ."""
    environment: Sequence[str]
    """How the environment differs from that of the training."""
    because: Sequence[str]
    """Why it differs, as far as that is known; nothing where it does not."""


def compare_models(
    recorded: tuple[ReferenceRows, Mapping[str, float]],
    again: tuple[ReferenceRows, Mapping[str, float]],
    environment: Sequence[str] = (),
    within: float = WITHIN,
    lost: Sequence[str] = (),
) -> Reproduction:
    """Compare the answers and the metrics of two models.

    Args:
        recorded: reference and metrics on record; metrics that ``again`` lacks do not count.
        again: of the model that was fitted once more.
        environment: how its environment differs.
        within: the largest difference that counts as none.
        lost: what the code may have read that is not on record.

    >>> rows = [ReferenceRows(pl.DataFrame(), pl.Series([]), pl.Series([score])) for score in (0.5, 0.75)]
    >>> compare_models((rows[0], {}), (rows[0], {})).verdict
    'bit-equal'
    >>> found = compare_models((rows[0], {"r2": 0.1}), (rows[1], {"r2": 0.2}), ["numpy 2.0, now 2.1"])
    >>> found.verdict, found.largest, found.metrics, found.because
    ('differs', 0.25, {'r2': (0.1, 0.2)}, ['numpy 2.0, now 2.1'])
    """
    (before, metrics), (after, measured) = recorded, again
    changed = {
        name: (metrics.get(name), value)
        for name, value in measured.items()
        if name in metrics and metrics[name] != value
    }
    other = _other_rows(before, after)
    largest = None if other else _largest(before.scores, after.scores)
    same_answers = _equal(before.answers, after.answers)
    if largest == 0 and same_answers and not changed:
        verdict: Verdict = "bit-equal"
    elif largest is not None and largest <= within and _close(changed, within):
        verdict = "equal"
    else:
        verdict = "differs"
    because = reasons(other, [*lost, *environment]) if verdict == "differs" else []
    return Reproduction(verdict, len(after.scores), largest, within, changed, list(environment), because)


def reasons(other_rows: str | None, environment: Sequence[str]) -> list[str]:
    """Return why two models differ, as far as that is known.

    >>> reasons(None, ())[0].partition(":")[0]
    'nothing on record explains it'
    """
    return [*([other_rows] if other_rows else []), *environment] or [_UNEXPLAINED]


def _other_rows(before: ReferenceRows, after: ReferenceRows) -> str | None:
    if len(before.scores) != len(after.scores):
        return f"the hold-out has {len(after.scores):,} rows, not {len(before.scores):,}"
    if before.held_out is not None and after.held_out is not None:
        names = [
            name
            for name in before.held_out.columns
            if name not in after.held_out.columns
            or not before.held_out[name].equals(after.held_out[name], null_equal=True)
        ]
        if names:
            return f"features of the hold-out have other values: {', '.join(names[:5])}"
    return None


def _largest(before: pl.Series, after: pl.Series) -> float:
    one, other = (side.cast(pl.Float64).to_numpy() for side in (before, after))
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    apart = np.where(same, 0.0, np.abs(one - other))
    return float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0))


def _equal(before: pl.Series | None, after: pl.Series | None) -> bool:
    if before is None or after is None:
        return before is after
    return before.equals(after, null_equal=True)


def _close(changed: Mapping[str, tuple[float | None, float | None]], within: float) -> bool:
    return all(
        one is not None and other is not None and abs(one - other) <= within * max(1.0, abs(one))
        for one, other in changed.values()
    )
