"""Defines the section ``kubernetes`` of ``params.yaml``: where work runs on a cluster."""

from typing import Literal

from pydantic import Field

from tidemill.project.serve_config import Section

__all__ = ["JobResources", "KubernetesConfig"]

WorkPlace = Literal["local", "rayjob", "cluster"]


class JobResources(Section):
    """What a Ray cluster of a job asks the cluster for."""

    cpus: float = Field(default=2.0, gt=0)
    """CPUs of each Ray node that computes."""
    memory: str = Field(default="8Gi", pattern=r"^[1-9]\d*(Mi|Gi|Ti)$")
    """Its memory, which is also its limit."""
    gpus: int = Field(default=0, ge=0)
    """Its GPUs (``nvidia.com/gpu``)."""
    workers: int = Field(default=0, ge=0)
    """Ray nodes beside the head; 0: the head computes."""


class KubernetesConfig(Section):
    """Where the controller of a cluster has work done; without a cluster it means nothing."""

    turns: WorkPlace = "local"
    """Turns: ``local``, in the pod of the controller, or of who asks for one; ``rayjob``, each on a Ray
    cluster of its own; ``cluster``, on a RayCluster that they share."""
    scoring: WorkPlace = "local"
    """Scheduled batch scoring, in the same way."""
    cluster: str | None = Field(default=None, pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$", max_length=63)
    """Name of that RayCluster, with the project's image and volume; default: the chart's own."""
    resources: JobResources = JobResources()
    """Of ``rayjob``."""
    retries: int = Field(default=2, ge=0, le=10)
    """Of ``rayjob``: how often a job that failed, or whose cluster died, goes on with a new one."""
    hours: float = Field(default=24.0, gt=0, le=720)
    """A job that takes longer is ended, and its turn has failed."""
    keep_minutes: int = Field(default=60, ge=0)
    """How long a job that has ended can be looked at; then it is deleted."""
