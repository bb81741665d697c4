"""Names of MLflow that it does not document, each with why it is needed."""

from typing import Any

__all__ = ["NAMES", "artifact_repository", "silence_telemetry"]

NAMES = (
    (
        "mlflow.store.artifact.artifact_repository_registry.get_artifact_repository",
        "the client's own methods find the files of a run by its id alone, and take those of a project for "
        "those of its copy; and none of them writes beside a model that exists",
    ),
    (
        "mlflow.telemetry.set_telemetry_client",
        "the environment variable that switches usage statistics off is read when MLflow is imported, which "
        "somebody else may have done before",
    ),
)
"""Dotted paths, and why each is used."""


def artifact_repository(address: str, tracking_uri: str) -> Any:
    """Return MLflow's access to the files at ``address``, an URI as MLflow recorded it."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(address, tracking_uri=tracking_uri)


def silence_telemetry() -> None:
    """Switch MLflow's usage statistics off in this process; ``MLFLOW_DISABLE_TELEMETRY`` must be set."""
    from mlflow.telemetry import set_telemetry_client

    set_telemetry_client()
