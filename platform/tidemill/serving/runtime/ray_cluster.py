"""A Ray cluster of our own with Ray Serve behind HAProxy, on this machine and for this machine only.

Ray is configured by environment variables that are read when its modules are imported, so `start` sets them,
starts everything, and puts the environment back; the processes of the cluster keep what they inherited.

Everything listens on loopback: Ray by its (oddly named) switch for single-node clusters, HAProxy by a wrapper
around its binary (`haproxy`), the replicas see to it themselves. Ray's own ports ask for a
token, which Ray keeps in ``~/.ray/auth_token``.
"""

import contextlib
import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray

from tidemill.errors import ServingError, TidemillError
from tidemill.orphan_reaper import MARK
from tidemill.project import Project
from tidemill.serving.runtime import private_ray
from tidemill.serving.runtime.configuration_checks import REPLICA_PORTS
from tidemill.serving.runtime.network import free_block, free_port
from tidemill.serving.runtime.private_haproxy import write_wrapper
from tidemill.serving.runtime.replica.process_start import APPLICATION
from tidemill.serving.runtime.replica.ray_shortcut import CALLBACK
from tidemill.settings import Settings
from tidemill.training.private_ray_settings import (
    LOOPBACK,
    SINGLE_NODE,
    needed_processes_only,
    read_environment,
)
from tidemill.training.ray_session import hold_ctrl_c, keep_sigterm

__all__ = ["join", "join_variables", "start", "stop"]

_JOIN = {
    **SINGLE_NODE,
    "RAY_AUTH_MODE": "token",
}


def join() -> None:
    """Prepare this process to connect to a cluster that `start` made in another process."""
    os.environ.update(_JOIN)
    read_environment()


def join_variables() -> dict[str, str]:
    """Return what a process needs in its environment to connect, before it imports Ray."""
    return dict(_JOIN)


def start(project: Project, folder: Path, mark: str, host: str, port: int) -> str:
    """Start Ray, Serve and the project's application; return the address of Ray's control store.

    Args:
        project: what to serve; its ``serve`` section says with how many replicas.
        folder: for Ray's session and HAProxy's files; its path must be short, for sockets are in it.
        mark: for the environment of every process.
        host: where the prediction API listens.
        port: a free port there.

    Raises:
        ServingError: Ray or Serve did not start.
    """
    if ray.is_initialized():
        raise ServingError(
            "this process is connected to a Ray already", hint="start the stack before anything uses Ray"
        )
    with keep_sigterm(), _environment(_serve_variables(project, folder, host, port) | {MARK: mark}):
        read_environment()
        try:
            _start_ray(project, folder)
            _start_serve(project, port)
            return str(ray.get_runtime_context().gcs_address)
        except TidemillError:
            raise
        except Exception as error:  # Ray raises anything, a bare Exception if its node is not up in time
            raise ServingError(
                f"the Ray cluster did not start: {error}", hint=f"see the logs in {project.logs}"
            ) from error


def stop() -> None:
    """Shut the cluster down, as far as it will; what remains is the guard's."""
    with contextlib.suppress(Exception):  # the cluster may be in any state
        ray.shutdown()
    private_ray.forget_client()


def _start_ray(project: Project, folder: Path) -> None:
    with hold_ctrl_c(), needed_processes_only():
        ray.init(
            address="local",
            num_cpus=project.settings.num_cpus or None,
            include_dashboard=False,
            namespace="tidemill",
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address=LOOPBACK,
            _temp_dir=str(folder / "ray"),
        )


def _start_serve(project: Project, port: int) -> None:
    # Not before its environment variables are there; and its Pydantic models are of an older fashion.
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        from ray import serve
        from ray.serve.config import HTTPOptions, ProxyLocation
        from ray.serve.schema import LoggingConfig

        from tidemill.serving.runtime.replica.ray_deployment import application

    if not private_ray.has_haproxy():
        raise ServingError(
            "ray.serve was imported before the stack was started, so HAProxy cannot be turned on",
            hint="import it later, or set RAY_SERVE_ENABLE_HA_PROXY=1 from the beginning",
        )
    project.logs.mkdir(parents=True, exist_ok=True)
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    logs = LoggingConfig(logs_dir=str(project.logs / "serve"), enable_access_log=False)
    serve.start(
        proxy_location=ProxyLocation.HeadOnly,
        http_options=HTTPOptions(host="127.0.0.1", port=port),  # replicas, too, listen there
        logging_config=logs,
    )
    without_key = replace(project, settings=_without_key(project.settings))
    serve.run(
        application(without_key),
        name=APPLICATION,
        logging_config=logs,
    )
    if project.config.serve.jobs.enabled:
        _start_jobs(without_key, logs)


def _without_key(settings: Settings) -> Settings:
    """Return what replicas need to know: what we call them with ourselves is not theirs to keep."""
    return replace(settings, api_key=None)


def _start_jobs(project: Project, logs: Any) -> None:
    # Its process takes seconds to start; jobs can wait, so the stack does not.
    from ray import serve

    from tidemill.serving.runtime.replica import job_worker

    jobs = serve.RunTarget(
        job_worker.application(project), name=job_worker.APPLICATION, route_prefix=None, logging_config=logs
    )
    serve.run_many([jobs], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)


def _serve_variables(project: Project, folder: Path, host: str, port: int) -> dict[str, str]:
    limits = project.config.serve.limits
    haproxy = folder / "haproxy"
    haproxy.mkdir(parents=True, exist_ok=True)
    wrapper = write_wrapper(haproxy, host, port, limits.header_seconds)
    return {
        **_JOIN,
        **_free_ports(),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # or replicas, at 15, give way to all that this machine does beside them
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": CALLBACK,
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(wrapper),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "a.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(haproxy / "m.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "state"),
        "RAY_SERVE_HAPROXY_LOG_TARGET": str(haproxy / "log"),  # a socket without a reader, not syslog's port
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30",  # on a busy machine 5 s, thrice, is not enough
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        # Else a Python process parses a line of HAProxy's for each request; our replicas count themselves.
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_MAXCONN": str(limits.connections),
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(limits.idle_seconds),
        # Later than the replica's own, so that it is the replica that says so; but a dead one says nothing.
        "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": str(math.ceil(project.config.serve.timeout_seconds) + 5),
        # Requests of a killed replica are sent to another one, once: at worst the log has a prediction that
        # no client received.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_HAPROXY_RETRIES": "2",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    }


def _free_ports() -> dict[str, str]:
    """Return the variables that give each process of a cluster a port that is free now."""
    first = free_block(2 * REPLICA_PORTS)
    alone = (
        "RAY_SERVE_HAPROXY_METRICS_PORT",
        "RAY_SERVE_HAPROXY_STATS_PORT",
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT",
        "AUTOSCALER_METRIC_PORT",
        "DASHBOARD_METRIC_PORT",
    )
    return {
        **{name: str(free_port()) for name in alone},
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(first + REPLICA_PORTS - 1),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(first + REPLICA_PORTS),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(first + 2 * REPLICA_PORTS - 1),
    }


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in (*variables, "RAY_ADDRESS")}
    os.environ.update(variables)
    os.environ.pop("RAY_ADDRESS", None)  # never join a foreign cluster
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
