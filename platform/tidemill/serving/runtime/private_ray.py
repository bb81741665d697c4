"""The names of Ray that are private to it and that serving needs, and what for.

Those that any Ray of our own needs are in `tidemill.training.private_ray_settings`.
Nothing else reaches into Ray. Each of `NAMES` must exist: a test names those that an upgrade removed.
"""

import sys
import threading

import ray

from tidemill.training.private_ray_settings import LOOPBACK

__all__ = [
    "NAMES",
    "forget_client",
    "has_haproxy",
    "listen_on_loopback_only",
    "worker_thread",
]

NAMES = (
    ("ray.serve.context._set_global_client", "forgets the Serve of a stack that was stopped in this process"),
    (
        "ray.serve._private.constants.RAY_SERVE_ENABLE_HA_PROXY",
        "says whether Serve was imported before the stack's environment was there",
    ),
    (
        "ray.serve._private.replica.add_port_to_grpc_server",
        "opens a port on all interfaces, and no setting makes it loopback alone",
    ),
    (
        "ray.serve.task_processor.CeleryTaskProcessorAdapter.start_consumer",
        "keeps Celery's thread as `_worker_thread`, which the health check of a worker of jobs watches",
    ),
)
"""Dotted path, and why it is needed. Beside them `ray.init` is given `_temp_dir`."""


def forget_client() -> None:
    """Make Ray Serve forget the cluster that this process was connected to."""
    if "ray.serve.context" in sys.modules:
        sys.modules["ray.serve.context"]._set_global_client(None)


def has_haproxy() -> bool:
    """Return whether this process's Ray Serve uses HAProxy: decided when it is imported."""
    from ray.serve._private import constants

    return bool(constants.RAY_SERVE_ENABLE_HA_PROXY)


def listen_on_loopback_only() -> None:
    """Keep what Ray Serve opens in this process on loopback, if the node is there."""
    if ray.util.get_node_ip_address() != LOOPBACK:
        return
    # Ray Serve 2.60 opens a gRPC server for calls between deployments on all interfaces and has no setting
    # for that. Its address is the node's, here loopback, so all legitimate callers still reach it.
    from ray.serve._private import replica as ray_replica

    add_port = ray_replica.add_port_to_grpc_server

    def add_local_port(server: object, address: str) -> object:
        return add_port(server, address.replace("[::]", LOOPBACK))

    ray_replica.add_port_to_grpc_server = add_local_port


def worker_thread(consumer: object) -> threading.Thread | None:
    """Return the thread in which Celery consumes messages for a task consumer; None before it has begun."""
    thread: threading.Thread | None = getattr(getattr(consumer, "_adapter", None), "_worker_thread", None)
    return thread
