"""Builds the prediction API where KubeRay runs Ray: the chart's ``serveConfigV2`` names these functions."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tidemill.project import Project, load_project
from tidemill.serving.runtime.configuration_checks import require_coherent

__all__ = ["build", "build_jobs"]

_CPUS = 1.0
"""Of Ray's, that a replica claims: they decide how many fit on a worker, and what the autoscaler sees."""


def build(arguments: Mapping[str, str]) -> Any:
    """Return the Serve application of the project in ``arguments["project"]``.

    Settings come from the environment of Ray's pods. Beyond loopback (``TIDEMILL_HOST``) every request needs
    an API key, so that it may start before there is one.

    Raises:
        ConfigError: the project's declarations are wrong, or do not fit together.
    """
    from tidemill.serving.runtime.replica.ray_deployment import application  # imports Ray Serve

    project = _project(arguments)
    require_coherent(project)
    return application(project, cpus=_CPUS)


def build_jobs(arguments: Mapping[str, str]) -> Any:
    """Return the Serve application of the workers of slow predictions.

    Raises:
        ConfigError: as of `build`.
    """
    from tidemill.serving.runtime.replica import job_worker

    return job_worker.application(_project(arguments))


def _project(arguments: Mapping[str, str]) -> Project:
    project = load_project(Path(arguments["project"]))
    # What we call the API with ourselves is not the replicas' to keep.
    return replace(project, settings=replace(project.settings, api_key=None))
