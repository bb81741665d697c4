"""A builder of an ONNX graph, and the columns that pass through it.

Everything is computed in double precision, as scikit-learn does: thresholds of trees are compared with the
very numbers that the original sees, so that no row takes another branch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import compose, helper, numpy_helper

from tidemill.tasks.task_names import TaskName

__all__ = ["INPUT", "ML", "OPSETS", "OUTPUTS", "WORDS", "CannotCompile", "Graph", "Table", "Tensor"]

INPUT = "features"
"""Input with the numbers: double, shape (rows, features); NaN where nothing is known."""
WORDS = "words"
"""Input with the columns of text, if there are any: shape (rows, columns); "" where nothing is known."""
OUTPUTS: dict[TaskName, str] = {
    "binary": "probability",
    "multiclass": "probabilities",
    "regression": "value",
}
"""Output by task: shape (rows, 1), or (rows, classes) for several; NaN where the original would raise an
error."""
ML = "ai.onnx.ml"
OPSETS = {"": 19, ML: 5}
_IR = 10
_LARGEST = float(np.finfo(np.float64).max)
_NUMBERS, _TEXT, _INDICES = onnx.TensorProto.DOUBLE, onnx.TensorProto.STRING, onnx.TensorProto.INT64


class CannotCompile(Exception):
    """A model, or a part of it, that has no ONNX form here. Never leaves this package."""


@dataclass(frozen=True)
class Tensor:
    """A value of the graph, shape (rows, width)."""

    name: str
    width: int
    kind: Literal["number", "word"] = "number"


@dataclass(frozen=True)
class Table:
    """Columns, each from some tensor. Selecting and joining them adds no nodes until they are used."""

    columns: tuple[tuple[Tensor, int], ...]

    @classmethod
    def of(cls, tensor: Tensor) -> "Table":
        """Return all columns of a tensor."""
        return cls(tuple((tensor, index) for index in range(tensor.width)))

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(self.columns)

    def take(self, indices: Iterable[int]) -> "Table":
        """Return some of the columns."""
        return Table(tuple(self.columns[index] for index in indices))

    def __add__(self, other: "Table") -> "Table":
        return Table(self.columns + other.columns)


@dataclass
class Graph:
    """Collects nodes and constants; names are unique by number."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    """Values of booleans, shape (rows, 1): where one is true the original would raise an error."""
    finite: set[tuple[Tensor, int]] = field(default_factory=set)
    """Columns whose infinite values are refused already."""

    def name(self, what: str) -> str:
        """Return an unused name."""
        return f"{what.lower()}_{len(self.nodes)}_{len(self.constants)}"

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output, and return the name of that."""
        output = self.name(operator)
        self.nodes.append(helper.make_node(operator, list(inputs), [output], domain=domain, **attributes))
        return output

    def constant(self, values: npt.ArrayLike) -> str:
        """Add a constant and return its name."""
        name = self.name("constant")
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def tensor(self, name: str, width: int) -> Table:
        """Return the columns of a value of numbers, shape (rows, width)."""
        return Table.of(Tensor(name, width))

    def dense(self, table: Table) -> str:
        """Return one value of all the columns in order, shape (rows, columns)."""
        if not table.width:
            raise CannotCompile("a step has no columns")
        if len({tensor.kind for tensor, _ in table.columns}) > 1:
            raise CannotCompile("a step mixes text and numbers")
        parts = []
        for tensor, run in groupby(table.columns, key=lambda column: column[0]):
            indices = [index for _, index in run]
            whole = indices == list(range(tensor.width))
            parts.append(
                tensor.name
                if whole
                else self.add("Gather", tensor.name, self.constant(np.array(indices, np.int64)), axis=1)
            )
        return parts[0] if len(parts) == 1 else self.add("Concat", *parts, axis=1)

    def numbers(self, table: Table) -> str:
        """Return `dense` columns of numbers.

        Raises:
            CannotCompile: some are text.
        """
        if any(tensor.kind == "word" for tensor, _ in table.columns):
            raise CannotCompile("a step that takes numbers is given text")
        return self.dense(table)

    def embed(self, model: onnx.ModelProto, values: str) -> list[str]:
        """Add another model that takes ``values``; return the names of its outputs.

        Args:
            model: has one input, of numbers in the precision that it declares.
            values: shape (rows, columns), double.
        """
        inner = compose.add_prefix(model, self.name("embedded") + "_").graph
        given = self.add("Cast", values, to=inner.input[0].type.tensor_type.elem_type)
        self.nodes.append(helper.make_node("Identity", [given], [inner.input[0].name]))
        self.nodes.extend(inner.node)
        self.constants.extend(inner.initializer)
        return [output.name for output in inner.output]

    def refuse_unknown(self, values: str) -> None:
        """Make the answer NaN for rows with a NaN in ``values``, shape (rows, columns)."""
        missing = self.add("Cast", self.add("IsNaN", values), to=onnx.TensorProto.INT64)
        axis = self.constant(np.array([1], np.int64))
        self.invalid.append(
            self.add("Cast", self.add("ReduceMax", missing, axis, keepdims=1), to=onnx.TensorProto.BOOL)
        )

    def refuse_infinite(self, table: Table, largest: float = _LARGEST) -> None:
        """Make the answer NaN for rows with a number beyond ``largest``, as scikit-learn refuses them."""
        columns = [column for column in table.columns if column[0].kind == "number"]
        if largest == _LARGEST:
            columns = [column for column in columns if column not in self.finite]
        if not columns:
            return
        size = self.add("Abs", self.numbers(Table(tuple(columns))))
        beyond = self.add("Cast", self.add("Greater", size, self.constant(np.array([largest]))), to=_INDICES)
        axis = self.constant(np.array([1], np.int64))
        self.invalid.append(
            self.add("Cast", self.add("ReduceMax", beyond, axis, keepdims=1), to=onnx.TensorProto.BOOL)
        )
        self.finite.update(columns)

    def model(self, answer: str, output: str, width: int, numbers: int, words: int) -> onnx.ModelProto:
        """Return the model that computes ``answer``, shape (rows, width).

        Args:
            answer: name of the value.
            output: what the model calls it, one of `OUTPUTS`.
            width: its number of columns.
            numbers: width of the input `INPUT`.
            words: width of the input `WORDS`; 0 for none.
        """
        for invalid in self.invalid:
            answer = self.add("Where", invalid, self.constant(np.array([[np.nan]])), answer)
        self.nodes.append(helper.make_node("Identity", [answer], [output]))
        inputs = [(INPUT, _NUMBERS, numbers), (WORDS, _TEXT, words)]
        graph = helper.make_graph(
            self.nodes,
            "tidemill",
            [helper.make_tensor_value_info(name, kind, ["rows", n]) for name, kind, n in inputs if n],
            [helper.make_tensor_value_info(output, _NUMBERS, ["rows", width])],
            self.constants,
        )
        opsets = [helper.make_opsetid(domain, number) for domain, number in OPSETS.items()]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR, producer_name="tidemill")


def inputs_of(kinds: Sequence[Literal["number", "word"]]) -> Table:
    """Return the columns of the inputs, given what each column holds.

    >>> inputs_of(["number", "word", "number"]).columns[2]
    (Tensor(name='features', width=2, kind='number'), 1)
    """
    numbers = Tensor(INPUT, kinds.count("number"))
    words = Tensor(WORDS, kinds.count("word"), "word")
    seen = {"number": 0, "word": 0}
    columns = []
    for kind in kinds:
        columns.append((numbers if kind == "number" else words, seen[kind]))
        seen[kind] += 1
    return Table(tuple(columns))
