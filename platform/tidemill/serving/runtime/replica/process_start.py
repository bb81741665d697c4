"""Prepare a process of Ray Serve: the same for replicas, parts of a composition and workers of jobs.

They claim no CPU of Ray's (``num_cpus=0``): on one machine, a search for a better model takes all of them,
and serving must neither wait for it nor keep it from starting. The operating system shares the cores. For the
same reason a process computes with one thread of OpenMP: its threads wait for each other by spinning, and on
cores that are shared that made single answers ten times slower. More cores are used by more processes.

``ray.serve`` is imported where it is used: it reads its settings from the environment when it is imported,
and `tidemill.serving.runtime.ray_cluster` has to set them before.
"""

import logging
import os
from pathlib import Path

from tidemill.garbage import collect_rarely
from tidemill.project import Project, load_project
from tidemill.serving.runtime.private_ray import listen_on_loopback_only
from tidemill.settings import Settings

__all__ = ["APPLICATION", "OPTIONS", "replica_name", "start_process"]

APPLICATION = "tidemill"
"""Name of the application in Ray Serve."""
OPTIONS = {"ray_actor_options": {"num_cpus": 0}, "health_check_period_s": 5}
"""Of every deployment."""


def start_process(root: str, settings: Settings) -> Project:
    """Prepare this process, and return the project at ``root``; engines are imported after this."""
    collect_rarely()
    os.environ["OMP_NUM_THREADS"] = "1"  # read when scikit-learn is imported
    # The registry is polled again anyway; MLflow's own retries would take minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    listen_on_loopback_only()
    logging.getLogger("tidemill").handlers = logging.getLogger("ray.serve").handlers
    logging.getLogger("tidemill").setLevel(logging.INFO)
    return load_project(Path(root), settings)


def replica_name() -> str:
    """Return what identifies this process in the log and in the records."""
    from ray import serve

    return str(serve.get_replica_context().replica_id.unique_id)
