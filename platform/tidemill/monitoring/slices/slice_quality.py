"""Measures the quality of a window's slices, and tells which are worse than on the hold-out. Pure.

A slice is compared with the same slice of the hold-out, because some are harder than others and always were.
The test is one of the rows' losses: how much they rose, in standard errors. For slices that a search made, it
is how much more they rose than those of all other rows, so that the search names a place and not the whole.
Chance is measured by shuffling which rows are the window's (a permutation test) and taking the worst slice
each time, so that many slices and their overlaps are allowed for (Westfall and Young, 1993). The effect is
the metric's: it must be lower than in the hold-out's slice by more than is allowed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.monitoring.slices.slice_rows import Slice
from tidemill.tasks.task import Answers, Task

__all__ = ["JudgedRows", "SliceQuality", "slice_qualities"]

Floats = npt.NDArray[np.float64]

_SHUFFLES = 299
_RARELY = 0.01
_CLIPPED = 0.99
"""Greater losses than those of so many rows count as that much: a few would hide the rest."""
_MOST_ROWS = 20_000
_AT_ONCE = 50


@dataclass(frozen=True)
class JudgedRows:
    """Labelled rows that a model answered, in one order."""

    features: pl.DataFrame
    truth: npt.NDArray[np.float64]
    answers: Answers
    losses: Floats
    places: npt.NDArray[np.int64]
    """Of the rows among those that were given."""

    @classmethod
    def of(cls, features: pl.DataFrame, truth: Floats, answers: Answers, task: Task) -> "JudgedRows":
        """Return the rows with a label, a finite answer and a finite loss, and no more than are needed."""
        usable = np.isfinite(truth) & task.sound(answers)
        places = np.flatnonzero(usable)
        truth, answers = truth[usable], answers[usable]
        features = features[places] if features.width else features  # without columns it has no rows
        losses = task.losses(truth, answers)
        chosen = np.flatnonzero(np.isfinite(losses))
        if len(chosen) > _MOST_ROWS:
            chosen = np.sort(np.random.default_rng(0).permutation(chosen)[:_MOST_ROWS])
        features = features[chosen] if features.width else features
        return cls(features, truth[chosen], answers[chosen], losses[chosen], places[chosen])

    def worst(self, inside: npt.NDArray[np.bool_], most: int) -> tuple[int, ...]:
        """Return the places in the given rows of those with the greatest losses, the worst first."""
        within = np.flatnonzero(inside)
        order = np.argsort(-self.losses[within], kind="stable")[:most]
        return tuple(int(place) for place in self.places[within[order]])


@dataclass(frozen=True)
class SliceQuality:
    """The quality in a slice of a window."""

    name: str
    rows: int
    """Labelled ones in the window."""
    share: float
    """Of the window's labelled rows."""
    metric: str
    value: float | None
    """The metric in the slice; None where it is undefined."""
    rest: float | None
    """The metric of all other rows."""
    expected: float | None
    """The metric in the same slice of the hold-out."""
    holdout_rows: int
    p_value: float
    """How rarely chance alone brings about any slice so bad."""
    decayed: bool
    searched: bool
    """Whether a search found it; False: it is declared."""


def slice_qualities(
    before: JudgedRows,
    now: JudgedRows,
    slices: Sequence[Slice],
    task: Task,
    allowed: float,
    searched: bool,
    most: int = 5,
) -> list[SliceQuality]:
    """Return the slices with their quality, the worst first.

    Args:
        before: rows of the hold-out.
        now: rows of the window.
        slices: of these rows, each with enough rows on both sides.
        task: what is predicted; its ``metric`` is the effect.
        allowed: how far the metric in a slice may lie below that in the hold-out's slice.
        searched: whether the slices were made by a search: they are compared with the rest, and only the
            ``most`` worst are returned, none that shares most of its rows with a worse one.
        most: see ``searched``.
    """
    if not slices:
        return []
    inside = np.array([np.concatenate([one.before, one.now]) for one in slices])
    losses = np.concatenate([before.losses, now.losses])
    is_now = np.repeat([0.0, 1.0], [len(before.losses), len(now.losses)])
    risen, p_values = _tested(inside, losses, is_now, searched)
    order = [int(place) for place in np.argsort(-risen, kind="stable")]
    if searched:
        order = _distinct(order, inside, most)
    return [_measured(before, now, slices[at], task, allowed, float(p_values[at]), searched) for at in order]


