"""Read ONNX files, and make ONNX models of what PyTorch exports."""

import importlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import infer_signature

from tidemill.errors import DataError, ModelUnsafe, RegistryError
from tidemill.registry.importing.foreign_model import ForeignModel
from tidemill.registry.versions.onnx_models import (
    feeder,
    number_outputs,
    outputs_of,
    without_answer,
)
from tidemill.tasks.custom import Custom
from tidemill.tasks.task import Task
from tidemill.training.compiling.compiler import FEATURES
from tidemill.training.compiling.onnx_session import check_content, start
from tidemill.training.fitting.packaging import requirements

__all__ = ["of_onnx", "read_onnx_file"]

_ANY = Custom("")


def read_onnx_file(file: Path) -> ForeignModel:
    """Read an ONNX file.

    Raises:
        ModelUnsafe: it is damaged, reads other files, or needs operators that are not ONNX's own.
        RegistryError: its inputs or outputs are not those of a model of rows.
    """
    return of_onnx(file.read_bytes(), "ONNX", str(file))


def of_onnx(content: bytes, kind: str, what: str) -> ForeignModel:
    """Return an ONNX model as one that will be served from this content.

    Args:
        content: of the file.
        kind: for people.
        what: where it comes from, for messages.
    """
    try:
        model = check_content(content)
        session = start(content)
    except ModelUnsafe as error:
        raise ModelUnsafe(f"{what}: {error}", hint=error.hint) from error
    taken, given = session.get_inputs(), session.get_outputs()
    _require_any_rows(taken, what)
    if not number_outputs(given, _ANY):
        raise RegistryError(
            f"{what} gives {[one.type for one in given]}: none of it is a tensor of numbers",
            hint="export it without a zipmap (`options={'zipmap': False}`)",
        )

    def answer(rows: pd.DataFrame, task: Task) -> Any:
        words = [str(name) for name, kind in rows.dtypes.items() if kind.kind == "O"]
        feed = feeder(taken, list(map(str, rows.columns)), words, what)
        outputs = _clear_outputs(given, task, what)
        found = outputs_of(outputs, session.run(outputs, feed(rows)))
        unknown = without_answer(rows, taken)
        if unknown.any() and isinstance(found, np.ndarray):
            found = found.astype(np.float64)
            found[unknown] = np.nan
        return found

    def save(folder: Path, task: Task, example: pd.DataFrame, output: Any) -> None:
        importlib.import_module("mlflow.onnx").save_model(
            model, str(folder), signature=infer_signature(example, output), input_example=example,
            save_as_external_data=False,
            pip_requirements=requirements((), ("mlflow", "numpy", "onnx", "onnxruntime")),
        )  # fmt: skip

    features, width = _columns(model, taken)
    return ForeignModel(kind=kind, answer=answer, save=save, features=features, width=width)


def _require_any_rows(taken: Sequence[Any], what: str) -> None:
    """Raise an error for inputs that take a fixed number of rows.

    Raises:
        RegistryError: there are some.
    """
    fixed = [one for one in taken if one.shape and isinstance(one.shape[0], int)]
    if fixed and len(fixed) < len(taken):
        names = ", ".join(one.name for one in fixed)
        raise RegistryError(
            f"{what} has inputs that are no columns, of a fixed number of rows: {names}",
            hint="its export left constants outside (Keras does so of Normalization layers): use Rescaling, "
            "or scale the columns before the model; or import it by an MLflow flavour",
        )
    if fixed:
        rows = fixed[0].shape[0]
        raise RegistryError(
            f"{what} takes exactly {rows} row{'' if rows == 1 else 's'} at a time",
            hint="export it with a first dimension that is free (dynamic_axes, or dynamic_shapes)",
        )


def _clear_outputs(given: Sequence[Any], task: Task, what: str) -> list[str]:
    """Return the names of the outputs with the answers.

    Raises:
        DataError: several could be the answer.
    """
    found, every = number_outputs(given, task), number_outputs(given, _ANY)
    if len(found) < len(every) and not (found[0].startswith("probabilit") and task.kind != "regression"):
        raise DataError(
            f"{what} gives {len(every)} outputs of numbers, {', '.join(every)}: a {task.kind} task has one",
            hint="export it with the output that answers alone; a custom task takes all of them, by name",
        )
    return found


def _columns(model: Any, taken: Sequence[Any]) -> tuple[tuple[str, ...], int | None]:
    """Return the names of a model's columns and how many there are, as far as the file says so."""
    if len(taken) > 1:
        inner = [one.shape[1:] for one in taken]
        fixed = all(isinstance(size, int) for sizes in inner for size in sizes)
        return tuple(one.name for one in taken), sum(map(math.prod, inner)) if fixed else None
    named = [one.value for one in model.metadata_props if one.key == FEATURES]
    known = tuple(str(column["name"]) for column in json.loads(named[0])) if named else ()
    shape = [size for one in taken for size in one.shape[1:] if isinstance(size, int)]
    return known, math.prod(shape) if shape else None
