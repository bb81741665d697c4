"""Undocumented names of scikit-learn that Tidemill uses, each with the reason.

The fitted objects are given by the caller, so this module does not import scikit-learn.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "NAMES",
    "boosting_baseline",
    "category_encoder",
    "category_goes_left",
    "column_indices",
    "histogram_baseline",
    "histogram_nodes",
    "histogram_trees",
    "one_hot_widths",
]

_HISTOGRAM = "HistGradientBoostingClassifier publishes nothing of what it was fitted to"
_PREDICTOR = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"

NAMES = (
    (
        "sklearn.compose.ColumnTransformer._transformer_to_input_indices",
        "gives numbers for columns that were named, masked, sliced or chosen by a function",
    ),
    (
        "sklearn.preprocessing.OneHotEncoder._n_features_outs",
        "counts the columns of each feature after dropped and rare categories",
    ),
    ("sklearn.ensemble.HistGradientBoostingClassifier._preprocessor", _HISTOGRAM),
    ("sklearn.ensemble.HistGradientBoostingClassifier._predictors", _HISTOGRAM),
    ("sklearn.ensemble.HistGradientBoostingClassifier._baseline_prediction", _HISTOGRAM),
    (f"{_PREDICTOR}.nodes", "has the nodes of a tree of a histogram gradient boosting, a row a node"),
    (f"{_PREDICTOR}.raw_left_cat_bitsets", "has the categories that go left at its nodes"),
    (
        "sklearn.ensemble.GradientBoostingClassifier._raw_predict_init",
        "gives the margin before the first tree, which depends on the loss",
    ),
)
"""Dotted paths, and why each is used."""


def column_indices(step: Any, name: str) -> list[int]:
    """Return the numbers of the input columns that the part ``name`` of a ColumnTransformer takes."""
    return [int(index) for index in step._transformer_to_input_indices[name]]


def one_hot_widths(step: Any) -> Sequence[int]:
    """Return how many columns a OneHotEncoder makes of each feature."""
    widths: Sequence[int] = step._n_features_outs
    return widths


def category_encoder(model: Any) -> Any | None:
    """Return the OrdinalEncoder inside a HistGradientBoostingClassifier; None when it has no categories."""
    before = model._preprocessor
    return None if before is None else before.named_transformers_["encoder"]


def histogram_trees(model: Any) -> list[Any]:
    """Return the trees of a histogram gradient boosting, one for each class in turn."""
    return [predictor for predictors in model._predictors for predictor in predictors]


def histogram_nodes(tree: Any) -> Any:
    """Return the nodes of one of `histogram_trees`, as an array of records."""
    return tree.nodes


def category_goes_left(tree: Any, number: int, category: int) -> bool:
    """Return whether a category goes left at a node whose set of categories has this number."""
    return bool(tree.raw_left_cat_bitsets[number][category // 32] >> (category % 32) & 1)


def histogram_baseline(model: Any) -> list[float]:
    """Return the margin of each class before the first tree of a histogram gradient boosting."""
    return [float(one) for one in np.ravel(model._baseline_prediction)]


def boosting_baseline(model: Any) -> list[float]:
    """Return the margin of each class before the first tree of a gradient boosting."""
    row: npt.NDArray[np.float32] = np.zeros((1, model.n_features_in_), np.float32)
    return [float(one) for one in model._raw_predict_init(row)[0]]
