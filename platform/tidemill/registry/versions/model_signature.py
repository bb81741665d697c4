"""What a saved model takes and gives: its features, and the order of its outputs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from mlflow.models import Model

from tidemill.registry.versions.loaded_model import Matrix, Scorer, Scores, Texts
from tidemill.tasks.target_labels import class_text
from tidemill.tasks.task import Answers, Task
from tidemill.training.feature_table import element_names

__all__ = [
    "LISTS",
    "TENSOR",
    "Kind",
    "ModelSignature",
    "RowTensor",
    "array_inputs",
    "column_types",
    "row_tensor",
    "whole",
    "with_arrays",
    "with_types",
]

Kind = Literal["onnx", "skops", "native", "pyfunc"]
LISTS = "tidemill.lists"
"""Metadata of an MLflow model: the inputs that it takes as arrays, and the length of each."""
TENSOR = "tidemill.tensor"
"""Metadata of an MLflow model: the columns that its only input, a tensor without a name, is made of."""


@dataclass(frozen=True)
class ModelSignature:
    """The features of a saved model, and what its outputs mean.

    >>> from tidemill.tasks.binary import Binary
    >>> found = ModelSignature(("wind",), (), Binary("", classes=("no", "yes")), places=(1, 0))
    >>> found.answers([[0.75, 0.25]]).tolist()  # the first output is that of "yes"
    [0.75]
    >>> found.answers(pd.DataFrame({"no": [0.75], "yes": [0.25]})).tolist()  # names say more
    [0.25]
    """

    features: tuple[str, ...]
    words: tuple[str, ...]
    """Those that are text."""
    task: Task
    places: tuple[int, ...] = ()
    """The place of each output among the task's classes; empty where they have that order."""

    def answers(self, output: Any) -> Answers:
        """Return the task's answers in what the model gives for some rows.

        Raises:
            ValueError: its shape is not that of the task's answers.
        """
        output, classes = whole(output), tuple(getattr(self.task, "classes", ()))
        names = [class_text(name) for name in getattr(output, "columns", ())]
        if classes and sorted(names) == sorted(classes):  # a frame that names its classes
            return self.task.from_output(output.iloc[:, [names.index(name) for name in classes]].to_numpy())
        if not self.places:
            return self.task.from_output(output)
        found = np.asarray(output, dtype=np.float64)
        found = found.reshape(len(found), -1)
        if found.shape[1] == 1 and len(self.places) == 2:
            found = np.column_stack([1 - found, found])
        every = np.zeros((len(found), len(getattr(self.task, "classes", ()))))
        every[:, list(self.places)] = found
        return self.task.from_output(every)

    def scorer(
        self, version: str, by_name: Callable[[pd.DataFrame], Scores], kind: Kind, model: Any
    ) -> Scorer:
        """Return the scorer of a model that takes frames."""
        names, words = list(self.features), list(self.words)
        numbers = [name for name in names if name not in self.words]

        def score(matrix: Matrix) -> Scores:
            return by_name(pd.DataFrame(matrix, columns=names, copy=False))

        def mixed(matrix: Matrix, texts: Texts) -> Scores:
            frame = pd.DataFrame(matrix, columns=numbers, copy=False)
            given = pd.DataFrame(np.array(texts, dtype=object), columns=words)
            return by_name(pd.concat([frame, given], axis=1)[names])

        found = Scorer(version, self.features, score, kind, None, model, task=self.task, places=self.places)
        return replace(found, by_name=by_name, words=self.words, mixed=mixed) if words else found


def whole(output: Any) -> Any:
    """Return what a model gives, a list in place of a generator, which can be read once only.

    >>> whole(number + 1 for number in (1, 2))
    [2, 3]
    """
    return list(output) if isinstance(output, Iterator) else output


def array_inputs(described: Model) -> dict[str, Any]:
    """Return the inputs that a model's signature wants as one array a row, with the type of its numbers.

    >>> from mlflow.models import ModelSignature
    >>> from mlflow.types import ColSpec, DataType, Schema
    >>> from mlflow.types.schema import Array
    >>> inputs = Schema([ColSpec(Array(DataType.float), "image"), ColSpec(DataType.double, "age")])
    >>> array_inputs(Model(signature=ModelSignature(inputs)))
    {'image': dtype('float32')}
    """
    inputs = getattr(described.signature, "inputs", None)
    found = {}
    for one in inputs or ():
        shape = getattr(one, "shape", None)  # of a tensor
        inner: Any = getattr(one.type, "dtype", None) if shape is None else None  # of a column of arrays
        if one.name is not None and shape is not None and len(shape) > 1:
            found[str(one.name)] = one.type
        elif hasattr(inner, "to_numpy"):
            found[str(one.name)] = np.dtype(inner.to_numpy())
    return found


