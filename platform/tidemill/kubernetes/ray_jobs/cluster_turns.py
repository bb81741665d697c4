"""Turns as RayJobs: one for each turn, found again by its name whatever died meanwhile."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tidemill.errors import TurnInProgress
from tidemill.kubernetes.ray_jobs.cluster_jobs import ClusterJobs, JobState
from tidemill.kubernetes.ray_jobs.ray_job_manifest import job_name
from tidemill.project import Project
from tidemill.retraining.handed_over.recorded_turns import (
    begin_turn,
    cancelled_because,
    give_up_turn,
    is_being_made,
    running_turns,
)
from tidemill.retraining.turns.turn_begin import TurnRequest
from tidemill.state import State
from tidemill.state.tables import Turn

__all__ = ["ClusterTurns"]

_LATE = timedelta(minutes=5)
_LINES = 20
_log = logging.getLogger(__name__)


class ClusterTurns:
    """A `tidemill.retraining.controller.TurnPlace`.

    The turn is on record before its job is made, and the job's name comes from the turn's id. So a controller
    that died in between makes the job, one that died later finds it, and there are never two for a turn.
    """

    def __init__(self, jobs: ClusterJobs, *, shared: bool) -> None:
        self._jobs, self._shared = jobs, shared
        self._told: dict[str, str] = {}
        self._idle: dict[str, datetime] = {}

    def begin(self, project: Project, state: State, request: TurnRequest) -> Turn:
        """Record a turn, and make its job.

        Raises:
            ClusterError: the job could not be made; it is made in a later round.
        """
        turn = begin_turn(project, state, request)
        self._start(project, turn)
        return turn

    def attend(self, project: Project, state: State) -> None:
        """Make jobs that are missing, and give up turns whose job failed.

        Raises:
            TurnInProgress: a turn is being made, or begins.
            ClusterError: the API is away or refused.
        """
        running = running_turns(project, state)
        for turn in running:
            self._attend(project, state, turn)
        self._end_idle(state, {job_name(turn.id) for turn in running})
        if left := running_turns(project, state):
            raise TurnInProgress(f"turn {left[0].id} is made by a RayJob", hint="`tidemill status` shows it")

    def _attend(self, project: Project, state: State, turn: Turn) -> None:
        if is_being_made(project, state):  # its job, or somebody by hand: it is being made
            return
        job = self._jobs.find(job_name(turn.id))
        if job is None:
            job = self._start(project, turn)
        self._tell(turn, job)
        if job.is_over:
            error = f"RayJob {job.name} ended before its turn: {_why(project, job)}"
            given_up = give_up_turn(project, state, turn.id, error)
            _log.error("turn %s: %s", turn.id, given_up.error or given_up.status)

    def _start(self, project: Project, turn: Turn) -> JobState:
        name = job_name(turn.id)
        command = [
            *("python", "-m", "tidemill.kubernetes.ray_jobs.job_process", "--project", str(project.root)),
            *("--name", name, "turn", turn.id),
        ]
        return self._jobs.start(name, "turn", turn.id, command, shared=self._shared)

    def _end_idle(self, state: State, running: set[str]) -> None:
        """Cancel jobs whose turns were cancelled, or have long been over, and delete old ones."""
        now = datetime.now(UTC)
        for job in self._jobs.all():
            if job.kind != "turn" or job.is_over or job.name in running:
                self._idle.pop(job.name, None)
            elif (said := cancelled_because(state, job.subject)) is not None:
                if self._jobs.end(job.name):
                    _log.warning("RayJob %s was deleted: its turn was %s", job.name, said)
            elif now - self._idle.setdefault(job.name, now) > _LATE and self._jobs.end(job.name):
                _log.warning("RayJob %s was cancelled: its turn has ended", job.name)
        self._jobs.clean_up(now)

    def _tell(self, turn: Turn, job: JobState) -> None:
        said = f"{job.phase}{f': {job.message}' if job.message else ''}"
        if self._told.get(turn.id) != said:
            self._told = {turn.id: said}
            _log.info("turn %s: RayJob %s is %s", turn.id, job.name, said)


def _why(project: Project, job: JobState) -> str:
    """Return KubeRay's words, and the last lines of the job's own log if these are not in them."""
    said = job.message or f"it is {job.phase}"
    lines = _last_lines(project.logs / f"job-{job.name}.log")
    missing = [line for line in lines if line not in said]
    return said if not missing else "\n".join([said, *missing])


def _last_lines(file: Path) -> list[str]:
    try:
        return file.read_text(errors="replace").splitlines()[-_LINES:]
    except OSError:  # it never began
        return []
