"""Run a compiled model with onnxruntime, after checking that its file is safe."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pandas as pd
from google.protobuf.message import DecodeError

from tidemill.errors import ModelUnsafe
from tidemill.training.compiling.onnx_graph import INPUT, ML, OUTPUTS, WORDS
from tidemill.training.compiling.private_onnxruntime import LOAD_ERRORS, inner_run

__all__ = ["Session", "check_content", "open_session"]

_DOMAINS = {"", "ai.onnx", ML}
_SEVERAL = OUTPUTS["multiclass"]
_BLOCK = 16_384
_EMPTY = "\x1f the empty text"
"""Replaces empty text, an unknown category for every model, because "" means "not known"."""


@dataclass(frozen=True)
class Session:
    """A compiled model that is ready to answer. Threads may share it."""

    features: tuple[str, ...]
    words: tuple[int, ...]
    """Places of the columns that hold text."""
    run: Any = field(repr=False)
    """onnxruntime's inner ``run``, without the Python checks, which take as long as a small model."""
    output: str = OUTPUTS["binary"]
    """The name of the answer, one of `OUTPUTS`."""
    width: int = 1
    """The number of columns of the answer."""
    content: bytes = field(default=b"", repr=False)
    """The model itself, so that another process can open it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open_session, (self.content, self.features, self.words)

    def score(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the answers, one a row, in the form of `tidemill.tasks.task.Answers`.

        They are NaN where the original would raise an error.

        Args:
            matrix: shape (rows, features), float64, in order; NaN means "not known".
        """
        return self._answers({INPUT: matrix}, len(matrix))

    def mixed(
        self, matrix: npt.NDArray[np.float64], texts: Sequence[Sequence[str | None]]
    ) -> npt.NDArray[np.float64]:
        """Return what `score` does, for a model that takes text.

        Args:
            matrix: the features that are numbers, shape (rows, numbers), float64, in order.
            texts: the text features of each row, in order; None means "not known".
        """
        words = [["" if text is None else text or _EMPTY for text in row] for row in texts]
        feeds: dict[str, npt.NDArray[Any]] = {WORDS: np.array(words, dtype=object)}
        if matrix.shape[1]:
            feeds[INPUT] = matrix
        return self._answers(feeds, len(matrix))

    def predict(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return the answers for rows with columns by name, text among them."""
        if not self.words:
            return self.score(np.ascontiguousarray(frame[list(self.features)].to_numpy(np.float64)))
        words = [self.features[place] for place in self.words]
        numbers = [name for name in self.features if name not in words]
        given = frame[words].astype(object)
        texts = given.where(given != "", _EMPTY).where(given.notna(), "").to_numpy(object)
        feeds: dict[str, npt.NDArray[Any]] = {WORDS: texts}
        if numbers:
            feeds[INPUT] = np.ascontiguousarray(frame[numbers].to_numpy(np.float64))
        return self._answers(feeds, len(frame))

    def _answers(self, feeds: dict[str, npt.NDArray[Any]], rows: int) -> npt.NDArray[np.float64]:
        found: npt.NDArray[np.float64]
        if self.output != _SEVERAL:
            if not rows:  # not every operator accepts zero rows
                return np.empty(0)
            found = self.run([self.output], feeds, None)[0]
            return found.reshape(-1)
        if not rows:
            return np.empty((0, self.width))
        # The probabilities that the trees of a forest give to each class are all in memory at once.
        parts = [
            self.run([_SEVERAL], {name: one[start : start + _BLOCK] for name, one in feeds.items()}, None)[0]
            for start in range(0, rows, _BLOCK)
        ]
        found = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return found


def open_session(content: bytes, features: Sequence[str], words: Sequence[int] = ()) -> Session:
    """Check and load a compiled model, to run on one thread.

    Raises:
        ModelUnsafe: the file is damaged, reads other files, or needs operators that are not ONNX's own.
    """
    output = check_content(content).graph.output[0]
    shape = output.type.tensor_type.shape.dim
    run = inner_run(start(content))
    width = shape[-1].dim_value if shape else 1
    return Session(tuple(features), tuple(words), run, output.name, width, content)


def start(content: bytes) -> onnxruntime.InferenceSession:
    """Load a checked model into onnxruntime.

    Raises:
        ModelUnsafe: onnxruntime cannot load it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # it would keep the memory of the largest batch for ever
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except LOAD_ERRORS as error:
        raise ModelUnsafe(
            f"onnxruntime cannot load the model: {error}",
            hint="export it again, with operators that onnxruntime has",
        ) from error


def check_content(content: bytes) -> onnx.ModelProto:
    """Refuse an ONNX file that would read other files or run code that is not ONNX's own.

    Raises:
        ModelUnsafe: the message names the file or operator.
    """
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise ModelUnsafe(f"the file is not an ONNX model: {error}", hint="export it again") from error
    own = {(function.domain, function.name) for function in model.functions}
    for node in _nodes(model):
        if node.domain not in _DOMAINS and (node.domain, node.op_type) not in own:
            raise ModelUnsafe(
                f"the model needs the operator {node.domain}.{node.op_type}, which is not one of ONNX's",
                hint="export it again with standard operators only",
            )
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise ModelUnsafe(
                f"the model keeps {tensor.name or 'a tensor'!r} in another file, which is not read",
                hint="save it as one file",
            )
    return model


def _nodes(model: onnx.ModelProto) -> Iterator[Any]:
    waiting: list[Any] = [*model.graph.node, *(node for one in model.functions for node in one.node)]
    while waiting:
        node = waiting.pop()
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                waiting.extend(graph.node)


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    graphs = [model.graph]
    for node in _nodes(model):
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            graphs += [attribute.g, *attribute.graphs]
    for graph in graphs:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
