"""The prediction API as a Ray Serve deployment.

Its replicas claim no CPU of Ray's (``num_cpus=0``): on one machine, a search for a better model takes all of
them, and serving must neither wait for it nor keep it from starting. The operating system shares the cores.

For the same reason a replica computes with one thread of OpenMP: its threads wait for each other by spinning,
and on cores that are shared that made single answers ten times slower. More cores are used by more replicas.

``ray.serve`` is imported where it is used: it reads its settings from the environment when it is imported,
and `tidemill.serving.runtime.ray_cluster` has to set them before.
"""

import gc
import logging
import os
from pathlib import Path
from typing import Any

import ray
from starlette.types import ASGIApp

from tidemill.project import Project, load_project
from tidemill.project.project_config import AutoscalingConfig
from tidemill.serving.runtime.replica import ray_shortcut
from tidemill.settings import Settings

__all__ = ["APPLICATION", "Replica", "application", "listen_on_loopback_only", "scaling"]

APPLICATION = "tidemill"
"""Name of the application in Ray Serve."""
_IN_FLIGHT = 1024
_LOOPBACK = "127.0.0.1"


class Replica:
    """One process that answers requests."""

    def __init__(self, root: str, settings: Settings, *_parts: object) -> None:
        """Load the project at ``root``; the model comes when the API starts.

        Args:
            root: of the project.
            settings: where things are.
            _parts: handles of the other models that take part; `composed_replicas` finds them.
        """
        from ray import serve

        os.environ["OMP_NUM_THREADS"] = "1"  # read when scikit-learn is imported, which is later
        # A registry that is away is asked again anyway; MLflow's own patience is minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        listen_on_loopback_only()
        logging.getLogger("tidemill").handlers = logging.getLogger("ray.serve").handlers
        logging.getLogger("tidemill").setLevel(logging.INFO)
        self._project = load_project(Path(root), settings)
        self._name = serve.get_replica_context().replica_id.unique_id

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Build the API in the replica itself: it holds threads, files and database connections."""
        from tidemill.serving.runtime.replica.wiring import (
            build_api,  # its engines take seconds: not where it is deployed
        )

        front = build_api(self._project, self._name)
        if self._project.config.serve.autoscaling is None:
            ray_shortcut.use(front)
        _spare_the_collector()
        return front


def application(project: Project) -> Any:
    """Return the Serve application (a ``serve.Application``) of a project, with the parts of a composition.

    Raises:
        ConfigError: the project's application cannot be imported.
    """
    from ray import serve

    from tidemill.serving.runtime.replica.composed_replicas import part_deployments

    config = project.config.serve
    composition = project.load(project.config.project.application).composition
    parts = part_deployments(project.root, project.settings, composition)
    deployment = serve.deployment(
        serve.ingress()(Replica),
        name="predictions",
        **scaling(config.replicas, config.autoscaling),
        max_ongoing_requests=_IN_FLIGHT,
        ray_actor_options={"num_cpus": 0},
        # A replica that is stopped ends what it has begun, and says so if that takes too long.
        graceful_shutdown_timeout_s=config.timeout_seconds + 2,
        health_check_period_s=5,
    )
    return deployment.bind(str(project.root), project.settings, *parts.values())


def scaling(replicas: int, autoscaling: AutoscalingConfig | None) -> dict[str, Any]:
    """Return what Ray Serve is told about the number of replicas.

    >>> scaling(2, None)
    {'num_replicas': 2}
    """
    if autoscaling is None:
        return {"num_replicas": replicas}
    return {
        "autoscaling_config": {
            "min_replicas": autoscaling.min,
            "max_replicas": autoscaling.max,
            "target_ongoing_requests": autoscaling.target_ongoing_requests,
            "upscale_delay_s": autoscaling.upscale_seconds,
            "downscale_delay_s": autoscaling.downscale_seconds,
        }
    }


def _spare_the_collector() -> None:
    """Have Python's garbage collector look only at what requests leave, and less often.

    The half million objects of the engines stay until the end: looking through them once stops all answers
    for a third of a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def listen_on_loopback_only() -> None:
    """Keep what Ray Serve opens in this process on loopback, if the node is there."""
    if ray.util.get_node_ip_address() != _LOOPBACK:
        return
    # Ray Serve 2.60 opens a gRPC server for calls between deployments on all interfaces and has no setting
    # for that. Its address is the node's, here loopback, so nobody who may call it is kept out.
    from ray.serve._private import replica as ray_replica

    add_port = ray_replica.add_port_to_grpc_server

    def add_local_port(server: object, address: str) -> object:
        return add_port(server, address.replace("[::]", _LOOPBACK))

    ray_replica.add_port_to_grpc_server = add_local_port
