"""Read TorchScript and torch.export files, and serve them as ONNX."""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tidemill.errors import DataError, RegistryError
from tidemill.registry.importing.foreign_model import ForeignModel
from tidemill.registry.importing.onnx_files import of_onnx
from tidemill.tasks.task import Task
from tidemill.training.compiling.onnx_session import start

__all__ = ["read_exported", "read_script"]

_OPSET = 19


def read_exported(file: Path) -> ForeignModel:
    """Read a file of ``torch.export.save``; its weights are read as tensors alone.

    Raises:
        RegistryError: PyTorch is missing, the file is damaged, or PyTorch has no ONNX for it.
    """
    torch = _torch()
    with _loading(file):
        program = torch.export.load(str(file))
        inner = program.module()
        taken = list(program.graph_signature.user_inputs)
    if len(taken) != 1:
        raise RegistryError(
            f"{file} takes {len(taken)} tensors: it can be served with one, shape (rows, …)",
            hint="export it with one input of numbers",
        )
    with _exporting(file):
        content = io.BytesIO()
        torch.onnx.export(program, (), content, opset_version=_OPSET, external_data=False, verbose=False)
    return _as_onnx(torch, inner, content.getvalue(), "PyTorch (torch.export)", file)


def read_script(file: Path) -> ForeignModel:
    """Read a TorchScript file that takes numbers, shape (rows, features).

    Raises:
        RegistryError: PyTorch is missing, the file is damaged, or PyTorch has no ONNX for it.
    """
    torch = _torch()
    with _loading(file):
        module = torch.jit.load(str(file), map_location="cpu").eval()

    @lru_cache(maxsize=1)
    def converted(width: int) -> ForeignModel:
        content = io.BytesIO()
        with _exporting(file):
            example = torch.zeros((2, width), dtype=_precision(torch, module))
            torch.onnx.export(
                module, (example,), content, input_names=["rows"], output_names=["answers"],
                dynamic_axes={"rows": {0: "rows"}, "answers": {0: "rows"}}, opset_version=_OPSET,
                dynamo=False,
            )  # fmt: skip
        return _as_onnx(torch, module, content.getvalue(), "TorchScript", file)

    def save(folder: Path, task: Task, example: pd.DataFrame, output: Any) -> None:
        converted(example.shape[1]).save(folder, task, example, output)

    return ForeignModel(
        kind="TorchScript",
        answer=lambda rows, task: converted(rows.shape[1]).answer(rows, task),
        save=save,
        unsafe=True,
    )


def _as_onnx(torch: Any, module: Any, content: bytes, kind: str, file: Path) -> ForeignModel:
    """Return a model whose original answers in PyTorch, and that is served as ONNX."""
    made = of_onnx(content, kind, str(file))
    precision = _precision(torch, module)
    session = start(content)
    [taken] = session.get_inputs()
    names = [one.name for one in session.get_outputs()]
    inner = [size for size in taken.shape[1:] if isinstance(size, int)]

    def answer(rows: pd.DataFrame, task: Task) -> Any:
        values = np.ascontiguousarray(rows.to_numpy(np.float64))
        shaped = values if len(inner) < 2 else values.reshape(len(values), *inner)
        with torch.no_grad():
            found = module(torch.from_numpy(shaped).to(precision))
        if isinstance(found, torch.Tensor):
            return found.detach().double().numpy()
        if task.kind != "custom":
            raise DataError(
                f"{file} gives {len(found)} tensors, {', '.join(names)}: a {task.kind} task has one",
                hint="export it with the output that answers alone; a custom task takes all of them, by name",
            )
        return {name: one.detach().double().numpy() for name, one in zip(names, found, strict=True)}

    return replace(made, answer=answer, unsafe=True)


def _precision(torch: Any, module: Any) -> Any:
    return next((one.dtype for one in module.parameters() if one.is_floating_point()), torch.float32)


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise RegistryError(
            "this model needs PyTorch, which is not installed", hint="pip install 'tidemill[torch]'"
        ) from error
    return torch


@contextmanager
def _loading(file: Path) -> Iterator[None]:
    """Let PyTorch read tensors alone, whatever its own code asks for."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    hint = "save it again with the installed version of PyTorch, or export it as ONNX"
    try:
        with _errors_as_ours(f"PyTorch cannot load {file}", hint):
            yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _exporting(file: Path) -> AbstractContextManager[None]:
    return _errors_as_ours(
        f"PyTorch has no ONNX for {file}", "export it as ONNX where it was made, and import that"
    )


@contextmanager
def _errors_as_ours(what: str, hint: str) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImportError as error:
        raise RegistryError(
            f"{what}: the package {error.name} is not installed", hint="pip install 'tidemill[torch]'"
        ) from error
    except Exception as error:  # PyTorch's own
        raise RegistryError(f"{what}: {_first_line(error)}", hint=hint) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), repr(error))
