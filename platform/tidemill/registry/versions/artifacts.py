"""Where the registry keeps the files of models and runs, and how they are fetched and put there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow.artifacts
import polars as pl
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from tidemill.errors import RegistryError, TrainingError
from tidemill.project import Project
from tidemill.training.tracking.mlflow_tracking import connect

__all__ = ["connect_registry", "keeper", "model_files", "model_source", "read_table", "search_versions"]


def connect_registry(project: Project) -> MlflowClient:
    """Return a client for the project's registry.

    Raises:
        RegistryError: it cannot be opened.
    """
    try:
        return connect(project)
    except TrainingError as error:
        raise RegistryError(str(error), hint=error.hint) from error


@contextmanager
def model_files(project: Project, address: str) -> Iterator[Path]:
    """Give a local path of what is at ``address``: in place if it is on this machine, else a copy."""
    with TemporaryDirectory() as folder:
        here = address.startswith(("file:", "/"))
        yield Path(
            mlflow.artifacts.download_artifacts(
                artifact_uri=address, dst_path=None if here else folder, tracking_uri=project.tracking_uri
            )
        )


def keeper(project: Project, address: str) -> Callable[[Path, str], None]:
    """Return a function that puts a file into a folder of what is at ``address``."""
    store = get_artifact_repository(address, tracking_uri=project.tracking_uri)
    return lambda file, folder: store.log_artifact(str(file), folder)


def read_table(project: Project, run_id: str, artifact: str, whose: str) -> pl.DataFrame:
    """Return a table that is kept with a run.

    Raises:
        RegistryError: there is none.
    """
    try:
        with TemporaryDirectory() as folder:
            path = connect_registry(project).download_artifacts(run_id, artifact, folder)
            return pl.read_parquet(path, memory_map=False)
    except (MlflowException, OSError) as error:
        raise RegistryError(
            f"{whose} has no {artifact}: {error}",
            hint="only versions that Tidemill trained have one",
        ) from error


def model_source(project: Project, client: MlflowClient, model_uri: str) -> str:
    """Return what a version is told to be made from."""
    # MLflow's SQL registry looks `models:/m-…` up in the process-wide "current" store, which is not ours.
    if project.tracking_uri.startswith("http"):
        return model_uri
    return str(client.get_logged_model(model_uri.removeprefix("models:/")).artifact_location)


def search_versions(client: MlflowClient, model: str) -> list[Any]:
    """Return all versions of a model, as MLflow knows them."""
    found: list[Any] = []
    token: str | None = None
    while True:
        page = client.search_model_versions(f"name = '{model}'", page_token=token)
        found += page
        token = page.token
        if not token:
            return found
