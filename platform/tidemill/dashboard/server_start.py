"""What the dashboard's process does as it starts, so that it neither slows serving nor its first page."""

import importlib
import os
import resource
from typing import Final

from tidemill.dashboard.templating import compile_templates
from tidemill.threads import BackgroundThread

__all__ = [
    "READ_AHEAD",
    "allow_connections",
    "fail_soon",
    "give_way",
    "patient_environment",
    "read_ahead",
]

READ_AHEAD: Final = ("tidemill.training.tracking.run_reading", "tidemill.lineage.graph.chain")
"""They import MLflow, which takes seconds; pages about runs, versions and lineage need it."""
_NICENESS = 10
_FILES = 8192
_IMPATIENT: Final = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
_set_here: dict[str, str] = {}


def give_way() -> None:
    """Let serving go first where processors are scarce; what is begun from here gives way as well."""
    os.nice(max(0, _NICENESS - os.nice(0)))


def allow_connections() -> None:
    """Let this process have more files and connections open than the 1,024 that are usual, if it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def fail_soon() -> None:
    """Let MLflow's client say within seconds that its server is away; of itself it tries for minutes.

    What is done in processes of their own keeps its patience: `patient_environment`.
    """
    for name, value in _IMPATIENT.items():
        if name not in os.environ:
            os.environ[name] = _set_here[name] = value


def patient_environment() -> dict[str, str]:
    """Return the environment without what `fail_soon` has put into it."""
    return {name: value for name, value in os.environ.items() if name not in _set_here}


def read_ahead() -> None:
    """Begin to compile and import what the first pages would wait for."""
    BackgroundThread("read ahead", _read).start()


def _read() -> None:
    compile_templates()
    for name in READ_AHEAD:
        importlib.import_module(name)
