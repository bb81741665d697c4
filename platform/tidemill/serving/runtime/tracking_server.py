"""The MLflow server of a local stack: the project's runs, models and artifacts, for a browser.

MLflow's own command, ``mlflow server``, starts a second process that serves, and waits for it. This module
serves in the process it runs in, which halves the memory and the start:

    python -m tidemill.serving.runtime.tracking_server TRACKING-URI ARTIFACTS-URI HOST PORT
"""

import sys
from collections.abc import Sequence

from tidemill.garbage import collect_rarely
from tidemill.project import Project

__all__ = ["command", "environment"]


def command(project: Project, host: str, port: int) -> list[str]:
    """Return the command line of a server over the project's tracking store.

    It is one process; artifacts are read where trainings put them, below the project's ``.tidemill``.
    """
    artifacts = (project.home / "artifacts").resolve().as_uri()
    return [sys.executable, "-m", __name__, project.tracking_uri, artifacts, host, str(port)]


def environment() -> dict[str, str]:
    """Return what the server's environment has beyond ours."""
    return {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONWARNINGS": "ignore",
    }


def main(arguments: Sequence[str]) -> None:
    """Serve until a signal ends the process; an unusable tracking store ends it at once."""
    collect_rarely()
    import uvicorn  # first: MLflow refuses foreign hosts and origins where it finds a server loaded

    from tidemill.training.tracking.private_mlflow import server_application

    tracking_uri, artifacts, host, port = arguments
    uvicorn.run(server_application(tracking_uri, artifacts), host=host, port=int(port))


if __name__ == "__main__":
    main(sys.argv[1:])
