"""Compile scikit-learn's multi-layer perceptrons to ONNX nodes in double precision."""

from typing import Any

import numpy as np

from tidemill.training.compiling.onnx_graph import CannotCompile, Graph, Table

__all__ = ["network_output"]

_ACTIVATIONS = {"identity": None, "relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid"}


def network_output(graph: Graph, model: Any, table: Table) -> str:
    """Return the output of the last layer before its own activation, shape (rows, outputs).

    Raises:
        CannotCompile: the activation of a layer is not known, or it gives several values a row.
    """
    regression = not hasattr(model, "classes_")
    if regression and (model.n_outputs_ != 1 or model.out_activation_ != "identity"):
        raise CannotCompile(f"it gives {model.n_outputs_} values a row by {model.out_activation_!r}")
    graph.refuse_infinite(table)
    values = graph.numbers(table)
    graph.refuse_unknown(values)
    last = len(model.coefs_) - 1
    for number, (weights, shift) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        product = graph.add("MatMul", values, graph.constant(np.asarray(weights, np.float64)))
        values = graph.add("Add", product, graph.constant(np.asarray(shift, np.float64).reshape(1, -1)))
        operator = _ACTIVATIONS[model.activation]
        if number < last and operator is not None:
            values = graph.add(operator, values)
    return values
