"""Compile fitted classifiers to ONNX nodes that compute the probability of label 1."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import Pipeline

from tidemill.training.compiling import boosters, scikit_trees
from tidemill.training.compiling.foreign import predict_foreign
from tidemill.training.compiling.networks import network_output
from tidemill.training.compiling.onnx_graph import CannotCompile, Graph, Table
from tidemill.training.compiling.private_scikit import category_encoder
from tidemill.training.compiling.transformers import prepare
from tidemill.training.compiling.trees import LARGEST_FLOAT32, Ensemble, Tree, add_ensemble, add_trees

__all__ = [
    "class_name",
    "histogram_head",
    "probability",
    "scikit_trees_head",
    "tree_columns",
    "unwrapped",
]

Head = Callable[[Graph, Any, Table], str]


def probability(graph: Graph, model: Any, table: Table) -> str:
    """Return the probability of label 1, shape (rows, 1).

    Raises:
        CannotCompile: there is no ONNX for the model, or it knows other than two classes.
    """
    model, table = unwrapped(graph, model, table)
    classes = len(getattr(model, "classes_", [0, 1]))
    if classes != 2:
        raise CannotCompile(f"it knows {classes} classes, not two")
    direct = _DIRECT.get(class_name(model))
    if direct is not None:
        return direct(graph, model, table)
    if class_name(model) in _MARGINS:
        return graph.add("Sigmoid", _margin(graph, model, table))
    found = predict_foreign(graph, model, table, 2)
    return graph.add("Gather", found, graph.constant(np.array([1], np.int64)), axis=1)


def unwrapped(graph: Graph, model: Any, table: Table) -> tuple[Any, Table]:
    """Return the model inside pipelines and searches, and the columns that it takes."""
    while isinstance(model, Pipeline | GridSearchCV | RandomizedSearchCV):
        if isinstance(model, Pipeline):
            table = prepare(graph, model[:-1], table) if len(model.steps) > 1 else table
            model = model.steps[-1][1]
        else:
            model = model.best_estimator_
    return model, table


def _margin(graph: Graph, model: Any, table: Table) -> str:
    """Return the margin, the sigmoid's argument, shape (rows, 1); only for `_MARGINS`."""
    return _MARGINS[class_name(model)](graph, model, table)


def class_name(model: Any) -> str:
    """Return the full name of its class, without the modules between package and name."""
    kind = type(model)
    return f"{kind.__module__.partition('.')[0]}.{kind.__name__}"


def _linear(graph: Graph, model: Any, table: Table) -> str:
    graph.refuse_infinite(table)
    weights = graph.constant(np.asarray(model.coef_, np.float64).reshape(-1, 1))
    product = graph.add("MatMul", graph.numbers(table), weights)
    return graph.add("Add", product, graph.constant(np.asarray(model.intercept_, np.float64).reshape(1, 1)))


def _descent(graph: Graph, model: Any, table: Table) -> str:
    if model.loss != "log_loss":
        raise CannotCompile(f"its loss is {model.loss!r}, which gives no plain logistic probability")
    return _linear(graph, model, table)


def _trees(read: Callable[[Any], Ensemble]) -> Head:
    return lambda graph, model, table: add_ensemble(graph, read(model), table)


def scikit_trees_head(read: Callable[[Any], Ensemble]) -> Head:
    """Return a head that adds the trees that ``read`` finds in a model of scikit-learn."""

    def head(graph: Graph, model: Any, table: Table) -> str:
        values = graph.numbers(table)
        tree_columns(graph, model, table, values)
        return add_trees(graph, read(model), values)

    return head


def tree_columns(graph: Graph, model: Any, table: Table, values: str) -> None:
    """Refuse rows that scikit-learn's trees do not take: infinite in 32 bits, or with gaps they never saw."""
    graph.refuse_infinite(table, LARGEST_FLOAT32)
    if not _takes_unknown(model):
        graph.refuse_unknown(values)


def _histogram_columns(graph: Graph, model: Any, table: Table) -> Table:
    """Return the columns as a histogram gradient boosting sees them: categories first, as codes."""
    encoder = category_encoder(model)
    if encoder is None:
        return table
    categories = np.asarray(model.is_categorical_)
    encoded = prepare(graph, encoder, table.take(np.flatnonzero(categories).tolist()))
    return encoded + table.take(np.flatnonzero(~categories).tolist())


def histogram_head(graph: Graph, model: Any, table: Table) -> str:
    """Add the trees of a histogram gradient boosting; return what they add up to."""
    columns = graph.numbers(_histogram_columns(graph, model, table))
    return add_trees(graph, scikit_trees.histogram_boosted(model), columns)


def _boosted(graph: Graph, model: Any, table: Table) -> str:
    values = graph.numbers(table)
    tree_columns(graph, model, table, values)
    margin = add_trees(graph, scikit_trees.boosted(model), values)
    exponential = model.loss == "exponential"
    return graph.add("Mul", margin, graph.constant(np.array([2.0]))) if exponential else margin


