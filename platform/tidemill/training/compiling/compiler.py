"""Compile a fitted model to ONNX, or return the reason why that is impossible."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import onnx
import pandas as pd
from onnx import checker

from tidemill.tasks.binary import Binary
from tidemill.tasks.multiclass import Multiclass
from tidemill.tasks.task import Task
from tidemill.training.compiling.class_heads import probabilities
from tidemill.training.compiling.heads import probability
from tidemill.training.compiling.onnx_graph import OUTPUTS, CannotCompile, Graph, Table, inputs_of
from tidemill.training.compiling.value_heads import value

__all__ = ["FEATURES", "CompiledModel", "Refusal", "compile_model"]

Kind = Literal["number", "word"]

_BINARY = Binary("")

FEATURES = "tidemill.features"
"""Metadata of the artefact: names and kinds of the columns in order, as JSON."""


@dataclass(frozen=True)
class CompiledModel:
    """A model as ONNX: input ``features`` (and ``words``), and one output (`onnx_graph.OUTPUTS`)."""

    content: bytes = field(repr=False)
    """The ONNX file."""
    features: tuple[str, ...]
    """Its features, in order."""
    kinds: tuple[Kind, ...]
    """For each of them: a number, or text."""
    seconds: float
    """How long it took to compile."""


@dataclass(frozen=True)
class Refusal:
    """Why a model is not compiled."""

    reason: str


def compile_model(
    model: Any, example: pd.DataFrame, task: Task = _BINARY, places: Sequence[int] = ()
) -> CompiledModel | Refusal:
    """Compile a fitted model.

    Scikit-learn's pipelines, column transformers, imputers, scalers, encoders, linear models, trees, forests
    and boosted trees, and those of XGBoost and LightGBM, become nodes of our own, in double precision; what
    else scikit-learn has goes through skl2onnx, and PyTorch's modules through PyTorch's own exporter.

    Args:
        model: a fitted classifier or regressor, or a PyTorch module that gives the probability of label 1.
        example: at least one row of what it takes; its columns are the features, in order.
        task: what it predicts.
        places: the place of each of its outputs among the task's classes; empty where they have that order.

    Returns:
        The compiled model, not compared with the original yet (`tidemill.training.compiling.parity`).

    >>> from sklearn.linear_model import LogisticRegression
    >>> rows = pd.DataFrame({"wind": [0.0, 1.0, 2.0, 3.0]})
    >>> compile_model(LogisticRegression().fit(rows, [0, 0, 1, 1]), rows).features
    ('wind',)
    >>> compile_model(LogisticRegression().fit(rows, [0, 1, 2, 2]), rows)
    Refusal(reason='LogisticRegression: it knows 3 classes, not two')
    """
    began = time.perf_counter()
    features, kinds = tuple(map(str, example.columns)), kinds_of(example)
    try:
        found = _build(model, kinds, features, task, places)
        content = found.SerializeToString()
    except CannotCompile as error:
        return Refusal(f"{type(model).__name__}: {error}")
    except Exception as error:  # noqa: BLE001 — the insides of other packages, of any version
        return Refusal(f"{type(model).__name__}: {type(error).__name__}: {error}")
    return CompiledModel(content, features, kinds, time.perf_counter() - began)


def kinds_of(rows: pd.DataFrame) -> tuple[Kind, ...]:
    """Return for each column whether it holds numbers or text.

    >>> kinds_of(pd.DataFrame({"wind": [1.0], "origin": ["JFK"]}))
    ('number', 'word')
    """
    return tuple(
        "number" if pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind) else "word"
        for kind in rows.dtypes
    )


def _build(
    model: Any, kinds: Sequence[Kind], features: tuple[str, ...], task: Task, places: Sequence[int]
) -> onnx.ModelProto:
    graph, table = Graph(), inputs_of(kinds)
    if any(kind.__module__.startswith("torch.") for kind in type(model).__mro__):
        from tidemill.training.compiling.torch_modules import add_module  # PyTorch is there

        if task.kind != "binary":
            raise CannotCompile(f"PyTorch modules are compiled for binary tasks, not for {task.kind}")
        answer = add_module(graph, model, table)
    else:
        answer = _answer(graph, model, table, task, places)
    width = len(task.classes) if isinstance(task, Multiclass) else 1
    found = graph.model(answer, OUTPUTS[task.kind], width, kinds.count("number"), kinds.count("word"))
    about = {
        FEATURES: json.dumps([{"name": n, "kind": k} for n, k in zip(features, kinds, strict=True)]),
        "tidemill.version": version("tidemill"),
    }
    onnx.helper.set_model_props(found, about)
    checker.check_model(found)
    return found


def _answer(graph: Graph, model: Any, table: Table, task: Task, places: Sequence[int]) -> str:
    """Return what a fitted model answers for a task, shape (rows, 1), or (rows, classes) for several classes.

    Raises:
        CannotCompile: there is no ONNX for the model, or it does not answer for the task.
    """
    if task.kind not in OUTPUTS:
        raise CannotCompile(f"the answers of a {task.kind} task have no ONNX form here")
    if isinstance(task, Multiclass):
        return _all_classes(graph, model, table, task, places)
    if task.kind == "regression":
        return value(graph, model, table)
    found = probability(graph, model, table)
    return graph.add("Sub", graph.constant(np.array([[1.0]])), found) if places else found


def _all_classes(graph: Graph, model: Any, table: Table, task: Multiclass, given: Sequence[int]) -> str:
    """Return the probability of each class of the task; 0 for those that the model never saw."""
    found = probabilities(graph, model, table)
    seen = np.asarray(given or getattr(model, "classes_", range(len(task.classes))))
    if len(seen) == len(task.classes) and not given:
        return found
    if not np.issubdtype(seen.dtype, np.number) or not set(seen) <= set(range(len(task.classes))):
        raise CannotCompile(f"it knows {len(seen)} classes, and the task has {len(task.classes)}")
    places = np.zeros((len(seen), len(task.classes)))
    places[np.arange(len(seen)), seen.astype(np.int64)] = 1.0
    return graph.add("MatMul", found, graph.constant(places))
