"""Convert parts of a model without nodes of our own by skl2onnx, and embed them in the graph."""

import logging
import warnings
from typing import Any

import numpy as np
import onnx
import onnxruntime
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

from tidemill.training.compiling.onnx_graph import ML, OPSETS, CannotCompile, Graph, Table

__all__ = ["predict_foreign", "transform_foreign"]

_INPUT = "values"
_GONE_IN_5 = {"TreeEnsembleClassifier", "TreeEnsembleRegressor"}


def transform_foreign(graph: Graph, step: Any, table: Table) -> Table:
    """Return the output of a transformer for columns of numbers.

    Raises:
        CannotCompile: skl2onnx does not know it either.
    """
    output, width = _embed(graph, step, table, {}, 0)
    if width is None:
        raise CannotCompile(f"it is not said how many columns {type(step).__name__} makes")
    return graph.tensor(output, width)


def predict_foreign(graph: Graph, model: Any, table: Table, width: int) -> str:
    """Return the probability of each class by a classifier, or the value of a regressor, shape (rows, width).

    Raises:
        CannotCompile: skl2onnx does not know it either, or it gives another number of columns.
    """
    if hasattr(model, "__sklearn_tags__") and not model.__sklearn_tags__().input_tags.allow_nan:
        graph.refuse_infinite(table)
        graph.refuse_unknown(graph.numbers(table))
    classifier = hasattr(model, "predict_proba")
    options = {id(model): {"zipmap": False}} if classifier else {}
    output, found = _embed(graph, model, table, options, int(classifier))
    if found not in (width, None):
        raise CannotCompile(f"{type(model).__name__} gives {found} columns, not {width}")
    return graph.add("Reshape", output, graph.constant(np.array([-1, width], np.int64)))


def _embed(
    graph: Graph, model: Any, table: Table, options: dict[int, dict[str, bool]], which: int
) -> tuple[str, int | None]:
    """Add the graph that skl2onnx makes, in double precision if it can; return its output."""
    values, kind = graph.numbers(table), type(model).__name__
    complaints = []
    for tensor_type in (DoubleTensorType, FloatTensorType):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                logging.getLogger("skl2onnx").setLevel(logging.ERROR)
                found = convert_sklearn(
                    model,
                    initial_types=[(_INPUT, tensor_type([None, table.width]))],
                    options=options or None,
                    target_opset={"": OPSETS[""], ML: 3},
                )
            _check(found)
        except Exception as error:  # noqa: BLE001 — converters fail in every way there is
            complaints.append(str(error).strip().splitlines()[0] if str(error).strip() else repr(error))
            continue
        shape = found.graph.output[which].type.tensor_type.shape.dim
        width = shape[1].dim_value if len(shape) == 2 and shape[1].dim_value else None
        output = graph.embed(found, values)[which]
        return graph.add("Cast", output, to=onnx.TensorProto.DOUBLE), width
    raise CannotCompile(f"{kind} cannot be converted: {complaints[-1][:200]}")


def _check(found: onnx.ModelProto) -> None:
    foreign = {node.domain for node in found.graph.node} - {"", ML}
    gone = {node.op_type for node in found.graph.node} & _GONE_IN_5
    if foreign or gone:
        raise CannotCompile(f"it needs operators that are not portable: {', '.join(sorted(foreign | gone))}")
    width = found.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    double = found.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.DOUBLE
    session = onnxruntime.InferenceSession(found.SerializeToString(), providers=["CPUExecutionProvider"])
    session.run(None, {_INPUT: np.zeros((1, width), np.float64 if double else np.float32)})
