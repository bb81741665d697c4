"""How several workers fit one model together, each on a shard of the rows: what a family declares for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

__all__ = ["Distributed", "Keep", "Prepared", "Saved", "Shard"]


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
    """The rows of one worker."""

    values: "npt.NDArray[Any]"
    """Shape (rows, columns); not to be written to."""
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
