"""Reads how a release is on its cluster: who leads, how the RayService is, which RayJobs there are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from tidemill.errors import ClusterError
from tidemill.kubernetes.cluster_api import LEASES, RAY_JOBS, RAY_SERVICES, ClusterApi, find_place
from tidemill.kubernetes.ray_jobs.cluster_jobs import JobState, job_state
from tidemill.kubernetes.ray_jobs.ray_job_manifest import RELEASE
from tidemill.settings import Settings

__all__ = ["ClusterFacts", "ServiceFacts", "cluster_facts", "read_cluster"]

_SECONDS = 3.0
T = TypeVar("T")


@dataclass(frozen=True)
class ServiceFacts:
    """How the RayService is."""

    state: str
    """``ready``, ``not ready`` or ``being upgraded``."""
    message: str
    endpoints: int
    """Proxies of Ray that answer."""
    applications: Mapping[str, str]
    """Application of Ray Serve → its status, such as ``RUNNING``."""


@dataclass(frozen=True)
class ClusterFacts:
    """How a release is on its cluster."""

    namespace: str
    leader: str | None
    """The controller that works: its pod's name, and letters that tell processes apart."""
    renewed_at: datetime | None
    """When it last said so, by its own clock."""
    service: ServiceFacts | None
    """None where there is no RayService."""
    jobs: tuple[JobState, ...]
    problems: tuple[str, ...]
    """What could not be read, and why."""


def cluster_facts(settings: Settings) -> ClusterFacts | None:
    """Return how the release that the settings name is; None where there is none, or no API."""
    place = find_place(settings)
    if place is None or settings.kubernetes_release is None:
        return None
    api = ClusterApi(place)
    try:
        return read_cluster(api, settings.kubernetes_release)
    finally:
        api.close()


def read_cluster(api: ClusterApi, release: str) -> ClusterFacts:
    """Return how a release is. What cannot be read is said in ``problems``; it takes some seconds at most."""
    problems: list[str] = []

    def ask(question: Callable[[], T], otherwise: T) -> T:
        try:
            return question()
        except ClusterError as error:
            problems.append(f"{error} ({error.hint})")
            return otherwise

    lease = ask(lambda: api.get(LEASES, f"{release}-controller", seconds=_SECONDS), None)
    spec = (lease or {}).get("spec") or {}
    service = None
    jobs: list[dict[str, Any]] = []
    if not problems:  # an API that is away is away for all
        service = ask(lambda: api.get(RAY_SERVICES, f"{release}-serving", seconds=_SECONDS), None)
        jobs = ask(lambda: api.list(RAY_JOBS, {RELEASE: release}, seconds=_SECONDS), [])
    renewed = spec.get("renewTime")
    return ClusterFacts(
        api.namespace,
        spec.get("holderIdentity") or None,
        datetime.fromisoformat(renewed).astimezone(UTC) if renewed else None,
        None if service is None else _service(service.get("status") or {}),
        tuple(sorted((job_state(one) for one in jobs), key=lambda one: (one.is_over, one.name))),
        tuple(problems),
    )


def _service(status: Mapping[str, Any]) -> ServiceFacts:
    """Read the status of a RayService.

    >>> ready = {"type": "Ready", "status": "False", "reason": "Initializing", "message": "no pod yet"}
    >>> _service({"conditions": [ready]})
    ServiceFacts(state='not ready', message='no pod yet', endpoints=0, applications={})
    """
    conditions = {one["type"]: one for one in status.get("conditions") or []}
    ready, upgrade = conditions.get("Ready", {}), conditions.get("UpgradeInProgress", {})
    state = "ready" if ready.get("status") == "True" else "not ready"
    message = "" if state == "ready" else ready.get("message") or ready.get("reason", "")
    if state == "ready" and upgrade.get("status") == "True":
        state, message = "being upgraded", upgrade.get("message", "")
    applications = (status.get("activeServiceStatus") or {}).get("applicationStatuses") or {}
    return ServiceFacts(
        state,
        message,
        int(status.get("numServeEndpoints") or 0),
        {name: str(one.get("status", "")) for name, one in applications.items()},
    )
