"""Export PyTorch modules to ONNX with PyTorch's own exporter."""

import io
import logging
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from tidemill.training.compiling.onnx_graph import CannotCompile, Graph, Table

__all__ = ["add_module", "module_scores"]

_INPUT, _OUTPUT = "values", "answer"


def module_scores(module: Any, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the probability of label 1 that a module computes, shape (rows,).

    Args:
        module: takes numbers, shape (rows, features), in the precision of its parameters; gives shape
            (rows,), (rows, 1), or (rows, 2) with the probability of label 1 last.
        matrix: shape (rows, features).
    """
    import torch  # an optional package

    values = torch.from_numpy(np.ascontiguousarray(matrix)).to(_precision(module))
    with torch.no_grad():
        found = module.eval()(values)
    return np.asarray(found.reshape(len(matrix), -1)[:, -1].double().numpy())


def add_module(graph: Graph, module: Any, table: Table) -> str:
    """Add what PyTorch exports; return the probability of label 1, shape (rows, 1).

    Raises:
        CannotCompile: PyTorch cannot export it, or it does not give probabilities.
    """
    import torch

    example = torch.zeros((2, table.width), dtype=_precision(module))
    with torch.no_grad():
        answer = module.eval()(example)
    if answer.shape not in ((2,), (2, 1), (2, 2)):
        raise CannotCompile(f"it gives shape {tuple(answer.shape)} for 2 rows, not one probability a row")
    if not bool(((answer >= 0) & (answer <= 1)).all()):
        raise CannotCompile("it gives values outside 0 … 1: end it with a sigmoid")
    [given] = graph.embed(_export(module, example), graph.numbers(table))
    width = answer[0].numel()
    wide = graph.add("Reshape", given, graph.constant(np.array([-1, width])))
    last = graph.add("Gather", wide, graph.constant(np.array([width - 1])), axis=1)
    return graph.add("Cast", last, to=onnx.TensorProto.DOUBLE)


def _precision(module: Any) -> Any:
    import torch

    return next((one.dtype for one in module.parameters() if one.is_floating_point()), torch.float64)


def _export(module: Any, example: Any) -> onnx.ModelProto:
    import torch

    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            module,
            (example,),
            content,
            input_names=[_INPUT],
            output_names=[_OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("rows")},),
            opset_version=19,
            external_data=False,
            dynamo=True,
            verbose=False,
        )
    return onnx.load_model_from_string(content.getvalue())
