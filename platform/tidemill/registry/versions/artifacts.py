"""Read and write the files of models in the registry's artifact store."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from mlflow import MlflowClient, MlflowException

from tidemill.errors import RegistryError, TrainingError
from tidemill.project import Project
from tidemill.registry.versions.version_record import ModelVersion, read_version
from tidemill.training.tracking import run_files
from tidemill.training.tracking.mlflow_tracking import connect
from tidemill.training.tracking.private_mlflow import artifact_repository
from tidemill.training.tracking.training_record import open_documents

__all__ = [
    "CHECK_REGISTRY",
    "connect_registry",
    "file_writer",
    "model_files",
    "model_source",
    "open_version",
    "read_model_file",
    "read_table",
    "search_versions",
]

CHECK_REGISTRY = "check TIDEMILL_TRACKING_URI, and that MLflow's server or database answers"
"""The hint of errors of a registry that does not answer."""


def connect_registry(project: Project) -> MlflowClient:
    """Return a client for the project's registry.

    Raises:
        RegistryError: it cannot be opened.
    """
    try:
        return connect(project)
    except TrainingError as error:
        raise RegistryError(str(error), hint=error.hint) from error


def open_version(client: MlflowClient, found: Any, aliases: Sequence[str] | None = None) -> ModelVersion:
    """Convert MLflow's version; pass ``aliases`` after a search, whose results lack them."""
    return read_version(found, open_documents(client, found.run_id or "", found.tags), aliases)


@contextmanager
def model_files(project: Project, address: str) -> Iterator[Path]:
    """Yield a local path of the files at ``address``: in place if on this machine, else a copy."""
    with TemporaryDirectory() as folder:
        here = address.startswith(("file:", "/"))
        files = artifact_repository(address, project.tracking_uri)
        yield Path(files.download_artifacts("", None if here else folder))


def read_model_file(project: Project, address: str, path: str) -> bytes:
    """Return the content of one file below ``address``.

    Raises:
        MlflowException, OSError: there is no such file, or it cannot be read.
    """
    with TemporaryDirectory() as folder:
        return Path(
            artifact_repository(address, project.tracking_uri).download_artifacts(path, folder)
        ).read_bytes()


def file_writer(project: Project, address: str) -> Callable[[Path, str], None]:
    """Return a function that writes a file into a folder below ``address``."""
    store = artifact_repository(address, project.tracking_uri)
    return lambda file, folder: store.log_artifact(str(file), folder)


def read_table(project: Project, run_id: str, path: str, whose: str) -> pl.DataFrame:
    """Return a table that is stored with a run.

    Raises:
        RegistryError: the run has no such table, or it cannot be read.
    """
    try:
        return run_files.read_table(connect_registry(project), run_id, path)
    except (MlflowException, OSError) as error:
        raise RegistryError(
            f"{whose} has no {path}: {error}",
            hint="only versions that Tidemill trained have one",
        ) from error


def model_source(project: Project, client: MlflowClient, model_uri: str) -> str:
    """Return the address that a version is registered from."""
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
