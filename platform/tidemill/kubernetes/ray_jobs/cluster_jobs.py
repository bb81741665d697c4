"""Has KubeRay run work as RayJobs: starts or adopts them, says how they are, ends and deletes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from tidemill.errors import ClusterError
from tidemill.kubernetes.cluster_api import RAY_JOBS, ClusterApi
from tidemill.kubernetes.ray_jobs.ray_job_manifest import KIND, RELEASE, SUBJECT, ray_job, read_template
from tidemill.project.kubernetes_config import KubernetesConfig

__all__ = ["ClusterJobs", "JobState", "job_state"]

_SHOWN = 2000


@dataclass(frozen=True)
class JobState:
    """How a RayJob is."""

    name: str
    kind: str
    """``turn`` or ``scoring``."""
    subject: str
    phase: Literal["waiting", "running", "done", "failed"]
    message: str
    """What KubeRay says of it; after a failure also the last lines that the job wrote."""
    ended: datetime | None

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.phase in ("done", "failed")


def job_state(manifest: Mapping[str, Any]) -> JobState:
    """Read the state of a RayJob.

    >>> status = {"jobDeploymentStatus": "Failed", "reason": "DeadlineExceeded", "message": "too long"}
    >>> made = {"metadata": {"name": "turn-1", "labels": {KIND: "turn", SUBJECT: "turn_1"}}, "status": status}
    >>> job_state(made).phase, job_state(made).message
    ('failed', 'DeadlineExceeded: too long')
    """
    about, status = manifest["metadata"], manifest.get("status") or {}
    labels = about.get("labels") or {}
    deployment, job = status.get("jobDeploymentStatus", ""), status.get("jobStatus", "")
    phase: Literal["waiting", "running", "done", "failed"] = "waiting"
    if deployment in ("Failed", "ValidationFailed") or (deployment == "Complete" and job != "SUCCEEDED"):
        phase = "failed"
    elif deployment == "Complete":
        phase = "done"
    elif deployment == "Running":
        phase = "running"
    said = [status.get("reason") or (job if phase == "failed" else ""), status.get("message", "")]
    message = ": ".join(one for one in said if one)
    if len(message) > _SHOWN:
        message = f"{message[: _SHOWN // 4]} … {message[-3 * _SHOWN // 4 :]}"
    ended = status.get("endTime")
    return JobState(
        about["name"],
        labels.get(KIND, ""),
        labels.get(SUBJECT, ""),
        phase,
        message,
        datetime.fromisoformat(ended).astimezone(UTC) if ended else None,
    )


class ClusterJobs:
    """The RayJobs of a release."""

    def __init__(self, api: ClusterApi, template: Path, config: KubernetesConfig) -> None:
        """Take the file of the template, which is read for each job: an upgrade of the release changes it.

        Raises:
            ConfigError: it is none.
        """
        self._api, self._template, self._config = api, template, config
        labels = read_template(template)["metadata"]["labels"]
        self._own = {RELEASE: labels[RELEASE]}

    def find(self, name: str) -> JobState | None:
        """Return the state of a job; None if there is none.

        Raises:
            ClusterError: the API is away or refused, as of every call here.
        """
        found = self._api.get(RAY_JOBS, name)
        return None if found is None else job_state(found)

    def start(
        self,
        name: str,
        kind: str,
        subject: str,
        command: Sequence[str],
        *,
        shared: bool,
        retries: int | None = None,
    ) -> JobState:
        """Start a job, or adopt the one of that name, which has the same work.

        ``retries``: in place of the project's, how often KubeRay begins it again.
        """
        labels = {KIND: kind, SUBJECT: subject}
        body = ray_job(
            read_template(self._template), self._config, name, labels, command, shared=shared, retries=retries
        )
        made = self._api.create(RAY_JOBS, body) or self._api.get(RAY_JOBS, name)
        if made is None:
            raise ClusterError(
                f"RayJob {name} was deleted while it began", hint="it begins again in the next round"
            )
        return job_state(made)

    def all(self) -> list[JobState]:
        """Return the states of the jobs of this project's part of the release."""
        return [job_state(one) for one in self._api.list(RAY_JOBS, self._own) if KIND in _labels(one)]

    def end(self, name: str) -> bool:
        """Cancel a job, or delete one that is over; return whether there was one."""
        return self._api.delete(RAY_JOBS, name)

    def clean_up(self, now: datetime) -> list[str]:
        """Delete the jobs that have been over for as long as they are kept; return their names."""
        kept = timedelta(minutes=self._config.keep_minutes)
        old = [one.name for one in self.all() if one.is_over and one.ended and now - one.ended >= kept]
        return [name for name in old if self.end(name)]


def _labels(manifest: Mapping[str, Any]) -> Mapping[str, str]:
    return manifest["metadata"].get("labels") or {}
