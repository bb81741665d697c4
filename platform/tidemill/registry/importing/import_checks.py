"""Check a model from elsewhere against the project: its features, its task, and what it answers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tidemill.errors import DataError, UsageError
from tidemill.plurals import agreeing, counted, some_of
from tidemill.registry.importing.foreign_model import ForeignModel
from tidemill.tasks.task import Answers, Task
from tidemill.training.compiling.parity import worst_difference
from tidemill.training.feature_table import element_names

__all__ = [
    "OutputParity",
    "check_output",
    "check_task",
    "choose_features",
    "compare_outputs",
]

_ROUNDING = 1e-4


def choose_features(
    model: ForeignModel,
    examples: Sequence[str] | None,
    known: Sequence[str],
    others: Sequence[str],
    lists: Mapping[str, int] | None = None,
) -> tuple[str, ...]:
    """Return the names of the model's features, in its order.

    Args:
        model: tells them, or how many there are.
        examples: the columns of the example rows; None if there are no examples.
        known: the project's features.
        others: columns of the project that are no features, such as the label.
        lists: those of ``known`` that are lists, and the length of each.

    Raises:
        UsageError: nothing tells the names.
        DataError: the project, or the examples, lack some of them.

    >>> unnamed = ForeignModel("ONNX", print, print, width=2)
    >>> choose_features(unnamed, ["wind", "late", "delay"], ["delay", "hour", "wind"], ["late"])
    ('wind', 'delay')
    """
    columns = None if examples is None else [name for name in examples if name not in others]
    lists = lists or {}
    found = _whole_lists(model.features, lists)
    if not found and columns is None:
        raise UsageError(
            f"the {model.kind} model does not tell the names of its features",
            hint="give rows with its columns, in its order: --examples rows.parquet",
        )
    found = found or columns or []
    width = sum(lists.get(name, 1) for name in found)
    if model.width is not None and width != model.width:
        raise DataError(
            f"the model takes {model.width} features, but --examples has {width} columns: {some_of(found)}",
            hint="give exactly its columns, in its order; label, time and key may be among them",
        )
    if columns is not None and (missing := [name for name in found if name not in columns]):
        raise DataError(
            f"--examples lacks columns that the model takes: {some_of(missing)}",
            hint="name the columns as for the training of the model",
        )
    if missing := [name for name in found if name not in known]:
        raise DataError(
            f"the model takes features that the project does not have: {some_of(missing)}; it has "
            f"{some_of(known)}",
            hint="add them to the feature service or to features.yaml, and run `tidemill run`; or rename the "
            "columns where the model is made",
        )
    return tuple(found)


def check_task(model: ForeignModel, task: Task) -> None:
    """Check that a model predicts what the project asks for, as far as its file tells.

    Raises:
        DataError: it predicts something else.
    """
    two = {"binary", "multiclass"}
    if model.task is None or model.task == task.kind or task.kind == "custom":
        return
    if model.task == "custom":
        raise DataError(
            f"the {model.kind} model gives no probabilities and no value of a {task.kind} task",
            hint="import it into a project with project.task: custom, which takes any answer; or train it "
            "for binary:logistic, multi:softprob or reg:… (XGBoost), or for binary, multiclass or a "
            "regression (LightGBM)",
        )
    if {model.task, task.kind} == two and len(model.classes) < len(getattr(task, "classes", ())):
        return  # it may know fewer classes than the project
    classes = f" of {len(model.classes)} classes ({some_of(model.classes)})" if model.classes else ""
    raise DataError(
        f"the model is made for another task: {model.task}{classes}; project.task is {task.kind}",
        hint="import it into a project with that task (docs/tasks.md)",
    )


def check_output(output: Any, rows: int, task: Task, places: Sequence[int], sums_to_one: bool = True) -> None:
    """Check that what a model gives for some rows can be answers of the task.

    Args:
        output: an array, a list or a frame.
        rows: how many there are.
        task: the project's.
        places: the place of each output among the task's classes, if they have another order.
        sums_to_one: whether the probabilities of several classes must add up to 1.

    Raises:
        DataError: its shape is another, or it gives no probabilities where they are needed.
    """
    if task.kind == "custom":
        answers = len(task.from_output(output))
        if answers != rows:
            raise DataError(
                f"the model gives {answers} answers to {counted(rows, 'row')}", hint="it must give one a row"
            )
        return
    try:
        found = np.asarray(output, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"the model gives no numbers: {error}", hint="export it with its probabilities, or its value"
        ) from error
    classes: Sequence[str] = getattr(task, "classes", ())
    named = [classes[place] for place in places] or classes
    widths = {"regression": {1}, "binary": {1, 2}}.get(task.kind, {len(named)})
    width = found.size // rows if rows and found.size % rows == 0 else None
    if found.ndim == 0 or len(found) != rows or width not in widths:
        if task.kind == "multiclass" and found.ndim == 2 and len(found) == rows:
            raise _other_classes(found.shape[1], named, classes)
        needed = " or ".join(map(str, sorted(widths)))
        raise DataError(
            f"the model gives shape {found.shape} for {counted(rows, 'row')}: a {task.kind} task needs "
            f"{needed} {agreeing(max(widths), 'number', 'numbers')} a row",
            hint="import it into a project of its task, or export the output with the "
            + ("value" if task.kind == "regression" else "probability of each class"),
        )
    if task.kind != "regression":
        _check_probabilities(found, rows, width, sums_to_one)


def _other_classes(width: int, named: Sequence[str], classes: Sequence[str]) -> DataError:
    """Return the error that a model of ``width`` outputs has other classes than those that were named."""
    hint = f"name the class of each output, in their order, by --classes; the project has {some_of(classes)}"
    if width > len(classes):
        hint = f"import it into a project with a class for each output; this one has {some_of(classes)}"
    return DataError(
        f"the model gives {counted(width, 'number')} a row, and its classes are said to be {some_of(named)}: "
        "it must give the probability of each of them, and of no other",
        hint=hint,
    )


def _check_probabilities(found: npt.NDArray[np.float64], rows: int, width: int, sums_to_one: bool) -> None:
    known = found.reshape(rows, width)[np.isfinite(found.reshape(rows, width)).all(axis=1)]
    outside = bool(((known < -_ROUNDING) | (known > 1 + _ROUNDING)).any())
    sums = known.sum(axis=1)
    if outside or (width > 1 and sums_to_one and bool((np.abs(sums - 1) > _ROUNDING * 10).any())):
        raise DataError(
            "the model gives no probabilities: "
            + (
                f"values from {known.min():.3g} to {known.max():.3g}"
                if outside
                else f"those of a row add up to {sums[np.abs(sums - 1).argmax()]:.3g}"
            ),
            hint="end it with a sigmoid or a softmax, and export it again",
        )


@dataclass(frozen=True)
class OutputParity:
    """The result of comparing what will be served with the original, on real rows."""

    rows: int
    max_difference: float
    """Of two answers; infinite if only one of the two gives an answer to some row."""
    threshold: float
    """The largest difference that counts as none."""

    @property
    def passed(self) -> bool:
        """Whether it may be served in place of the original."""
        return self.max_difference <= self.threshold

    def __str__(self) -> str:
        return f"the largest difference on {counted(self.rows, 'row')} is {self.max_difference:.2g}"


def compare_outputs(original: Answers, served: Answers, task: Task) -> OutputParity:
    """Compare the answers of both to the same rows.

    >>> from tidemill.tasks.regression import Regression
    >>> str(compare_outputs(np.array([1.0, 2.0]), np.array([1.0, 2.5]), Regression("neg_mae")))
    'the largest difference on 2 rows is 0.5'
    """
    if task.kind == "custom":
        differences = (_apart(one, other) for one, other in zip(original, served, strict=True))
        return OutputParity(len(original), max(differences, default=0.0), task.tolerance(original))
    return OutputParity(len(original), *worst_difference(original, served, task.tolerance(original)))


def _apart(one: Any, other: Any) -> float:
    """Return the largest difference of two answers' numbers, beyond 1 in parts of the number.

    It is infinite if they differ in anything else.

    >>> _apart({"at": [0.5, 200.0]}, {"at": [0.5, 200.02]}), _apart(["a", 7], ["a", 8])
    (0.0001, inf)
    """
    match one, other:
        case list(), list() if len(one) == len(other):
            return max(map(_apart, one, other), default=0.0)
        case dict(), dict() if one.keys() == other.keys():
            return max((_apart(one[name], other[name]) for name in one), default=0.0)
        case float(), float() if math.isfinite(one) and math.isfinite(other):
            return round(abs(one - other) / max(1.0, abs(one)), 12)
        case float(), float() if math.isnan(one) and math.isnan(other):
            return 0.0
    return 0.0 if type(one) is type(other) and one == other else float("inf")


def _whole_lists(names: Sequence[str], lists: Mapping[str, int]) -> list[str]:
    """Return names in which ``pixels`` stands for ``pixels.0``, ``pixels.1`` and so on, if that is a list.

    >>> _whole_lists(["age", "pixels.0", "pixels.1"], {"pixels": 2})
    ['age', 'pixels']
    """
    found, place = [], 0
    while place < len(names):
        whole = names[place].removesuffix(".0")
        parts = element_names(whole, lists.get(whole, 0))
        taken = list(names[place : place + len(parts)]) == parts and len(parts) > 0
        found.append(whole if taken else names[place])
        place += len(parts) if taken else 1
    return found
