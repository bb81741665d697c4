"""Measures the drift of lists of numbers, such as embeddings: by norm, element and direction. Pure."""

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.monitoring.drift.distances import wasserstein
from tidemill.threads import one_thread_to_compute

__all__ = ["element_matrices", "is_list", "list_distance", "norms"]

Floats = npt.NDArray[np.float64]

_FEW_ROWS = 20
"""With fewer no direction is found."""
_MANY_ROWS = 2_000
_OF_NORMALS = (2 / np.pi) ** 0.5
"""The Wasserstein distance of two normals whose standard deviations differ by 1."""

_MOST = 256
"""Elements that are compared; of longer lists as many, evenly spread."""


def is_list(column: pl.Series | None) -> bool:
    """Return whether a column holds lists of numbers."""
    if column is None or not isinstance(column.dtype, pl.List | pl.Array):
        return False
    return column.dtype.inner.is_numeric() or column.dtype.inner == pl.Null


def norms(column: pl.Series) -> pl.Series:
    """Return the Euclidean norm of each list; null where there is none, or one with a gap in it.

    >>> norms(pl.Series("e", [[3.0, 4.0], None, [1.0, None]])).to_list()
    [5.0, None, None]
    """
    there = column.is_not_null().to_numpy()
    lists = _as_lists(column).drop_nulls()
    lengths = lists.list.len()
    length = lengths.max()
    if length and length == lengths.min():
        flat = lists.explode().cast(pl.Float64).fill_null(float("nan")).to_numpy()
        with np.errstate(over="ignore"):
            known = np.linalg.norm(flat.reshape(len(lists), -1), axis=1)
    else:
        known = np.array([_norm(values) for values in lists.to_list()], dtype=np.float64)
    found = np.full(len(column), np.nan)
    found[there] = np.where(np.isfinite(known), known, np.nan)
    return pl.Series(column.name, found, nan_to_null=True)


def element_matrices(before: pl.Series, now: pl.Series, length: int) -> tuple[Floats, Floats]:
    """Return the elements of the lists of this length of both sides, each of shape (lists, length), finite.

    A gap in a list gets the mean of that element in ``before``, where the rest of the list still tells.

    >>> element_matrices(pl.Series([[1.0, 2.0], [3.0, None]]), pl.Series([[None, 5.0]]), 2)[1].tolist()
    [[2.0, 5.0]]
    """
    sides = [_known(column, length) for column in (before, now)]
    known = np.isfinite(sides[0])
    means = np.where(known, sides[0], 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    filled = [np.where(np.isfinite(side), side, means) for side in sides]
    return filled[0], filled[1]


def _known(column: pl.Series, length: int) -> Floats:
    """Return the lists of this length in which anything is known."""
    lists = _as_lists(column)
    fitting = lists.filter((lists.list.len() == length).fill_null(False))
    flat = fitting.explode().cast(pl.Float64) if length else pl.Series([], dtype=pl.Float64)
    matrix: Floats = flat.fill_null(float("nan")).to_numpy().reshape(len(fitting), length)
    return matrix[np.isfinite(matrix).any(axis=1)]


def list_distance(before: Floats, now: Floats) -> float:
    """Return how far lists have moved: the largest of four distances, in standard deviations of ``before``.

    - the norms': Wasserstein;
    - the elements', on average: Wasserstein of each. It has no more noise than that of a single number;
    - that of the means, along the line between them. A shift that many elements share, or that one of
      hundreds has, is small in each of them and great along this line;
    - that of the spread, along the direction in which it has changed most: a turn that leaves norms, means
      and elements as they are.

    The last two are found in one half of the rows and measured in the other, and the reverse, so that chance
    alone brings about zero.

    Args:
        before: shape (rows, length), at least one row, finite.
        now: likewise.

    >>> turned = np.array([[1.0, 0.0], [0.9, 0.1]]), np.array([[0.0, 1.0], [0.1, 0.9]])
    >>> list_distance(*turned) > 1
    True
    """
    step = max(1, -(-before.shape[1] // _MOST))
    of_elements = [_distance(before[:, place], now[:, place]) for place in range(0, before.shape[1], step)]
    of_norms = _distance(np.linalg.norm(before, axis=1), np.linalg.norm(now, axis=1))
    with one_thread_to_compute():
        along_lines = _along_lines(before, now, step)
    return max(of_norms, float(np.mean(of_elements)), *along_lines)


def _along_lines(before: Floats, now: Floats, step: int) -> tuple[float, float]:
    """Return the distances of the means and of the spreads, each along the line where it is greatest."""
    if min(len(before), len(now)) < _FEW_ROWS:
        return 0.0, 0.0
    before = before[:: max(1, len(before) // max(_MANY_ROWS, 4 * len(now)))]  # more make it no surer
    scale = before.std(axis=0)
    scale[scale <= 1e-9 * np.abs(before).max(axis=0, initial=0.0)] = np.inf  # it has no scale of its own
    centre = before.mean(axis=0)
    sides = [(side - centre) / scale for side in (before, now)]
    halves = [tuple(side[half::2] for side in sides) for half in range(2)]
    means, spreads = [], []
    for (old, new), (old_too, new_too) in (halves, halves[::-1]):
        line = new.mean(axis=0) - old.mean(axis=0)
        ahead = old_too @ line
        if ahead.std() > 0:
            means.append(float(((new_too @ line).mean() - ahead.mean()) / ahead.std()))
        spreads.append(_spread(*(part[:, ::step] for part in (old, new, old_too, new_too))))
    return max(0.0, float(np.mean(means or [0.0]))), max(0.0, float(np.mean(spreads)))


def _spread(old: Floats, new: Floats, old_too: Floats, new_too: Floats) -> float:
    """Return how the spread changed in two halves, along the direction of the first one's greatest change.

    Of two normals with one mean it is their Wasserstein distance.
    """
    values, lines = np.linalg.eigh(np.cov(new, rowvar=False) - np.cov(old, rowvar=False))
    most = int(np.abs(values).argmax())
    line = lines[:, most]
    before = float((old_too @ line).std())
    if not before:
        return 0.0
    return float(np.sign(values[most]) * ((new_too @ line).std() / before - 1) * _OF_NORMALS)


def _distance(before: Floats, now: Floats) -> float:
    if before.std() > 1e-9 * np.abs(before).max(initial=0.0):
        return wasserstein(before, now)
    # What never varied has no scale: any other value is one standard deviation away.
    return float(np.mean(~np.isclose(now, before[0], rtol=1e-6)))


def _as_lists(column: pl.Series) -> pl.Series:
    return column.arr.to_list() if isinstance(column.dtype, pl.Array) else column


def _norm(values: list[float | None]) -> float:
    """Return the norm of one of lists that differ in length; NaN where there is a gap in it."""
    return float("nan") if None in values else float(np.linalg.norm(np.array(values, dtype=np.float64)))
