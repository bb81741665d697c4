"""Compile scikit-learn's transformers, which prepare columns for a model, to ONNX nodes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from tidemill.training.compiling.category_encoders import encode
from tidemill.training.compiling.foreign import transform_foreign
from tidemill.training.compiling.onnx_graph import CannotCompile, Graph, Table, Tensor
from tidemill.training.compiling.private_scikit import column_indices

__all__ = ["prepare"]

Step = Callable[[Graph, Any, Table], Table]

_FUNCTIONS: dict[Any, tuple[str, ...]] = {
    None: (),
    np.exp: ("Exp",),
    np.log: ("Log",),
    np.sqrt: ("Sqrt",),
    np.abs: ("Abs",),
}


def prepare(graph: Graph, step: Any, table: Table) -> Table:
    """Return the output of a fitted transformer for the columns.

    Raises:
        CannotCompile: there is no ONNX for it.
    """
    if step is None or step == "passthrough":
        return table
    own = _STEPS.get(type(step))
    if own is not None and type(step) in _CHECKS_NOTHING:
        return own(graph, step, table)
    graph.refuse_infinite(table)
    if own is not None:
        result = own(graph, step, table)
        graph.finite.update(result.columns)
        return result
    if hasattr(step, "get_support"):  # whatever it selects columns by
        if not step.__sklearn_tags__().input_tags.allow_nan:
            graph.refuse_unknown(graph.numbers(table))  # also for columns that it drops
        return table.take(step.get_support(indices=True).tolist())
    return transform_foreign(graph, step, table)


def _pipeline(graph: Graph, step: Any, table: Table) -> Table:
    for _, one in step.steps:
        table = prepare(graph, one, table)
    return table


def _by_column(graph: Graph, step: Any, table: Table) -> Table:
    joined = Table(())
    weights = step.transformer_weights or {}
    for name, one, _ in step.transformers_:
        indices = column_indices(step, name)
        if not indices or (isinstance(one, str) and one == "drop"):
            continue
        found = prepare(graph, one, table.take(indices))
        joined += _weighted(graph, found, weights.get(name))
    return joined


def _union(graph: Graph, step: Any, table: Table) -> Table:
    joined = Table(())
    weights = step.transformer_weights or {}
    for name, one in step.transformer_list:
        if not (isinstance(one, str) and one == "drop"):
            joined += _weighted(graph, prepare(graph, one, table), weights.get(name))
    return joined


def _weighted(graph: Graph, table: Table, weight: float | None) -> Table:
    if weight is None:
        return table
    return graph.tensor(graph.add("Mul", graph.numbers(table), _row(graph, [weight])), table.width)


def _impute(graph: Graph, step: Any, table: Table) -> Table:
    words = {tensor.kind for tensor, _ in table.columns} == {"word"}
    if not words and step.missing_values == step.missing_values and step.missing_values is not None:
        raise CannotCompile(f"its imputer takes {step.missing_values!r} for unknown")
    values = graph.dense(table) if words else graph.numbers(table)
    fill = np.asarray(step.statistics_)
    unknown = graph.add("Equal", values, _texts(graph, [""])) if words else graph.add("IsNaN", values)
    kept = [number for number, one in enumerate(fill) if step.keep_empty_features or one == one]
    if words:
        filled = graph.add("Where", unknown, _texts(graph, [str(one) for one in fill]), values)
    else:
        filled = graph.add("Where", unknown, _row(graph, fill.astype(np.float64)), values)
    result = Table.of(Tensor(filled, table.width, "word" if words else "number")).take(kept)
    if step.add_indicator:
        flags = graph.add("Cast", unknown, to=onnx.TensorProto.DOUBLE)
        result += graph.tensor(flags, table.width).take(step.indicator_.features_.tolist())
    return result


def _scale(graph: Graph, table: Table, shift: Any, scale: Any) -> Table:
    values = graph.numbers(table)
    if shift is not None:
        values = graph.add("Sub", values, _row(graph, shift))
    if scale is not None:
        values = graph.add("Div", values, _row(graph, scale))
    return graph.tensor(values, table.width)


def _standard(graph: Graph, step: Any, table: Table) -> Table:
    return _scale(graph, table, step.mean_ if step.with_mean else None, step.scale_)


def _robust(graph: Graph, step: Any, table: Table) -> Table:
    return _scale(graph, table, step.center_, step.scale_)


def _max_abs(graph: Graph, step: Any, table: Table) -> Table:
    return _scale(graph, table, None, step.scale_)


def _min_max(graph: Graph, step: Any, table: Table) -> Table:
    scaled = graph.add("Mul", graph.numbers(table), _row(graph, step.scale_))
    moved = graph.add("Add", scaled, _row(graph, step.min_))
    if step.clip:
        low, high = (graph.constant(np.float64(bound)) for bound in step.feature_range)
        moved = graph.add("Clip", moved, low, high)
    return graph.tensor(moved, table.width)


def _function(graph: Graph, step: Any, table: Table) -> Table:
    if step.kw_args or (step.func not in _FUNCTIONS and step.func is not np.log1p):
        name = getattr(step.func, "__name__", step.func)
        raise CannotCompile(f"it calls the Python function {name}, which ONNX does not know")
    if step.func is None:
        return table
    values = graph.numbers(table)
    if step.func is np.log1p:
        values = graph.add("Log", graph.add("Add", values, _row(graph, [1.0])))
    for operator in _FUNCTIONS.get(step.func, ()):
        values = graph.add(operator, values)
    return graph.tensor(values, table.width)


def _row(graph: Graph, values: npt.ArrayLike) -> str:
    return graph.constant(np.asarray(values, np.float64).reshape(1, -1))


def _texts(graph: Graph, values: list[str]) -> str:
    name = graph.name("texts")
    texts = [one.encode() for one in values]
    graph.constants.append(onnx.helper.make_tensor(name, onnx.TensorProto.STRING, [1, len(texts)], texts))
    return name


_STEPS: dict[type, Step] = {
    Pipeline: _pipeline,
    ColumnTransformer: _by_column,
    FeatureUnion: _union,
    SimpleImputer: _impute,
    StandardScaler: _standard,
    RobustScaler: _robust,
    MaxAbsScaler: _max_abs,
    MinMaxScaler: _min_max,
    FunctionTransformer: _function,
    OneHotEncoder: encode,
    OrdinalEncoder: encode,
    TargetEncoder: encode,
}
_CHECKS_NOTHING = {Pipeline, ColumnTransformer, FeatureUnion, FunctionTransformer}
"""Steps that let infinite values pass; all others of scikit-learn refuse them."""
