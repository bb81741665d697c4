"""The files that a run keeps in MLflow's artifact store."""

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from mlflow import MlflowClient

from tidemill.training.tracking.private_mlflow import artifact_repository

__all__ = ["fetch_file", "log_folder", "log_table", "read_file", "read_table", "write_file"]


def write_file(client: MlflowClient, run_id: str, path: str, content: bytes) -> None:
    """Keep ``content`` as the run's file ``path``, such as ``reference/reference.parquet``."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / Path(path).name
        file.write_bytes(content)
        _put(client, run_id, file, path)


def log_folder(client: MlflowClient, run_id: str, folder: Path, path: str) -> None:
    """Keep the files of ``folder`` as the run's folder ``path``."""
    artifact_repository(_address(client, run_id), client.tracking_uri).log_artifacts(str(folder), path)


def read_file(client: MlflowClient, run_id: str, path: str) -> bytes:
    """Return the content of the run's file ``path``.

    Raises:
        MlflowException, OSError: there is no such file, or it cannot be read.
    """
    with TemporaryDirectory() as folder:
        return fetch_file(client, run_id, path, folder).read_bytes()


def log_table(client: MlflowClient, run_id: str, frame: pl.DataFrame, path: str) -> None:
    """Keep ``frame`` as the run's Parquet file ``path``."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / Path(path).name
        frame.write_parquet(file)
        _put(client, run_id, file, path)


def read_table(client: MlflowClient, run_id: str, path: str) -> pl.DataFrame:
    """Return the run's Parquet file ``path``.

    Raises:
        MlflowException, OSError: there is no such file, or it cannot be read.
    """
    with TemporaryDirectory() as folder:
        return pl.read_parquet(fetch_file(client, run_id, path, folder), glob=False, memory_map=False)


def _put(client: MlflowClient, run_id: str, file: Path, path: str) -> None:
    folder = path.rpartition("/")[0]
    artifact_repository(_address(client, run_id), client.tracking_uri).log_artifact(str(file), folder or None)


def fetch_file(client: MlflowClient, run_id: str, path: str, folder: str) -> Path:
    """Return a path of the run's file ``path``: where MLflow keeps it, or a copy in ``folder``.

    Raises:
        MlflowException, OSError: there is no such file, or it cannot be read.
    """
    files = artifact_repository(_address(client, run_id), client.tracking_uri)
    return Path(files.download_artifacts(path, folder))


@lru_cache(maxsize=256)
def _address(client: MlflowClient, run_id: str) -> str:
    """Return the address of the run's files, which stays the same for as long as a store is open."""
    return str(client.get_run(run_id).info.artifact_uri)