def with_arrays(frame: pd.DataFrame, arrays: Mapping[str, Any]) -> pd.DataFrame:
    """Return a frame with one column of arrays for each list, in place of the columns of its elements.

    Args:
        frame: with columns ``<list>.0``, ``<list>.1`` and so on.
        arrays: the type of the numbers of each list; one that the frame does not have is left out.

    >>> with_arrays(pd.DataFrame({"e.0": [1.0], "e.1": [2.0], "age": [9.0]}), {"e": np.dtype("float32")})
       age           e
    0  9.0  [1.0, 2.0]
    """
    made = {}
    for name, kind in arrays.items():
        width = sum(column.rpartition(".")[0] == name for column in map(str, frame.columns))
        columns = [column for column in element_names(name, width) if column in frame.columns]
        if columns:
            made[name] = pd.Series(list(frame[columns].to_numpy(kind)), index=frame.index, dtype=object)
            frame = frame.drop(columns=columns)
    return frame.assign(**made) if made else frame


@dataclass(frozen=True)
class RowTensor:
    """A tensor that holds all features of each row, as PyTorch and Keras take them.

    >>> RowTensor(np.dtype("float32"), (2, 1)).of(pd.DataFrame({"a": [1.0, 3.0], "b": [2.0, 4.0]})).tolist()
    [[[1.0], [2.0]], [[3.0], [4.0]]]
    """

    kind: np.dtype[Any]
    inner: tuple[int, ...]
    """Its shape without the rows; one of the numbers may be -1."""

    def of(self, frame: pd.DataFrame) -> Any:
        """Return the tensor of some rows.

        Raises:
            ValueError: a value is no number of the tensor's type, such as a gap among whole numbers.
        """
        values = frame.to_numpy(np.float64)
        found = values if self.kind.kind == "f" else np.nan_to_num(values)
        found = found.astype(self.kind)
        if self.kind.kind != "f" and not np.array_equal(found, values):
            raise ValueError(f"a gap, or a number that {self.kind} does not have, is among the features")
        return found.reshape(len(values), *self.inner)


def row_tensor(described: Model) -> RowTensor | None:
    """Return the tensor that is a model's only input; None if it has other inputs.

    >>> from mlflow.models import ModelSignature
    >>> from mlflow.types import Schema, TensorSpec
    >>> row_tensor(Model(signature=ModelSignature(Schema([TensorSpec(np.dtype("float32"), (-1, 2))]))))
    RowTensor(kind=dtype('float32'), inner=(2,))
    """
    inputs = list(getattr(described.signature, "inputs", None) or ())
    if len(inputs) != 1 or inputs[0].name is not None or not hasattr(inputs[0], "shape"):
        return None
    return RowTensor(np.dtype(inputs[0].type), tuple(map(int, inputs[0].shape[1:])))


def column_types(described: Model) -> dict[str, Any]:
    """Return the columns that a model's signature wants as whole numbers, truth values or short floats.

    >>> from mlflow.models import ModelSignature
    >>> from mlflow.types import ColSpec, DataType, Schema
    >>> inputs = Schema([ColSpec(DataType.long, "hour"), ColSpec(DataType.double, "wind")])
    >>> column_types(Model(signature=ModelSignature(inputs)))
    {'hour': dtype('int64')}
    """
    found = {}
    for one in getattr(described.signature, "inputs", None) or ():
        name = getattr(one.type, "name", None)
        if one.name is not None and name in ("integer", "long", "boolean", "float"):
            found[str(one.name)] = np.dtype(one.type.to_numpy())
    return found


def with_types(frame: pd.DataFrame, types: Mapping[str, Any]) -> pd.DataFrame:
    """Return a frame with columns of other types, where their values fit: a gap is no whole number.

    >>> with_types(pd.DataFrame({"hour": [7.0], "half": [0.5]}), {"hour": np.int64, "half": np.int64})
       hour  half
    0     7   0.5
    """
    made = {}
    for name, kind in types.items():
        column = frame[name].astype(np.float64)
        if kind == np.float32 or bool((column == column.round()).all()):
            made[name] = column.astype(kind)
    return frame.assign(**made) if made else frame
