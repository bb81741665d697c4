"""A worker's rows for LightGBM, which takes them a few at a time, also to go on from a checkpoint.

LightGBM counts how each column is spread in rows drawn from all, and then holds a byte or so for each value.
Where a model goes on, it would ask that model about all rows at once.
"""

from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tidemill.training.distributed import Shard, cut
from tidemill.training.families.preparation import batches_with_all_classes, with_all_classes

__all__ = ["as_estimator", "rows_of"]

NAMES = (
    (
        "lightgbm.Dataset._set_init_score_by_predictor",
        "asks a model that training goes on from about all rows",
    ),
    ("lightgbm.LGBMModel._Booster", "is what a fitted estimator answers with"),
)
"""Dotted paths, and why each is used."""


_ROWS = 4096


class _Forwards:
    """Rows of a shard, read from the first to the last, and again; each class has one."""

    _batch: npt.NDArray[Any]
    batch_size: int
    """How many rows LightGBM asks for at once."""

    def __init__(self, shard: Shard, classes: list[int], rows: int) -> None:
        self._shard, self._classes, self._rows, self.batch_size = shard, classes, rows, _ROWS
        self._begin()

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, wanted: int | slice) -> npt.NDArray[Any]:
        """Return a row, or rows of one batch."""
        first, end = (wanted.start, wanted.stop) if isinstance(wanted, slice) else (wanted, wanted + 1)
        if first < self._first:
            self._begin()
        while first >= self._first + len(self._batch):
            self._first += len(self._batch)
            self._batch = next(self._left)
        found = self._batch[first - self._first : end - self._first]
        return found if isinstance(wanted, slice) else found[0]

    def batches(self) -> Iterator[npt.NDArray[Any]]:
        """Yield all rows, ``batch_size`` at a time."""
        given = batches_with_all_classes(self._shard, self._classes)
        whole, rest = divmod(len(self), self.batch_size)
        sizes = chain(repeat(self.batch_size, whole), [rest] * (rest > 0))
        return cut((values for values, _, _ in given), sizes)

    def _begin(self) -> None:
        self._first = 0
        self._left = self.batches()
        self._batch = next(self._left)


def rows_of(shard: Shard, classes: list[int]) -> Any:
    """Return a shard's rows as LightGBM's.

    Args:
        shard: the worker's.
        classes: of all workers' labels, in order: each has a row then, as `with_all_classes` gives it one,
            and a label is its class's place. None where labels are numbers.
    """
    from lightgbm import Dataset, Sequence  # an optional package

    class Rows(Dataset):  # type: ignore[misc]  # LightGBM may be missing
        def _set_init_score_by_predictor(self, predictor: Any, data: _Forwards, used_indices: None) -> Any:
            if predictor is not None:
                said = [predictor.predict(data=batch, raw_score=True) for batch in data.batches()]
                self.set_init_score(np.concatenate(said))
            return self

    Sequence.register(_Forwards)
    labels, weights = shard.target, None
    if classes:
        given = np.empty((len(labels), 0)), pd.Series(np.asarray(labels))
        _, found, weights = with_all_classes(*given, classes)
        labels = np.searchsorted(classes, found)
    return Rows(_Forwards(shard, classes, len(labels)), labels, weight=weights)


def as_estimator(begun: Any, columns: int, classes: list[int], trees: str) -> Any:
    """Give an estimator trees that were grown without it, and return it.

    Args:
        begun: has the parameters.
        columns: how many it takes.
        classes: as for `rows_of`.
        trees: LightGBM's text of the model.
    """
    from lightgbm import Booster  # an optional package

    rounds, begun.n_estimators = begun.n_estimators, 1
    targets = 2 * classes or [0, 1]  # what it remembers of them comes of a fit
    begun.fit(np.zeros((len(targets), columns)), targets)
    begun.n_estimators, begun._Booster = rounds, Booster(model_str=trees)
    return begun
