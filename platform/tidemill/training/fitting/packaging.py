"""Save an estimator as an MLflow model, with skops format, signature, example and pinned requirements."""

import hashlib
import warnings
from collections.abc import Collection, Iterable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import mlflow.sklearn
import pandas as pd
from mlflow import MlflowClient, MlflowException
from mlflow.entities import LoggedModelOutput
from mlflow.models import Model, infer_signature
from mlflow.models.model import MLMODEL_FILE_NAME

from tidemill.errors import TrainingError
from tidemill.files.yaml_reading import read_yaml
from tidemill.tasks.task import Task
from tidemill.training.fitting.private_skops import UnsupportedTypeException, types_of
from tidemill.training.fitting.trusted_types import untrusted
from tidemill.training.tracking.private_mlflow import requirements_as_given
from tidemill.training.tracking.run_files import log_folder
from tidemill.training.tracking.training_result import JUDGED

__all__ = [
    "LoggedEstimator",
    "estimator_digest",
    "log_model",
    "log_saved",
    "log_twin",
    "requirements",
    "save_estimator",
    "trusted_types",
]

_NEEDED = ("mlflow", "numpy", "pandas", "scikit-learn", "skops")


class LoggedEstimator(NamedTuple):
    """A logged model."""

    uri: str
    """Its address (``models:/m-…``)."""
    sha256: str | None
    """Of the estimator's file."""


def trusted_types(estimator: Any, declared: Collection[str]) -> list[str]:
    """Return the types that ``estimator`` holds beyond what skops trusts by itself.

    Raises:
        TrainingError: it cannot be saved without executing code at loading, or holds a type that is neither
            scikit-learn's nor declared.
    """
    try:
        found = types_of(estimator)
    except (UnsupportedTypeException, TypeError, ValueError, AttributeError) as error:
        raise TrainingError(
            f"{type(estimator).__name__} cannot be saved in the skops format: {error}",
            hint="models are never saved as pickles; use an estimator that skops supports",
        ) from error
    refused = untrusted(found, declared)
    if refused:
        raise TrainingError(
            f"{type(estimator).__name__} holds types that are not declared as trusted: {', '.join(refused)}",
            hint="name them in trusted_types of the project's TrainingSpec, if you trust them",
        )
    return sorted(found)


def log_model(
    client: MlflowClient,
    *,
    run_id: str,
    name: str,
    estimator: Any,
    task: Task,
    example: pd.DataFrame,
    trusted: list[str],
) -> LoggedEstimator:
    """Log the model to the run.

    ``mlflow.pyfunc`` loads it as a model whose ``predict`` gives probabilities, shape (rows, classes), or the
    values of a regression.

    Args:
        client: of the tracking store that keeps it; MLflow's current store stays unchanged.
        run_id: the run that made it.
        name: of the model.
        estimator: a fitted classifier or regressor.
        task: what it predicts.
        example: some rows of features, for the signature and as example.
        trusted: the result of `trusted_types`.

    Raises:
        TrainingError: the estimator cannot answer for the task, or MLflow cannot save it.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        save_estimator(path, estimator, task, example, trusted)
        return LoggedEstimator(log_saved(client, run_id, name, path), estimator_digest(path))


def log_twin(
    client: MlflowClient,
    *,
    run_id: str,
    estimator: Any,
    task: Task,
    example: pd.DataFrame,
    trusted: list[str],
) -> str | None:
    """Keep what was judged in place of a model in the run's folder `JUDGED`; arguments as of `log_model`.

    Returns:
        the SHA-256 of its file.

    Raises:
        TrainingError: MLflow cannot save it.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / JUDGED
        save_estimator(path, estimator, task, example, trusted)
        log_folder(client, run_id, path, JUDGED)
        return estimator_digest(path)


def estimator_digest(folder: Path) -> str | None:
    """Return the SHA-256 of the estimator's file in the folder of an MLflow model; None if there is none."""
    found = list(folder.glob("*.skops"))
    if len(found) != 1:
        return None
    with found[0].open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def save_estimator(
    path: Path, estimator: Any, task: Task, example: pd.DataFrame, trusted: Collection[str]
) -> None:
    """Save an estimator as an MLflow model in the new folder ``path``, as `log_model` describes it.

    Raises:
        TrainingError: the estimator cannot answer for the task, or MLflow cannot save it.
    """
    method = "predict_proba" if task.kind in ("binary", "multiclass") else "predict"
    if not hasattr(estimator, method):
        raise TrainingError(
            f"{type(estimator).__name__} has no {method}: it cannot answer for the task {task.kind}",
            hint="use another estimator, or change project.task in params.yaml",
        )
    try:
        with warnings.catch_warnings(), requirements_as_given():
            # MLflow warns of its own type hints when it imports its scoring code.
            warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType")
            mlflow.sklearn.save_model(
                estimator,
                str(path),
                serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_SKOPS,
                skops_trusted_types=list(trusted),
                signature=infer_signature(example, getattr(estimator, method)(example)),
                input_example=example,
                pip_requirements=requirements(trusted),  # otherwise MLflow infers them in a slow subprocess
                pyfunc_predict_fn=method,
            )
    except MlflowException as error:
        raise TrainingError(
            f"MLflow cannot save {type(estimator).__name__}: {error}",
            hint="correct what MLflow names, and train again",
        ) from error


def log_saved(client: MlflowClient, run_id: str, name: str, path: Path) -> str:
    """Log the MLflow model in the folder ``path`` to a run, and return its address (``models:/m-…``).

    Raises:
        MlflowException: MLflow refused.
    """
    experiment = client.get_run(run_id).info.experiment_id
    logged = client.create_logged_model(experiment, name=name, source_run_id=run_id)
    try:
        described = Model.from_dict(read_yaml(path / MLMODEL_FILE_NAME))
        described.artifact_path = logged.artifact_location
        described.model_uuid = described.model_id = logged.model_id
        described.run_id = run_id
        described.save(str(path / MLMODEL_FILE_NAME))
        client.log_model_artifacts(logged.model_id, str(path))
    except MlflowException:
        client.finalize_logged_model(logged.model_id, "FAILED")
        raise
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
    return f"models:/{logged.model_id}"


def requirements(types: Iterable[str], needed: Iterable[str] = _NEEDED) -> list[str]:
    """Return the packages that loading a model needs, with their versions.

    Args:
        types: types in the model beyond those that skops trusts by itself.
        needed: names of other packages.
    """
    packages = set(needed)
    foreign = {name.partition(".")[0] for name in types} - {"sklearn", "numpy"}
    if foreign:
        packages |= _distributions(frozenset(foreign))
    pinned = []
    for package in sorted(packages):
        try:
            pinned.append(f"{package}=={version(package)}")
        except PackageNotFoundError:
            continue
    return pinned


@lru_cache(maxsize=32)
def _distributions(modules: frozenset[str]) -> frozenset[str]:
    """Return the names of the packages that brought ``modules``: looking through all takes half a second."""
    known = packages_distributions()
    return frozenset(found for module in modules for found in known.get(module, []))
