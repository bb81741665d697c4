"""Takes rows of several files, which are mapped into memory, a piece at a time."""

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["pieces_of"]


def pieces_of(
    files: Sequence[npt.NDArray[Any]], most: int, order: npt.NDArray[np.int64] | None
) -> Generator[npt.NDArray[Any], None, None]:
    """Yield rows of several files in turn, in pieces of at most ``most`` rows.

    Args:
        files: each of shape (rows of the file, columns).
        most: rows of a piece.
        order: numbers of rows, counted through all files; None: as they lie.

    >>> files = [np.array([[0], [1], [2]]), np.array([[3], [4]])]
    >>> [one[:, 0].tolist() for one in pieces_of(files, 2, None)]
    [[0, 1], [2], [3, 4]]
    >>> [one[:, 0].tolist() for one in pieces_of(files, 2, np.array([4, 0, 2]))]
    [[4, 0], [2]]
    """
    if order is None:
        for file in files:
            for start in range(0, len(file), most):
                yield np.asarray(file[start : start + most])
        return
    ends = np.cumsum([len(file) for file in files])
    for start in range(0, len(order), most):
        wanted = order[start : start + most]
        if len(files) == 1:
            yield np.asarray(files[0][wanted])
            continue
        found = np.empty((len(wanted), *files[0].shape[1:]), files[0].dtype)
        for end, file in zip(ends, files, strict=True):
            here = (wanted >= end - len(file)) & (wanted < end)
            found[here] = file[wanted[here] - (end - len(file))]
        yield found
