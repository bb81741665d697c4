"""How several workers fit one model together, each on a shard of the rows: what a family declares for it."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

__all__ = ["Distributed", "Keep", "Prepared", "Saved", "Shard", "cut"]


@dataclass(frozen=True)
class Prepared:
    """All rows as workers take them, prepared by one process."""

    values: "npt.NDArray[Any]"
    """Shape (rows, columns)."""
    target: "npt.NDArray[Any]"
    """Shape (rows,)."""
    finish: Callable[[Any], Any]
    """Makes the estimator, which takes the features as they are, of what the first worker returns."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What each worker must know of all rows, as JSON values."""


@dataclass(frozen=True)
class Shard:
    """The rows of one worker: all at once (`values`), or a few at a time (`batches`)."""

    target: "npt.NDArray[Any]"
    """Shape (rows,)."""
    places: "npt.NDArray[np.int64]"
    """Where its rows stand among those of all workers, shape (rows,)."""
    rows: int
    """How many all workers have together."""
    facts: Mapping[str, Any]
    """Those of `Prepared`."""
    network: Mapping[str, Any]
    """LightGBM's parameters that name all workers; empty for other engines."""
    files: "Sequence[npt.NDArray[Any]]"
    """What holds the rows, mapped into memory; each of shape (rows of the file, columns)."""
    read: "Callable[[npt.NDArray[np.int64] | None], Generator[npt.NDArray[Any], None, None]]"
    """Yields the rows piece by piece, in an order, or as they lie; `batches` cuts them to size."""

    @cached_property
    def values(self) -> "npt.NDArray[Any]":
        """Return all rows, shape (rows, columns); not to be written to."""
        import numpy as np

        return self.files[0] if len(self.files) == 1 else np.concatenate(self.files)

    def batches(
        self, sizes: int | Iterable[int] | None = None, order: "npt.NDArray[np.int64] | None" = None
    ) -> "Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]":
        """Yield features and targets of a few rows at a time, not to be written to.

        Ray Data streams a shard of many bytes: no more than some megabytes of it are in memory then.

        Args:
            sizes: how many rows each batch has, one number for all or one for each; None: as they are read,
                some megabytes.
            order: numbers of rows of the shard, as often as wanted; None: as they lie, each once.
        """
        target = self.target if order is None else self.target[order]
        if isinstance(sizes, int):
            whole, rest = divmod(len(target), sizes)
            sizes = [sizes] * whole + [rest] * (rest > 0)
        start = 0
        with closing(self.read(order)) as pieces:
            for values in pieces if sizes is None else cut(pieces, sizes):
                yield values, target[start : start + len(values)]
                start += len(values)


def cut(pieces: "Iterator[npt.NDArray[Any]]", sizes: Iterable[int]) -> "Iterator[npt.NDArray[Any]]":
    """Cut rows to size that come in pieces of any size.

    >>> import numpy as np
    >>> [one.tolist() for one in cut(iter([np.arange(3), np.arange(3, 5)]), [2, 0, 3])]
    [[0, 1], [], [2, 3, 4]]
    """
    import numpy as np

    held = next(pieces)
    for size in sizes:
        parts, held = [held[:size]], held[size:]
        while (missing := size - sum(map(len, parts))) > 0:
            held = next(pieces)
            parts.append(held[:missing])
            held = held[missing:]
        yield parts[0] if len(parts) == 1 else np.concatenate(parts)


@dataclass(frozen=True)
class Saved:
    """A checkpoint: what the workers had made when one of them was lost."""

    rounds: int
    state: bytes


Keep = Callable[[int, Callable[[], bytes]], None]
"""Keeps a checkpoint: takes the number of rounds that are done, and what returns the state after them. Each
worker calls it equally often; the state is asked of the first one alone."""


@dataclass(frozen=True)
class Distributed:
    """How a family's model is fitted by several workers.

    The model must be what one process would make of all rows, within what sums in another order and, where
    rows are drawn, other draws make of it.
    """

    engine: Literal["xgboost", "lightgbm", "torch"]
    """Who connects the workers: XGBoost's collective, LightGBM's network, or ``torch.distributed``."""
    prepare: Callable[[Mapping[str, Any], "pd.DataFrame", "pd.Series[Any]"], Prepared]
    """Takes parameters, features and labels of all rows, as `Family.fit` does."""
    fit: Callable[[Mapping[str, Any], Shard, int, Saved | None, Keep], Any]
    """Takes parameters, the worker's shard, for how many rounds to fit, and the checkpoint to go on
    from, if there is one; keeps one after each round. Returns what `Prepared.finish` takes."""
