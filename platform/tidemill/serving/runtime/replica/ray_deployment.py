"""The prediction API as a Ray Serve deployment."""

import gc
import logging
from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp

from tidemill.project import Project
from tidemill.project.serve_config import AutoscalingConfig, RayResources
from tidemill.serving.runtime.replica.composed_replicas import part_deployments
from tidemill.serving.runtime.replica.process_start import OPTIONS, replica_name, start_process
from tidemill.settings import Settings

__all__ = ["Replica", "application", "claimed", "scaling"]

_log = logging.getLogger(__name__)
_IN_FLIGHT = 1024


class Replica:
    """One process that answers requests."""

    def __init__(self, root: str, settings: Settings, *_parts: object) -> None:
        """Load the project at ``root``; the model comes when the API starts.

        Args:
            root: of the project.
            settings: where things are.
            _parts: handles of the other models that take part; `composed_replicas` finds them.
        """
        self._project = start_process(root, settings)
        self._name = replica_name()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Build the API in the replica itself: it holds threads, files and database connections."""
        # Their engines take seconds: not where it is deployed, and not in Ray Serve's proxies.
        from tidemill.serving.http import fast_lane
        from tidemill.serving.runtime.replica import ray_shortcut
        from tidemill.serving.runtime.replica.wiring import build_api

        fast_lane.install()  # before Ray Serve starts this replica's server
        front = build_api(self._project, self._name)
        serve = self._project.config.serve
        if serve.fast_lane and serve.autoscaling is None:
            ray_shortcut.install(front)
        _spare_the_collector()
        return front


def application(project: Project, cpus: float = 0.0) -> Any:
    """Return the Serve application (a ``serve.Application``) of a project, with the parts of a composition.

    Args:
        project: what to serve.
        cpus: that a replica claims of Ray, where ``serve.resources`` does not say it.

    Raises:
        ConfigError: the project's application cannot be imported.
    """
    from ray import serve

    config = project.config.serve
    composition = project.load_application().composition
    parts = part_deployments(project.root, project.settings, composition)
    deployment = serve.deployment(
        serve.ingress()(Replica),
        name="predictions",
        **scaling(config.replicas, config.autoscaling),
        max_ongoing_requests=_IN_FLIGHT,
        # A replica that is stopped ends what it has begun, and says so if that takes too long.
        graceful_shutdown_timeout_s=config.timeout_seconds + 2,
        **OPTIONS | {"ray_actor_options": claimed(config.resources, cpus, _capacity(project))},
    )
    return deployment.bind(str(project.root), project.settings, *parts.values())


def claimed(resources: RayResources, cpus: float, there: Mapping[str, float]) -> dict[str, Any]:
    """Return what a replica claims of Ray; no GPU where there is none, which is told.

    >>> claimed(RayResources(gpus=0.5, accelerator="T4"), 1.0, {"GPU": 2.0})
    {'num_cpus': 1.0, 'num_gpus': 0.5, 'accelerator_type': 'T4'}
    >>> claimed(RayResources(cpus=2, gpus=1), 1.0, {"CPU": 4.0})
    {'num_cpus': 2.0}
    """
    options: dict[str, Any] = {"num_cpus": cpus if resources.cpus is None else resources.cpus}
    if not resources.gpus:
        return options
    if not there.get("GPU"):
        _log.warning(
            "serve.resources asks for %g GPU a replica, and Ray has none here: it runs on CPUs",
            resources.gpus,
        )
        return options
    typed = {} if resources.accelerator is None else {"accelerator_type": resources.accelerator}
    return {**options, "num_gpus": resources.gpus, **typed}


def _capacity(project: Project) -> Mapping[str, float]:
    import ray

    from tidemill.training.ray_session import ray_capacity

    return ray_capacity(project.settings) if ray.is_initialized() else {}


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
    """Make Python's garbage collector look only at what requests leave, and less often.

    The half million objects of the engines stay until the end: looking through them once stops all answers
    for a third of a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
