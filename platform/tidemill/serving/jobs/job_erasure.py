"""Erase the input and output of a job; its record stays, marked as erased.

A job that has not ended is cancelled first. Its files are removed under the lock of the worker that runs it,
so that no worker writes them again. Killed anywhere, this is repeated as a whole.
"""

import time
from datetime import datetime

from tidemill.clock import Clock
from tidemill.serving.jobs.job_files import JobFiles
from tidemill.serving.jobs.job_records import ENDED, JobRefused
from tidemill.state import State
from tidemill.state.tables import Job

__all__ = ["erase_job"]

_LOOK_SECONDS = 0.2
_WHY = "what was submitted, and answered, was erased"


def erase_job(state: State, files: JobFiles, job_id: str, clock: Clock, wait_seconds: float) -> None:
    """Erase a job; one that is not on record any more, or not yet, loses its files all the same.

    Args:
        state: the records.
        files: the job's.
        job_id: of the job.
        clock: wall-clock time.
        wait_seconds: how long to wait for the worker that runs it: it stops after the chunk under way.

    Raises:
        JobRefused: the worker did not stop; the job stays cancelled, or to be cancelled.
        ServingError: a file cannot be removed.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        _cancel(state, job_id, clock.now())  # each time: a dead one may be queued again meanwhile
        with files.lock() as free:
            if free:
                _put_on_record(state, job_id, clock.now())  # first, so that no client gets half a result
                files.erase()
                return
        if time.monotonic() >= deadline:
            raise JobRefused(
                f"job {job_id} is still being run, {wait_seconds:g} s after it was cancelled",
                hint=f"wait until `tidemill jobs show {job_id}` says cancelled, or end its worker by "
                "`tidemill down`",
            )
        time.sleep(_LOOK_SECONDS)


def _cancel(state: State, job_id: str, now: datetime) -> None:
    with state.transaction() as session:
        job = session.get(Job, job_id)
        if job is None or job.status in ENDED:
            return
        job.cancel_requested = True
        if job.status == "queued":
            job.status, job.finished_at = "cancelled", now


def _put_on_record(state: State, job_id: str, now: datetime) -> None:
    with state.transaction() as session:
        job = session.get(Job, job_id)
        if job is None:
            return
        if job.status not in ENDED:  # it ran, and its worker died
            job.status, job.finished_at, job.worker = "cancelled", now, None
        # Idempotency keys and errors may contain personal data; a digest can be guessed.
        job.key, job.digest, job.error = None, "", _WHY
        job.erased_at = job.erased_at or now
