"""Explain predictions of any model by asking it: Shapley values, sampled over orders of the features.

Feature by feature, in a random order, a row of the reference turns into the row that is explained; how the
answer moves at each step is that feature's contribution (Štrumbelj and Kononenko, JMLR 11, 2010). The steps
of an order add up exactly to the difference of the two answers, so do their means over all orders.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl

from tidemill.registry.versions.loaded_model import Scorer
from tidemill.training.feature_table import as_features, column_names

__all__ = ["SampledExplanation", "sampled"]

Floats = npt.NDArray[np.float64]

_BUDGET = 40_000
"""Rows that the model is asked for at most, unless there are hundreds of features."""
_FEWEST, _MOST = 4, 64
_ROWS = 256


@dataclass(frozen=True)
class SampledExplanation:
    """Explains one model, whatever it is made of."""

    features: tuple[str, ...]
    unit: Literal["probability", "value"]
    scorer: Scorer
    typical: pd.DataFrame
    """Rows of the reference, with the model's columns."""
    words: tuple[str, ...] = ()
    """The features that are text."""
    lists: Mapping[str, int] = field(default_factory=dict)
    """The features that are lists, and the length of each."""

    def explain(self, frame: pd.DataFrame) -> tuple[Floats, Floats]:
        """Return the base values, shape (rows,), and the contributions, shape (rows, features).

        Of several classes, the most probable one of each row is explained. The same rows get the same values.

        Args:
            frame: the model's columns; numbers with NaN, and text with None, for "not known".
        """
        count = len(self.features)
        orders = min(max(_BUDGET // (len(frame) * count), _FEWEST), _MOST)
        random = np.random.default_rng(0)
        start = self.typical.iloc[random.integers(0, len(self.typical), orders)]
        turns = np.argsort(random.random((orders, count)), axis=1)  # the place of each feature in the order
        said = self._ask(frame)
        best = said.argmax(axis=1)
        base, contributed = np.zeros(len(frame)), np.zeros((len(frame), count))
        for row in range(len(frame)):
            steps = self._steps(frame.iloc[row], start, turns)
            answers = self._ask(steps)[:, best[row]].reshape(orders, count + 1)
            base[row] = answers[:, 0].mean()
            contributed[row] = np.take_along_axis(np.diff(answers, axis=1), turns, axis=1).mean(axis=0)
        return base, contributed

    def _steps(
        self, row: "pd.Series[Any]", start: pd.DataFrame, turns: npt.NDArray[np.int64]
    ) -> pd.DataFrame:
        """Return the rows of all orders: of each the one that it starts from, and that after each feature."""
        taken = np.arange(turns.shape[1] + 1)
        owners = np.repeat(np.arange(len(self.features)), [self.lists.get(name, 1) for name in self.features])
        columns = {}
        for owner, name in zip(owners, start.columns, strict=True):
            has_turned = turns[:, owner, None] < taken
            before: npt.NDArray[Any] = start[name].to_numpy()
            columns[name] = np.where(has_turned, row[name], before[:, None]).ravel().astype(before.dtype)
        return pd.DataFrame(columns)

    def _ask(self, frame: pd.DataFrame) -> Floats:
        found = np.asarray(self.scorer.predict(frame), dtype=np.float64)
        return found.reshape(len(frame), -1)


def sampled(scorer: Scorer, reference: pl.DataFrame) -> SampledExplanation:
    """Return an explanation of a model of a binary, multiclass or regression task.

    Args:
        scorer: the model.
        reference: features of rows that it was fitted on.
    """
    features = scorer.features
    rows = reference.select(features).head(_ROWS)
    typical = as_features(rows, features)[list(column_names(features, scorer.lists))]
    unit: Literal["probability", "value"] = "value" if scorer.task.kind == "regression" else "probability"
    return SampledExplanation(features, unit, scorer, typical, scorer.words, scorer.lists)
