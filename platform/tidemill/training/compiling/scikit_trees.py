"""Read scikit-learn's trees, forests and boosted trees as `Ensemble`s."""

from typing import Any

import numpy as np

from tidemill.training.compiling.onnx_graph import CannotCompile
from tidemill.training.compiling.private_scikit import (
    boosting_baseline,
    category_encoder,
    category_goes_left,
    histogram_baseline,
    histogram_nodes,
    histogram_trees,
)
from tidemill.training.compiling.trees import Ensemble, Tree, as_float32

__all__ = ["boosted", "forest", "forest_of_classes", "forest_of_values", "histogram_boosted", "single_tree"]


def histogram_boosted(model: Any) -> Ensemble:
    """Return the margins of a histogram gradient boosting; it takes categories as codes, unknown as NaN."""
    width = int(model.n_trees_per_iteration_)
    encoder = category_encoder(model)
    sizes = [] if encoder is None else [_known(found) for found in encoder.categories_]
    trees = [_histogram_tree(predictor, sizes) for predictor in histogram_trees(model)]
    return Ensemble(trees, histogram_baseline(model), targets=_in_turn(trees, width), width=width)


def forest(model: Any) -> Ensemble:
    """Return a RandomForestClassifier or an ExtraTreesClassifier: the mean of its trees' outputs."""
    share = 1.0 / len(model.estimators_)
    return Ensemble([_tree(one.tree_, _second_class(one.tree_) * share) for one in model.estimators_])


def single_tree(model: Any) -> Ensemble:
    """Return a DecisionTreeClassifier."""
    return Ensemble([_tree(model.tree_, _second_class(model.tree_))])


def forest_of_classes(model: Any) -> tuple[list[Tree], list[Any]]:
    """Return the trees of a tree or forest of several classes, and the share of each class in their nodes.

    The shares of all trees add up to the probabilities.
    """
    members = getattr(model, "estimators_", [model])
    counts = [one.tree_.value[:, 0, :] for one in members]
    shares = [one / one.sum(axis=1, keepdims=True) / len(members) for one in counts]
    return [_tree(one.tree_, np.zeros(one.tree_.node_count)) for one in members], shares


def forest_of_values(model: Any) -> Ensemble:
    """Return a tree or forest of scikit-learn's regressors: the mean of its trees' values."""
    members = getattr(model, "estimators_", [model])
    if members[0].tree_.value.shape[1] != 1:
        raise CannotCompile("it gives several values a row")
    return Ensemble([_tree(one.tree_, one.tree_.value[:, 0, 0] / len(members)) for one in members])


def boosted(model: Any) -> Ensemble:
    """Return the margins of a GradientBoostingClassifier, or the value of a GradientBoostingRegressor."""
    if type(model.init_).__name__ not in ("DummyClassifier", "DummyRegressor", "str"):
        raise CannotCompile(f"it begins with {type(model.init_).__name__}")
    rate, width = model.learning_rate, model.estimators_.shape[1]
    trees = [_tree(one.tree_, one.tree_.value[:, 0, 0] * rate) for one in model.estimators_.ravel()]
    return Ensemble(trees, boosting_baseline(model), targets=_in_turn(trees, width), width=width)


def _in_turn(trees: list[Tree], width: int) -> list[int]:
    return [number % width for number in range(len(trees))]


def _second_class(tree: Any) -> Any:
    counts = tree.value[:, 0, :]
    return counts[:, 1] / counts.sum(axis=1)


def _tree(tree: Any, value: Any) -> Tree:
    leaf = tree.children_left < 0
    return Tree(
        np.where(leaf, -1, tree.feature).astype(np.int64),
        as_float32(np.asarray(tree.threshold, np.float64), "<="),
        tree.children_left.astype(np.int64),
        tree.children_right.astype(np.int64),
        np.asarray(tree.missing_go_to_left).astype(np.bool_),
        np.asarray(value, np.float64),
    )


def _known(categories: Any) -> int:
    """Return how many categories there are beside "unknown"."""
    return sum(1 for one in categories if one is not None and one == one)


def _histogram_tree(predictor: Any, sizes: list[int]) -> Tree:
    nodes = histogram_nodes(predictor)
    feature = np.where(nodes["is_leaf"], -1, nodes["feature_idx"]).astype(np.int64)
    yes, no = nodes["left"].astype(np.int64), nodes["right"].astype(np.int64)
    unknown_yes = nodes["missing_go_to_left"].astype(np.bool_)
    members: dict[int, tuple[float, ...]] = {}
    for node in np.flatnonzero(nodes["is_categorical"] & (nodes["is_leaf"] == 0)).tolist():
        codes, number = range(sizes[feature[node]]), nodes["bitset_idx"][node]
        left = {code for code in codes if category_goes_left(predictor, number, code)}
        if unknown_yes[node]:  # unseen codes go left as well, so collect those that go right
            yes[node], no[node] = no[node], yes[node]
            left, unknown_yes[node] = set(codes) - left, False
        members[node] = tuple(float(code) for code in sorted(left))
    return Tree(
        feature,
        nodes["num_threshold"].astype(np.float64),
        yes,
        no,
        unknown_yes,
        nodes["value"].astype(np.float64),
        members,
    )
