"""Make an MLflow model of a class of the project, with the code that it needs."""

import importlib
import inspect
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cloudpickle
import mlflow.pyfunc
import pandas as pd

from tidemill.errors import ConfigError, RegistryError, TidemillError, UsageError
from tidemill.project import Project
from tidemill.project.own_code import exits_as_errors
from tidemill.registry.importing.foreign_model import ForeignModel
from tidemill.registry.importing.mlflow_models import of_pyfunc
from tidemill.training.fitting.packaging import requirements

__all__ = ["CLASS_FILES", "ClassModel", "read_class"]

CLASS_FILES = "class"
"""Folder of the scratch folder that the model is saved in."""


class ClassModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """A plain object as an MLflow model, which one of its methods answers for."""

    method: str | None = None
    """Its name; None in models of earlier releases: ``predict_proba`` if it has one, or else ``predict``."""

    def __init__(self, inner: Any, method: str) -> None:
        """Take the object, and the name of its method."""
        self.inner, self.method = inner, method

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
        """Return what the object answers to a frame."""
        usual = "predict_proba" if hasattr(self.inner, "predict_proba") else "predict"
        return getattr(self.inner, self.method or usual)(model_input)


def read_class(project: Project, reference: str, scratch: Path) -> ForeignModel:
    """Make an object of ``module:Class`` without arguments, and save it with the project's code that it uses.

    Raises:
        UsageError: there is no such class, it has no method for the project's task, or needs arguments.
        RegistryError: it cannot be saved.
    """
    try:
        made = project.load(reference)
    except ConfigError as error:
        said = str(error).removeprefix(f"{project.root / 'params.yaml'}: ")
        raise UsageError(said, hint=f"name a class of a module below {project.root}") from error
    able = ("predict_proba", "predict") if project.task.kind in ("binary", "multiclass") else ("predict",)
    method = next((name for name in able if inspect.isclass(made) and hasattr(made, name)), None)
    if method is None:
        raise UsageError(
            f"{reference} is no class with a method {' or '.join(reversed(able))}",
            hint=f"give it {able[-1]}(self, frame), one answer a row",
        )
    model = _made(made, reference)
    folder = scratch / CLASS_FILES
    whole = model if isinstance(model, mlflow.pyfunc.PythonModel) else ClassModel(model, method)
    try:
        with (
            exits_as_errors(),
            _by_value(project.root),
            warnings.catch_warnings(),
            _without_mlflows_warnings(),
        ):
            warnings.simplefilter("ignore")
            mlflow.pyfunc.save_model(
                str(folder),
                python_model=whole,
                pip_requirements=requirements((), ("cloudpickle", "mlflow", "numpy", "pandas", "tidemill")),
            )
            loaded = mlflow.pyfunc.load_model(str(folder))
    except TidemillError:
        raise
    except Exception as error:  # the project's own code can raise anything
        raise RegistryError(
            f"{reference} cannot be saved: {type(error).__name__}: {error}",
            hint="keep only what can be pickled in the object",
        ) from error
    return of_pyfunc(folder, loaded, "python_function")


def _made(kind: Any, reference: str) -> Any:
    try:
        with exits_as_errors():
            return kind()
    except TidemillError:
        raise
    except TypeError as error:
        raise UsageError(
            f"{reference} cannot be made without arguments: {error}",
            hint="give all arguments of __init__ a default",
        ) from error
    except Exception as error:  # the project's own code can raise anything
        raise RegistryError(
            f"{reference} cannot be made: {type(error).__name__}: {error}",
            hint=f"mend its __init__, so that {kind.__name__}() works in the project's folder",
        ) from error


@contextmanager
def _without_mlflows_warnings() -> Iterator[None]:
    """Let MLflow not warn of pickles and of a missing signature, which an import tells in its own words."""
    log = logging.getLogger("mlflow.pyfunc")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


@contextmanager
def _by_value(root: Path) -> Iterator[None]:
    """Let pickles hold the code of the project's modules, which other processes may not find."""
    own = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and name != "__main__" and _is_own(Path(file), root):
            own.append(importlib.import_module(name))
    for module in own:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in own:
            cloudpickle.unregister_pickle_by_value(module)


def _is_own(file: Path, root: Path) -> bool:
    if not file.is_relative_to(root):
        return False
    return not {".venv", "site-packages", "tidemill"} & set(file.relative_to(root).parts)
