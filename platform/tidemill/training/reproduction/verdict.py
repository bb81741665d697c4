"""Says whether a model that was fitted once more is the same, by its answers to the hold-out."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemill.training.tracking.reference_rows import ReferenceRows

__all__ = ["WITHIN", "Reproduction", "compare_models", "reasons"]

WITHIN: Final = 1e-9
"""Largest difference of two scores that counts as none; of values above 1 it is this share of them."""
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
    """The largest difference of two scores, or of two numbers in the answers; None where the rows are
    others."""
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
    apart = None if other else _apart(before, after)
    largest = None if apart is None else float(apart.absolute.max(initial=0.0))
    if largest == 0 and not changed:
        verdict: Verdict = "bit-equal"
    elif apart is not None and bool((apart.relative <= within).all()) and _close(changed, within):
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


class _Apart(NamedTuple):
    absolute: NDArray[np.float64]
    relative: NDArray[np.float64]
    """The same where values are below 1: those of amounts have no more digits than those of shares."""


def _apart(before: ReferenceRows, after: ReferenceRows) -> _Apart:
    """Return how far the scores, and the numbers in the answers, are from each other."""
    pairs = [(before.scores, after.scores)]
    if before.answers is not None or after.answers is not None:
        pairs.append(_numbers(before.answers, after.answers))
    one, other = (
        np.concatenate([pair[side].cast(pl.Float64).to_numpy() for pair in pairs]) for side in (0, 1)
    )
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore"):  # of two infinite ones
        absolute = np.nan_to_num(np.where(same, 0.0, np.abs(one - other)), nan=np.inf, posinf=np.inf)
        relative = np.where(same, 0.0, absolute / np.fmax(1.0, np.abs(one)))
    return _Apart(absolute, np.nan_to_num(relative, nan=np.inf, posinf=np.inf))


def _numbers(before: pl.Series | None, after: pl.Series | None) -> tuple[pl.Series, pl.Series]:
    """Return the numbers in answers, which are JSON; an infinite difference where anything else differs."""
    if before is None or after is None:
        return pl.Series([0.0]), pl.Series([np.inf])
    pairs: list[tuple[float, float]] = []
    for one, other in zip(before, after, strict=True):
        if one != other:
            pairs.extend(_number_pairs(_parsed(one), _parsed(other)))
    return pl.Series([one for one, _ in pairs]), pl.Series([other for _, other in pairs])


def _parsed(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return text


def _number_pairs(one: Any, other: Any) -> Iterator[tuple[float, float]]:
    """Yield the numbers at the same places of two values.

    >>> list(_number_pairs({"a": [0.25, 0.5]}, {"a": [0.25, 0.75]})), list(_number_pairs("a", "b"))
    ([(0.25, 0.25), (0.5, 0.75)], [(0.0, inf)])
    """
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for name in one:
            yield from _number_pairs(one[name], other[name])
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for left, right in zip(one, other, strict=True):
            yield from _number_pairs(left, right)
    elif _is_number(one) and _is_number(other):
        yield float(one), float(other)
    elif one != other:
        yield 0.0, np.inf


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _close(changed: Mapping[str, tuple[float | None, float | None]], within: float) -> bool:
    return all(
        one is not None and other is not None and abs(one - other) <= within * max(1.0, abs(one))
        for one, other in changed.values()
    )