def _takes_unknown(model: Any) -> bool:
    if hasattr(model, "init_"):  # gradient boosting
        return False
    one = model.estimators_[0] if hasattr(model, "estimators_") else model
    return bool(one.__sklearn_tags__().input_tags.allow_nan)


def _constant(graph: Graph, model: Any, table: Table) -> str:
    if model.strategy != "prior":
        raise CannotCompile(f"its strategy is {model.strategy!r}")
    return add_trees(graph, Ensemble([Tree.leaf(float(model.class_prior_[1]))]), graph.numbers(table))


def _voting(graph: Graph, model: Any, table: Table) -> str:
    if model.voting != "soft":
        raise CannotCompile("its members vote for labels, not for probabilities")
    members = model.estimators_
    weights = [1.0] * len(model.estimators) if model.weights is None else model.weights
    given = [weight for weight, (_, one) in zip(weights, model.estimators, strict=True) if one != "drop"]
    total = None
    for one, weight in zip(members, np.asarray(given, np.float64) / np.sum(given), strict=True):
        part = graph.add("Mul", probability(graph, one, table), graph.constant(np.array([weight])))
        total = part if total is None else graph.add("Add", total, part)
    if total is None:
        raise CannotCompile("it has no members")
    return total


def _calibrated(graph: Graph, model: Any, table: Table) -> str:
    total = None
    for one in model.calibrated_classifiers_:
        if one.method != "sigmoid":
            raise CannotCompile(f"it is calibrated by {one.method!r}")
        inner, [calibrator] = one.estimator, one.calibrators
        inner = getattr(inner, "estimator", inner) if type(inner).__name__ == "FrozenEstimator" else inner
        if hasattr(inner, "decision_function"):
            score = _decision(graph, inner, table)
        else:
            score = probability(graph, inner, table)
        scaled = graph.add("Mul", score, graph.constant(np.array([-float(calibrator.a_)])))
        found = graph.add(
            "Sigmoid", graph.add("Sub", scaled, graph.constant(np.array([float(calibrator.b_)])))
        )
        total = found if total is None else graph.add("Add", total, found)
    if total is None:
        raise CannotCompile("it has no members")
    return graph.add("Div", total, graph.constant(np.array([float(len(model.calibrated_classifiers_))])))


def _decision(graph: Graph, model: Any, table: Table) -> str:
    model, table = unwrapped(graph, model, table)
    if class_name(model) not in _MARGINS or getattr(model, "loss", None) == "exponential":
        raise CannotCompile(f"the margin of {type(model).__name__} is not known")
    return _margin(graph, model, table)


def _stacked(graph: Graph, model: Any, table: Table) -> str:
    columns = Table(())
    for one, method in zip(model.estimators_, model.stack_method_, strict=True):
        if method not in ("predict_proba", "decision_function"):
            raise CannotCompile(f"its members are asked by {method}")
        ask = probability if method == "predict_proba" else _decision
        answer = ask(graph, one, table)
        graph.refuse_unknown(answer)  # the final model might take NaN for a value
        columns += graph.tensor(answer, 1)
    return probability(graph, model.final_estimator_, columns + table if model.passthrough else columns)


_MARGINS: dict[str, Head] = {
    "sklearn.LogisticRegression": _linear,
    "sklearn.LogisticRegressionCV": _linear,
    "sklearn.SGDClassifier": _descent,
    "sklearn.HistGradientBoostingClassifier": histogram_head,
    "sklearn.GradientBoostingClassifier": _boosted,
    "sklearn.MLPClassifier": network_output,
    "xgboost.XGBClassifier": _trees(boosters.xgboost),
    "xgboost.XGBRFClassifier": _trees(boosters.xgboost),
    "catboost.CatBoostClassifier": _trees(boosters.catboost),
    "lightgbm.LGBMClassifier": _trees(boosters.lightgbm),
    "lightgbm.Booster": _trees(boosters.lightgbm),
}
"""Classifiers whose probability is the sigmoid of a margin."""

_DIRECT: dict[str, Head] = {
    "sklearn.RandomForestClassifier": scikit_trees_head(scikit_trees.forest),
    "sklearn.ExtraTreesClassifier": scikit_trees_head(scikit_trees.forest),
    "sklearn.DecisionTreeClassifier": scikit_trees_head(scikit_trees.single_tree),
    "sklearn.ExtraTreeClassifier": scikit_trees_head(scikit_trees.single_tree),
    "sklearn.DummyClassifier": _constant,
    "sklearn.VotingClassifier": _voting,
    "sklearn.CalibratedClassifierCV": _calibrated,
    "sklearn.StackingClassifier": _stacked,
}
"""Classifiers that compute a probability in another way."""
