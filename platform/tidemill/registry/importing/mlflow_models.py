"""Read MLflow models of any flavour: from a folder, a run, a registry."""

import importlib
import math
import re
import shutil
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
from mlflow import MlflowClient, MlflowException
from mlflow.models import Model, infer_signature
from mlflow.models.model import MLMODEL_FILE_NAME

from tidemill.errors import ModelUnsafe, RegistryError, UsageError
from tidemill.files.yaml_reading import YamlError
from tidemill.project import Project
from tidemill.project.own_code import exits_as_errors
from tidemill.registry.importing.booster_files import read_lightgbm, read_xgboost
from tidemill.registry.importing.estimator_files import about_estimator, of_estimator, read_skops
from tidemill.registry.importing.foreign_model import ForeignModel
from tidemill.registry.importing.onnx_files import read_onnx_file
from tidemill.registry.versions.artifacts import connect_registry
from tidemill.registry.versions.boosted_models import BOOSTERS
from tidemill.registry.versions.model_description import read_description, readable_folder
from tidemill.registry.versions.model_signature import (
    LISTS,
    TENSOR,
    array_inputs,
    column_types,
    row_tensor,
    with_arrays,
    with_types,
)
from tidemill.registry.versions.original_models import without_progress_bars
from tidemill.tasks.task import Task
from tidemill.training.tracking.private_mlflow import artifact_repository

__all__ = ["fetch_model", "read_folder_model"]

_BOOSTER_FILES = {"xgboost": read_xgboost, "lightgbm": read_lightgbm}
_ESTIMATORS = ("sklearn", "xgboost", "lightgbm", "catboost")
_FORMS = "write it as runs:/<run>/<path>, models:/<name>/<version>, models:/<name>@<alias> or models:/<m-id>"


def fetch_model(project: Project, address: str, scratch: Path, tracking_uri: str | None) -> Path:
    """Fetch the files of the model at an MLflow address into ``scratch``, and return their folder.

    Raises:
        UsageError: the address is not one.
        RegistryError: MLflow does not have it, or does not answer.
    """
    uri = tracking_uri or project.tracking_uri
    client = MlflowClient(uri, uri) if tracking_uri else connect_registry(project)
    place = scratch / "fetched"
    place.mkdir()
    try:
        for found in _places(client, address):
            try:
                artifact_repository(found, uri).download_artifacts("", str(place))
            except (MlflowException, OSError, ValueError):  # ValueError: http that is no artefact store
                continue
            if (place / MLMODEL_FILE_NAME).is_file():
                return place
    except (MlflowException, OSError) as error:
        raise RegistryError(
            f"{address} cannot be fetched: {error}", hint=f"check it, and --tracking-uri ({uri})"
        ) from error
    raise RegistryError(
        f"there is no MLflow model at {address} in {uri}",
        hint="name the model's folder in the run (its page shows it), or its entry in the registry",
    )


def _places(client: MlflowClient, address: str) -> list[str]:
    """Return the addresses of the files that a model may have.

    Raises:
        UsageError: the address is not one.
        MlflowException: there is no such run or version.
    """
    kind, _, rest = address.partition(":/")
    rest = rest.strip("/")
    if kind == "models":
        if logged := re.fullmatch(r"m-[0-9a-f]+", rest):
            return [str(client.get_logged_model(logged[0]).artifact_location)]
        if alias := re.fullmatch(r"([^/@]+)@([^/@]+)", rest):
            version = client.get_model_version_by_alias(alias[1], alias[2]).version
            return [str(client.get_model_version_download_uri(alias[1], version))]
        if numbered := re.fullmatch(r"([^/@]+)/(\d+)", rest):
            return [str(client.get_model_version_download_uri(numbered[1], numbered[2]))]
        raise UsageError(f"{address} names no version of a model", hint=_FORMS)
    if kind != "runs":
        return [address]
    run_id, _, path = rest.partition("/")
    if not path:
        raise UsageError(f"{address} names no folder of the run", hint=_FORMS)
    run = client.get_run(run_id)
    logged = client.search_logged_models(
        [run.info.experiment_id], filter_string=f"source_run_id='{run.info.run_id}'"
    )
    own = [str(model.artifact_location) for model in logged if model.name == path]
    return [*own, f"{run.info.artifact_uri}/{path}"]


def read_folder_model(
    folder: Path, declared: Callable[[], Collection[str]], allow_code: bool
) -> ForeignModel:
    """Read the MLflow model in a folder.

    Its file in skops, ONNX or the format of a booster is read as it is; every other flavour can execute code.

    Args:
        folder: with the file ``MLmodel``.
        declared: gives the types that the project's training spec trusts; called only if that matters.
        allow_code: whether it may execute code while it is loaded.

    Raises:
        UsageError: there is no MLmodel, or it has no flavour that can be loaded.
        ModelUnsafe: loading it could execute code, and ``allow_code`` is not set.
        RegistryError: it is damaged, or a package is missing.
    """
    try:
        described = read_description(folder)
        flavors: Mapping[str, Any] = dict(described.flavors)
    except OSError as error:
        raise RegistryError(
            f"{folder / MLMODEL_FILE_NAME} cannot be read: {error.strerror}",
            hint="check that you may read it",
        ) from error
    except (YamlError, KeyError, TypeError, ValueError, AttributeError, MlflowException) as error:
        raise RegistryError(
            f"{folder / MLMODEL_FILE_NAME} is empty, cut off or damaged: it does not say what the model is",
            hint="copy the whole folder again, or save the model again where it was made",
        ) from error
    names = _input_names(described)
    found = _safe(folder, flavors, declared) or _with_code(folder, flavors, declared, allow_code)
    return replace(found, features=found.features or names)