def _measured(
    before: JudgedRows,
    now: JudgedRows,
    one: Slice,
    task: Task,
    allowed: float,
    p_value: float,
    searched: bool,
) -> SliceQuality:
    value, rest = _metric(now, one.now, task), _metric(now, ~one.now, task)
    expected = _metric(before, one.before, task)
    fell = value is not None and expected is not None and expected - value > allowed
    rows = int(one.now.sum())
    return SliceQuality(
        one.name, rows, rows / max(len(one.now), 1), task.metric, value, rest, expected,
        int(one.before.sum()), p_value, fell and p_value <= _RARELY, searched,
    )  # fmt: skip


def _metric(rows: JudgedRows, chosen: npt.NDArray[np.bool_], task: Task) -> float | None:
    if not chosen.any():
        return None
    weights = np.ones((1, int(chosen.sum())))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = float(task.measure(task.metric, rows.truth[chosen], rows.answers[chosen])(weights)[0])
    return found if np.isfinite(found) else None


def _tested(
    inside: npt.NDArray[np.bool_], losses: Floats, is_now: Floats, against_rest: bool
) -> tuple[Floats, Floats]:
    """Return how far each slice's losses rose, in standard errors, and how rarely any rises as much."""
    losses = np.minimum(losses, np.quantile(losses, _CLIPPED))
    losses = (losses - losses.mean()) / (losses.std() or 1.0)
    member, rng = inside.astype(np.float32), np.random.default_rng(0)
    risen = _risen(member, losses, is_now[:, None], against_rest)[:, 0]
    worst = list[Floats]()
    for start in range(0, _SHUFFLES, _AT_ONCE):
        mixed = [rng.permutation(is_now) for _ in range(min(_AT_ONCE, _SHUFFLES - start))]
        worst.append(_risen(member, losses, np.column_stack(mixed), against_rest).max(axis=0))
    above = np.sort(np.concatenate(worst))
    as_bad = len(above) - np.searchsorted(above, risen, side="left")
    return risen, (1 + as_bad) / (1 + len(above))


def _risen(member: npt.NDArray[np.float32], losses: Floats, is_now: Floats, against_rest: bool) -> Floats:
    """Return by how many standard errors losses rose, shape (slices, columns of ``is_now``)."""
    powers = np.stack([np.ones(len(losses)), losses, losses**2]).astype(np.float32)
    weighted = (powers[:, :, None] * is_now.astype(np.float32)).transpose(1, 0, 2)
    inside = (member @ weighted.reshape(len(losses), -1)).reshape(len(member), 3, -1)
    whole = (member @ powers.T)[:, :, None]
    rise, variance = _rise(whole - inside, inside)
    if against_rest:
        every, every_now = powers.sum(axis=1)[None, :, None], weighted.sum(axis=0)[None]
        of_rest, variance_of_rest = _rise(every - whole - (every_now - inside), every_now - inside)
        rise, variance = rise - of_rest, variance + variance_of_rest
    return np.asarray(rise / np.sqrt(variance + 1e-12), dtype=np.float64)


def _rise(before: npt.NDArray[np.float32], now: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Return how far the mean loss rose, and its variance, from counts, sums and sums of squares."""
    means, variances = list[Floats](), list[Floats]()
    for side in (before, now):
        count = np.maximum(side[:, 0], 1.0).astype(np.float64)
        means.append(side[:, 1] / count)
        variances.append(np.maximum(side[:, 2] / count - means[-1] ** 2, 0.0) / count)
    return means[1] - means[0], variances[0] + variances[1]


def _distinct(order: Sequence[int], inside: npt.NDArray[np.bool_], most: int) -> list[int]:
    """Return the first slices that share at most half of their rows with an earlier one."""
    kept = list[int]()
    for place in order:
        mine = inside[place]
        if all((mine & inside[one]).sum() <= 0.5 * (mine | inside[one]).sum() for one in kept):
            kept.append(place)
        if len(kept) == most:
            break
    return kept
