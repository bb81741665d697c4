"""Compile fitted regressors to ONNX nodes that compute the value."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tidemill.training.compiling import boosters, scikit_trees
from tidemill.training.compiling.foreign import predict_foreign
from tidemill.training.compiling.heads import class_name, histogram_head, scikit_trees_head, unwrapped
from tidemill.training.compiling.networks import network_output
from tidemill.training.compiling.onnx_graph import CannotCompile, Graph, Table
from tidemill.training.compiling.trees import Ensemble, Tree, add_ensemble, add_trees

__all__ = ["value"]

Head = Callable[[Graph, Any, Table], str]


def value(graph: Graph, model: Any, table: Table) -> str:
    """Return the value that a regressor gives, shape (rows, 1).

    Raises:
        CannotCompile: there is no ONNX for the model, or it gives several values a row.
    """
    model, table = unwrapped(graph, model, table)
    if hasattr(model, "predict_proba"):
        raise CannotCompile("it is a classifier, and the task is a regression")
    head = _HEADS.get(class_name(model))
    return predict_foreign(graph, model, table, 1) if head is None else head(graph, model, table)


def _linear(graph: Graph, model: Any, table: Table) -> str:
    weights = np.asarray(model.coef_, np.float64)
    if weights.size != table.width:
        raise CannotCompile("it gives several values a row")
    graph.refuse_infinite(table)
    product = graph.add("MatMul", graph.numbers(table), graph.constant(weights.reshape(-1, 1)))
    shift = np.asarray(model.intercept_, np.float64).reshape(1, 1)
    return graph.add("Add", product, graph.constant(shift))


def _exponential(graph: Graph, model: Any, table: Table) -> str:
    return graph.add("Exp", _linear(graph, model, table))


def _histogram(graph: Graph, model: Any, table: Table) -> str:
    found = histogram_head(graph, model, table)
    return graph.add("Exp", found) if model.loss in ("poisson", "gamma") else found


def _boosted_elsewhere(read: Callable[[Any], tuple[Ensemble, str | None]]) -> Head:
    def head(graph: Graph, model: Any, table: Table) -> str:
        ensemble, link = read(model)
        found = add_ensemble(graph, ensemble, table)
        return found if link is None else graph.add(link, found)

    return head


def _constant(graph: Graph, model: Any, table: Table) -> str:
    if np.size(model.constant_) != 1:
        raise CannotCompile("it gives several values a row")
    return add_trees(graph, Ensemble([Tree.leaf(float(np.ravel(model.constant_)[0]))]), graph.numbers(table))


def _voting(graph: Graph, model: Any, table: Table) -> str:
    weights = [1.0] * len(model.estimators) if model.weights is None else model.weights
    given = [weight for weight, (_, one) in zip(weights, model.estimators, strict=True) if one != "drop"]
    parts = [
        graph.add("Mul", value(graph, one, table), graph.constant(np.array([weight])))
        for one, weight in zip(model.estimators_, np.asarray(given, np.float64) / np.sum(given), strict=True)
    ]
    return graph.add("Sum", *parts)


def _stacked(graph: Graph, model: Any, table: Table) -> str:
    columns = Table(())
    for one in model.estimators_:
        answer = value(graph, one, table)
        graph.refuse_unknown(answer)  # the final model might take NaN for a value
        columns += graph.tensor(answer, 1)
    return value(graph, model.final_estimator_, columns + table if model.passthrough else columns)


def _of_transformed(graph: Graph, model: Any, table: Table) -> str:
    """Return the value of a model that was fitted to a function of the target."""
    inner = value(graph, model.regressor_, table)
    if model.inverse_func is np.expm1:
        return graph.add("Sub", graph.add("Exp", inner), graph.constant(np.array([1.0])))
    if model.inverse_func is np.exp:
        return graph.add("Exp", inner)
    scaler = model.transformer_
    if model.inverse_func is None and type(scaler).__name__ == "StandardScaler":
        scale, shift = (np.ones(1) if scaler.scale_ is None else scaler.scale_), scaler.mean_
        scaled = graph.add("Mul", inner, graph.constant(np.asarray(scale, np.float64)))
        return scaled if shift is None else graph.add("Add", scaled, graph.constant(np.asarray(shift)))
    raise CannotCompile("the function of its target is not log1p, log or standardising")


_HEADS: dict[str, Head] = {
    **dict.fromkeys(
        (
            "sklearn.LinearRegression",
            "sklearn.Ridge",
            "sklearn.RidgeCV",
            "sklearn.Lasso",
            "sklearn.LassoCV",
            "sklearn.ElasticNet",
            "sklearn.ElasticNetCV",
            "sklearn.HuberRegressor",
            "sklearn.QuantileRegressor",
            "sklearn.BayesianRidge",
            "sklearn.SGDRegressor",
            "sklearn.LinearSVR",
        ),
        _linear,
    ),
    "sklearn.PoissonRegressor": _exponential,
    "sklearn.GammaRegressor": _exponential,
    "sklearn.HistGradientBoostingRegressor": _histogram,
    "sklearn.GradientBoostingRegressor": scikit_trees_head(scikit_trees.boosted),
    "sklearn.RandomForestRegressor": scikit_trees_head(scikit_trees.forest_of_values),
    "sklearn.ExtraTreesRegressor": scikit_trees_head(scikit_trees.forest_of_values),
    "sklearn.DecisionTreeRegressor": scikit_trees_head(scikit_trees.forest_of_values),
    "sklearn.ExtraTreeRegressor": scikit_trees_head(scikit_trees.forest_of_values),
    "sklearn.MLPRegressor": network_output,
    "sklearn.DummyRegressor": _constant,
    "sklearn.VotingRegressor": _voting,
    "sklearn.StackingRegressor": _stacked,
    "sklearn.TransformedTargetRegressor": _of_transformed,
    "xgboost.XGBRegressor": _boosted_elsewhere(boosters.xgboost_value),
    "xgboost.XGBRFRegressor": _boosted_elsewhere(boosters.xgboost_value),
    "catboost.CatBoostRegressor": _boosted_elsewhere(lambda model: (boosters.catboost(model), None)),
    "lightgbm.LGBMRegressor": _boosted_elsewhere(boosters.lightgbm_value),
    "lightgbm.Booster": _boosted_elsewhere(boosters.lightgbm_value),
}
