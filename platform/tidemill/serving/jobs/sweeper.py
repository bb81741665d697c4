"""Clean up after jobs: dead workers, lost messages, jobs that hang or have expired."""

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from tidemill.clock import Clock
from tidemill.serving.jobs import job_records
from tidemill.serving.jobs.job_files import JobFiles
from tidemill.serving.jobs.job_runner import Progress
from tidemill.state import State

__all__ = ["Sweeper"]

_RESEND = timedelta(seconds=5)
_HOUSEKEEPING = 60.0
_ORPHAN_SECONDS = 3600.0
_log = logging.getLogger(__name__)


@dataclass
class Sweeper:
    """One worker's view on the jobs of its model. `sweep` is called every second or so."""

    state: State
    model: str
    folder: Path
    """Of all jobs."""
    publish: Callable[[str], bool]
    """Sends a message that wakes a worker up for a job."""
    retries: job_records.Retries
    keep: timedelta
    """How long a job that has ended is kept."""
    chunk_seconds: float
    """How long a chunk may take."""
    clock: Clock
    progress: Progress
    _next_cleaning: float = field(default=0.0, repr=False)

    def sweep(self) -> bool:
        """Do what is to be done now; return whether the worker is sound: not if its chunk takes too long."""
        hanging = self._hanging()
        if hanging:
            return False
        self._find_dead_workers()
        if self.progress.job_id is None:
            self._wake_up()
        if time.monotonic() >= self._next_cleaning:
            self._next_cleaning = time.monotonic() + _HOUSEKEEPING
            self._clean()
        return True

    def _hanging(self) -> bool:
        job_id, rows, since = self.progress.job_id, self.progress.rows, self.progress.since
        if job_id is None or time.monotonic() - since < self.chunk_seconds:
            return False
        reason = f"rows {rows} took longer than {self.chunk_seconds:g} s (serve.jobs.chunk_seconds)"
        _log.error("job %s: %s; the worker ends", job_id, reason)
        job_records.fail(self.state, job_id, reason, self.retries, self.clock.now())
        return True

    def _find_dead_workers(self) -> None:
        for job in job_records.list_jobs(self.state, self.model, statuses=["running"]):
            if job.id == self.progress.job_id:
                continue
            with JobFiles(self.folder / job.id).lock() as free:
                if not free:
                    continue
                # Its worker is dead, or has just finished: then the record says so by now.
                reason = f"its worker died while it was at rows from {job.rows_done} on"
                after = job_records.fail(self.state, job.id, reason, self.retries, self.clock.now())
                if after is not None and after.status != job.status:
                    _log.warning("job %s: %s; it is %s", job.id, reason, after.status)
                if after is not None and after.status == "cancelled":
                    JobFiles(self.folder / job.id).drop_input()

    def _wake_up(self) -> None:
        """Send messages again that the broker lost or never got: this worker idles, so none is on its way."""
        now = self.clock.now()
        for job_id in job_records.due_jobs(self.state, self.model, now, now - _RESEND):
            if self.publish(job_id):
                job_records.mark_published(self.state, job_id, now)

    def _clean(self) -> None:
        for job_id in job_records.ended_before(self.state, self.model, self.clock.now() - self.keep):
            job_records.forget(self.state, job_id)  # first: no job is on record without its result
            JobFiles(self.folder / job_id).remove()
        self._remove_orphans()

    def _remove_orphans(self) -> None:
        """Remove files of jobs without a record: their replica died in between."""
        for folder in self.folder.glob("job_*"):
            age = time.time() - folder.stat().st_mtime
            if age > _ORPHAN_SECONDS and not job_records.job_exists(self.state, folder.name):
                shutil.rmtree(folder, ignore_errors=True)
