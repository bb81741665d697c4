"""Measures the drift of lists of numbers, such as embeddings: by their norm and by element. Pure."""

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.monitoring.drift.distances import wasserstein

__all__ = ["element_matrix", "is_list", "list_distance", "norms"]

Floats = npt.NDArray[np.float64]

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
    found = [_norm(values) for values in column.to_list()]
    return pl.Series(column.name, found, pl.Float64)


def element_matrix(column: pl.Series, length: int) -> Floats:
    """Return the lists without gaps that have this length, shape (lists, length)."""
    lists = [values for values in column.to_list() if values is not None and len(values) == length]
    matrix = np.array(lists, dtype=np.float64).reshape(len(lists), length)
    return matrix[np.isfinite(matrix).all(axis=1)]


def list_distance(before: Floats, now: Floats) -> float:
    """Return how far lists have moved: the larger of the norms' distance and the elements' mean distance.

    Each is a Wasserstein distance in standard deviations of ``before``. The mean over the elements has no
    more noise than the distance of a single number, and sees a shift that leaves the norms as they are.

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
    return max(of_norms, float(np.mean(of_elements)))


def _distance(before: Floats, now: Floats) -> float:
    if before.std() > 1e-9 * np.abs(before).max(initial=0.0):
        return wasserstein(before, now)
    # What never varied has no scale: any other value is one standard deviation away.
    return float(np.mean(~np.isclose(now, before[0], rtol=1e-6)))


def _norm(values: list[float | None] | None) -> float | None:
    if values is None or None in values:
        return None
    norm = float(np.linalg.norm(np.array(values, dtype=np.float64)))
    return norm if np.isfinite(norm) else None
