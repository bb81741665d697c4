"""The MLflow server of a local stack: the project's runs, models and artifacts, for a browser."""

import sys

from tidemill.project import Project

__all__ = ["command", "environment"]


def command(project: Project, host: str, port: int) -> list[str]:
    """Return the command line of a server over the project's tracking store.

    It has one worker; artifacts are read where trainings put them, below the project's ``.tidemill``.
    """
    artifacts = (project.home / "artifacts").resolve().as_uri()
    options = {
        "--backend-store-uri": project.tracking_uri,
        "--default-artifact-root": artifacts,
        "--artifacts-destination": artifacts,
        "--host": host,
        "--port": str(port),
        "--workers": "1",
    }
    words = [word for option in options.items() for word in option]
    return [sys.executable, "-m", "mlflow", "server", *words]


def environment() -> dict[str, str]:
    """Return what the server's environment has beyond ours."""
    return {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONWARNINGS": "ignore",
    }
