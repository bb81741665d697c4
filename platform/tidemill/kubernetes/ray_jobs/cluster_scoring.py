"""Scheduled batch scoring as RayJobs: one for each try of a slot."""

import logging
from datetime import datetime

from tidemill.clock import utc
from tidemill.errors import TidemillError
from tidemill.kubernetes.ray_jobs.cluster_jobs import ClusterJobs
from tidemill.kubernetes.ray_jobs.ray_job_manifest import job_name
from tidemill.project import Project
from tidemill.scoring.schedules.scheduled_runs import due_slots, give_up_try, number_of_try
from tidemill.state import State

__all__ = ["ClusterScoring"]

_log = logging.getLogger(__name__)


class ClusterScoring:
    """What the controller calls in each round in place of `scheduled_runs.start_due`."""

    def __init__(self, jobs: ClusterJobs, *, shared: bool) -> None:
        self._jobs, self._shared = jobs, shared

    def __call__(self, project: Project, state: State, now: datetime) -> list[str]:
        """Start a job for each slot that is due and has none; return the names of the schedules.

        A job that failed before it could record that is recorded as a failed try. What fails for one schedule
        keeps no other from being scored.
        """
        started = []
        for schedule, found in due_slots(project, state, now):
            tries = number_of_try(project, state, schedule, found)
            name = job_name("score", schedule.name, found.slot.isoformat(), str(tries))
            try:
                job = self._jobs.find(name)
                if job is None:
                    command = [
                        *(
                            "python",
                            "-m",
                            "tidemill.kubernetes.ray_jobs.job_process",
                            "--project",
                            str(project.root),
                        ),
                        *(
                            "--name",
                            name,
                            "score",
                            schedule.name,
                            found.slot.isoformat(),
                            utc(now).isoformat(),
                        ),
                    ]
                    self._jobs.start(name, "scoring", name, command, shared=self._shared, retries=0)
                    started.append(schedule.name)
                elif job.is_over:
                    error = f"RayJob {name} ended before its slot: {job.message or job.phase}"
                    give_up_try(project, state, schedule, found, now, error)
                    _log.error("%s: %s", schedule.name, error)
            except TidemillError as error:
                _log.error("%s: %s", schedule.name, error)
        return started