def _safe(
    folder: Path, flavors: Mapping[str, Any], declared: Callable[[], Collection[str]]
) -> ForeignModel | None:
    """Read the model from a file that cannot execute code; None if the folder has no such file."""
    sklearn = flavors.get("sklearn")
    if sklearn and sklearn.get("serialization_format", "pickle") == "skops":
        return read_skops(_inside(folder, sklearn.get("pickled_model")), declared)
    if "onnx" in flavors:
        return read_onnx_file(_inside(folder, flavors["onnx"].get("data")))
    for name, read in _BOOSTER_FILES.items():
        if flavors.get(name, {}).get("model_class") in BOOSTERS and "data" in flavors[name]:
            return read(_inside(folder, flavors[name]["data"]))
    return None


def _inside(folder: Path, name: Any) -> Path:
    """Return the file that MLmodel names, looked for in the folder alone."""
    file = folder / Path(str(name)).name
    if not file.is_file():
        raise RegistryError(
            f"{folder} lacks the file {name} that its MLmodel names",
            hint="fetch or save the whole model again",
        )
    return file


def _with_code(
    folder: Path, flavors: Mapping[str, Any], declared: Callable[[], Collection[str]], allow_code: bool
) -> ForeignModel:
    what = next((name for name in flavors if name != "python_function"), "python_function")
    if "python_function" not in flavors:
        raise UsageError(
            f"{folder} has no flavour that Python can load: it has {', '.join(flavors) or 'none'}",
            hint="log it with a flavour of Python, or as ONNX",
        )
    if not allow_code:
        raise ModelUnsafe(
            f"{folder} is an MLflow model of flavour {what} that can execute code when it is loaded: refused",
            hint="log it as skops, as ONNX or in its booster's own format; or use --allow-code, if you trust "
            "whoever made it",
        )
    try:
        with exits_as_errors(), warnings.catch_warnings(), readable_folder(folder) as path:
            warnings.simplefilter("ignore")
            for name in (one for one in _ESTIMATORS if one in flavors):
                estimator = importlib.import_module(f"mlflow.{name}").load_model(path)
                try:
                    return of_estimator(estimator, declared, unsafe=True)
                except ModelUnsafe:  # it is served as it is
                    return replace(of_pyfunc(folder, estimator, what), **about_estimator(estimator))
            model = mlflow.pyfunc.load_model(path)
            without_progress_bars()
    except ImportError as error:
        raise RegistryError(
            f"{folder} needs a package that is not installed: {error}",
            hint=f"install what {folder / 'requirements.txt'} lists",
        ) from error
    except Exception as error:  # it can raise anything
        raise RegistryError(
            f"{folder} cannot be loaded: {type(error).__name__}: {error}",
            hint="load it where it was made, by `mlflow.pyfunc.load_model`",
        ) from error
    return of_pyfunc(folder, model, what)


def of_pyfunc(folder: Path, model: Any, what: str) -> ForeignModel:
    """Return a loaded MLflow model as one that will be served from a copy of its folder, with its code.

    A list is one column of arrays where the signature wants it so, and a column for each element otherwise.

    Args:
        folder: with the file ``MLmodel``.
        model: loaded from it, with ``predict``.
        what: its flavour, for people.
    """
    description = read_description(folder)
    arrays, types, tensor = array_inputs(description), column_types(description), row_tensor(description)

    def save(target: Path, task: Task, example: pd.DataFrame, output: Any) -> None:
        shutil.copytree(folder, target)
        described = read_description(target)
        whole = with_arrays(example, arrays)
        if tensor is not None:
            described.metadata = {**(described.metadata or {}), TENSOR: list(map(str, example.columns))}
        elif lists := {name: len(whole[name].iloc[0]) for name in arrays if name not in example}:
            described.metadata = {**(described.metadata or {}), LISTS: lists}
        elif list(_input_names(described)) != list(map(str, example.columns)):
            described.signature = infer_signature(example, output)
        described.saved_input_example_info = None
        described.save(str(target / MLMODEL_FILE_NAME))

    def answer(rows: pd.DataFrame, task: Task) -> Any:
        return model.predict(
            with_types(with_arrays(rows, arrays), types) if tensor is None else tensor.of(rows)
        )

    sizes = () if tensor is None else tensor.inner
    return ForeignModel(
        kind=f"MLflow {what}",
        answer=answer,
        save=save,
        features=_input_names(description),
        width=math.prod(sizes) if sizes and min(sizes) > 0 else None,
        runs_code=True,
        unsafe=True,
    )


def _input_names(described: Model) -> tuple[str, ...]:
    try:
        inputs = described.signature.inputs
        return (
            ()
            if inputs.is_tensor_spec() and not array_inputs(described)
            else tuple(map(str, inputs.input_names()))
        )
    except (AttributeError, MlflowException):
        return ()
