"""Check that the fields of ``serve`` fit together, before anything is started."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tidemill.errors import ConfigError
from tidemill.project import Project

if TYPE_CHECKING:
    from tidemill.serving.inference.application import Application

__all__ = ["REPLICA_PORTS", "require_coherent"]

REPLICA_PORTS = 64
"""Ports of a stack for its replicas, workers and parts: each process needs one."""
_BROKERS = ("redis", "rediss")
_BROKER_SECONDS = 3.0


def require_coherent(project: Project) -> None:
    """Check that the project's ``serve`` section, its application and the environment fit together.

    Raises:
        ConfigError: they do not; the message names each field and what to do.
    """
    problems = [*_numbers(project), *_limits(project), *_processes(project), *_broker(project)]
    if problems:
        raise ConfigError(
            f"{project.root / 'params.yaml'}: fields of serve conflict: {'; '.join(problems)}",
            hint="docs/project.md describes every field",
        )


def _numbers(project: Project) -> Iterator[str]:
    serve, scaling = project.config.serve, project.config.serve.autoscaling
    if scaling is None:
        return
    if "replicas" in serve.model_fields_set:
        yield "serve.replicas and serve.autoscaling both say how many replicas there are: leave one out"
    if scaling.min > scaling.max:
        yield f"serve.autoscaling.min ({scaling.min}) is above serve.autoscaling.max ({scaling.max})"
    if scaling.target_ongoing_requests > serve.max_in_flight:
        yield (
            f"serve.autoscaling.target_ongoing_requests ({scaling.target_ongoing_requests:g}) is above "
            f"serve.max_in_flight ({serve.max_in_flight}): requests would be refused, and no replica added"
        )


def _limits(project: Project) -> Iterator[str]:
    serve, batch, jobs = project.config.serve, project.config.serve.batch, project.config.serve.jobs
    if "max_rows" in batch.model_fields_set and batch.loop_rows > batch.max_rows:
        yield f"serve.batch.loop_rows ({batch.loop_rows}) is above serve.batch.max_rows ({batch.max_rows})"
    for name, seconds in (
        ("batch.wait_ms", batch.wait_ms / 1000),
        ("feature_seconds", serve.feature_seconds),
    ):
        if seconds >= serve.timeout_seconds:
            yield (
                f"serve.{name} ({seconds:g} s) does not fit into serve.timeout_seconds "
                f"({serve.timeout_seconds:g} s): raise that, or lower this"
            )
    if jobs.enabled and jobs.max_instances < serve.max_instances:
        yield (
            f"serve.jobs.max_instances ({jobs.max_instances}) is below serve.max_instances "
            f"({serve.max_instances}): POST /predict would take more rows than a job"
        )


def _processes(project: Project) -> Iterator[str]:
    serve = project.config.serve
    application: Application[Any] = project.load_application()
    composition = application.composition
    parts = 0 if composition is None else sum(part.replicas for part in composition.parts.values())
    replicas = serve.replicas if serve.autoscaling is None else serve.autoscaling.max
    workers = serve.jobs.workers if serve.jobs.enabled else 0
    wanted = 2 * replicas + workers + parts  # a replica that is replaced needs its port for a while
    if wanted > REPLICA_PORTS:
        yield (
            f"{replicas} replicas (twice, as they are replaced one by one), {workers} workers of jobs and "
            f"{parts} processes of a composition need {wanted} ports, and a stack has {REPLICA_PORTS}: lower "
            "serve.replicas or serve.autoscaling.max, serve.jobs.workers, or the replicas of the parts"
        )


def _broker(project: Project) -> Iterator[str]:
    secret = project.settings.broker_url
    if not project.config.serve.jobs.enabled:
        return
    if find_spec("celery") is None:
        yield "serve.jobs.enabled is true, and Celery is not installed: pip install 'tidemill[jobs]'"
        return
    if secret is None:
        return
    try:
        address = urlsplit(secret.get_secret_value())
        shown = f"{address.scheme}://{address.hostname}:{address.port or 6379}"
    except ValueError:
        yield "TIDEMILL_BROKER_URL is not an address: write one such as redis://host:6379/0"
        return
    if address.scheme not in _BROKERS:
        yield (
            f"TIDEMILL_BROKER_URL has scheme {address.scheme!r}: jobs go through Redis "
            f"({', '.join(_BROKERS)}), or through SQLite in .tidemill if it is not set"
        )
        return
    problem = _unreachable(secret.get_secret_value())
    if problem:
        yield f"the broker of jobs at {shown} (TIDEMILL_BROKER_URL) does not answer: {problem}"


def _unreachable(url: str) -> str | None:
    try:
        import redis
    except ModuleNotFoundError:
        return "the package redis is not installed: pip install 'tidemill[redis]'"
    client = redis.Redis.from_url(url, socket_connect_timeout=_BROKER_SECONDS, socket_timeout=_BROKER_SECONDS)
    try:
        client.ping()
    except (redis.RedisError, OSError, ValueError) as error:
        return str(error)
    finally:
        client.close()
    return None
