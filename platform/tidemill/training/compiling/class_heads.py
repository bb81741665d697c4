"""Compile fitted classifiers of several classes to ONNX nodes that compute the probability of each."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tidemill.training.compiling import boosters, scikit_trees
from tidemill.training.compiling.foreign import predict_foreign
from tidemill.training.compiling.heads import (
    class_name,
    histogram_head,
    probability,
    tree_columns,
    unwrapped,
)
from tidemill.training.compiling.networks import network_output
from tidemill.training.compiling.onnx_graph import CannotCompile, Graph, Table
from tidemill.training.compiling.trees import Ensemble, Tree, add_ensemble, add_leaf_rows, add_trees

__all__ = ["probabilities"]

Head = Callable[[Graph, Any, Table], str]


def probabilities(graph: Graph, model: Any, table: Table) -> str:
    """Return the probability of each class that the model knows, shape (rows, classes).

    Raises:
        CannotCompile: there is no ONNX for the model, or it is not a classifier.
    """
    model, table = unwrapped(graph, model, table)
    classes = len(getattr(model, "classes_", ())) or boosters.classes_of(model)
    if classes == 2:
        positive = probability(graph, model, table)
        negative = graph.add("Sub", graph.constant(np.array([[1.0]])), positive)
        return graph.add("Concat", negative, positive, axis=1)
    if classes < 2:
        raise CannotCompile("it is not said which classes it knows")
    name = class_name(model)
    if name in _MARGINS:
        return graph.add("Softmax", _MARGINS[name](graph, model, table), axis=1)
    if name in _DIRECT:
        return _DIRECT[name](graph, model, table)
    return predict_foreign(graph, model, table, classes)


def _linear(graph: Graph, model: Any, table: Table) -> str:
    if getattr(model, "multi_class", "auto") == "ovr":
        raise CannotCompile("it fits one class against the rest")
    graph.refuse_infinite(table)
    weights = graph.constant(np.asarray(model.coef_, np.float64).T)
    product = graph.add("MatMul", graph.numbers(table), weights)
    return graph.add("Add", product, graph.constant(np.asarray(model.intercept_, np.float64).reshape(1, -1)))


def _descent(graph: Graph, model: Any, table: Table) -> str:
    if model.loss != "log_loss":
        raise CannotCompile(f"its loss is {model.loss!r}, which gives no plain logistic probability")
    each = graph.add("Sigmoid", _linear(graph, model, table))
    axis = graph.constant(np.array([1], np.int64))
    return graph.add("Div", each, graph.add("ReduceSum", each, axis, keepdims=1))


def _boosted(graph: Graph, model: Any, table: Table) -> str:
    values = graph.numbers(table)
    tree_columns(graph, model, table, values)
    return add_trees(graph, scikit_trees.boosted(model), values)


def _forest(graph: Graph, model: Any, table: Table) -> str:
    values = graph.numbers(table)
    tree_columns(graph, model, table, values)
    return add_leaf_rows(graph, *scikit_trees.forest_of_classes(model), values)


def _constant(graph: Graph, model: Any, table: Table) -> str:
    if model.strategy != "prior":
        raise CannotCompile(f"its strategy is {model.strategy!r}")
    leaves = [Tree.leaf(float(share)) for share in model.class_prior_]
    ensemble = Ensemble(leaves, targets=range(len(leaves)), width=len(leaves))
    return add_trees(graph, ensemble, graph.numbers(table))


def _voting(graph: Graph, model: Any, table: Table) -> str:
    if model.voting != "soft":
        raise CannotCompile("its members vote for labels, not for probabilities")
    weights = [1.0] * len(model.estimators) if model.weights is None else model.weights
    given = [weight for weight, (_, one) in zip(weights, model.estimators, strict=True) if one != "drop"]
    parts = [
        graph.add("Mul", probabilities(graph, one, table), graph.constant(np.array([weight])))
        for one, weight in zip(model.estimators_, np.asarray(given, np.float64) / np.sum(given), strict=True)
    ]
    return graph.add("Sum", *parts)


_MARGINS: dict[str, Head] = {
    "sklearn.LogisticRegression": _linear,
    "sklearn.LogisticRegressionCV": _linear,
    "sklearn.HistGradientBoostingClassifier": histogram_head,
    "sklearn.GradientBoostingClassifier": _boosted,
    "sklearn.MLPClassifier": network_output,
    "xgboost.XGBClassifier": lambda graph, model, table: add_ensemble(
        graph, boosters.xgboost_classes(model), table
    ),
    "catboost.CatBoostClassifier": lambda graph, model, table: add_trees(
        graph, boosters.catboost(model), graph.numbers(table)
    ),
    "lightgbm.Booster": lambda graph, model, table: add_trees(
        graph, boosters.lightgbm_classes(model), graph.numbers(table)
    ),
    "lightgbm.LGBMClassifier": lambda graph, model, table: add_trees(
        graph, boosters.lightgbm_classes(model), graph.numbers(table)
    ),
}
"""Classifiers whose probabilities are the softmax of a margin for each class."""

_DIRECT: dict[str, Head] = {
    "sklearn.SGDClassifier": _descent,
    "sklearn.RandomForestClassifier": _forest,
    "sklearn.ExtraTreesClassifier": _forest,
    "sklearn.DecisionTreeClassifier": _forest,
    "sklearn.ExtraTreeClassifier": _forest,
    "sklearn.DummyClassifier": _constant,
    "sklearn.VotingClassifier": _voting,
}
"""Classifiers that compute probabilities in another way."""
