"""The records of jobs, the only source of truth on their state; each function is one transaction.

A job is ``queued`` → ``running`` → ``done``; it goes back to ``queued`` when an attempt fails or its worker
dies, to ``dead`` when that happened too often, and to ``cancelled`` on request. The broker's
messages only wake workers up: a lost one is sent again, a repeated one finds nothing to do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError

from tidemill.accounts import audit
from tidemill.errors import JobNotFound, ServingError
from tidemill.state import State
from tidemill.state.tables import Job

__all__ = [
    "ENDED",
    "STATUSES",
    "JobRefused",
    "Retries",
    "advance",
    "cancel",
    "claim",
    "count_jobs",
    "due_jobs",
    "ended_before",
    "fail",
    "find_by_idempotency_key",
    "finish",
    "forget",
    "get_job",
    "job_exists",
    "list_jobs",
    "mark_published",
    "postpone",
    "retry",
    "submit",
]

STATUSES = ("queued", "running", "done", "dead", "cancelled")
ENDED = ("done", "dead", "cancelled")
_LONGEST_WAIT = timedelta(minutes=10)
_LONGEST_ERROR = 2000


class JobRefused(ServingError):
    """The job's state does not allow the request."""


@dataclass(frozen=True)
class Retries:
    """How often a job without progress is tried again, and after which waits."""

    attempts: int
    seconds: float
    """Before the second attempt; each further one waits twice as long, 10 minutes at most."""

    def wait(self, attempts: int) -> timedelta:
        """Return how long to wait after so many attempts.

        >>> [Retries(3, 5.0).wait(number).total_seconds() for number in (1, 2, 3)]
        [5.0, 10.0, 20.0]
        """
        return min(timedelta(seconds=self.seconds * 2 ** min(attempts - 1, 20)), _LONGEST_WAIT)


def submit(state: State, job: Job) -> Job:
    """Record a new job; return it, or the one that was submitted with the same key before."""
    try:
        with state.transaction() as session:
            session.add(job)
    except IntegrityError:
        known = None if job.key is None else find_by_idempotency_key(state, job.model, job.caller, job.key)
        if known is None:
            raise
        return known
    return job


def find_by_idempotency_key(state: State, model: str, caller: str, key: str) -> Job | None:
    """Return the job that ``caller`` submitted with an idempotency key; None if there is none."""
    with state.transaction() as session:
        return session.scalar(select(Job).where(Job.model == model, Job.caller == caller, Job.key == key))


def get_job(state: State, model: str, job_id: str, caller: str | None = None) -> Job:
    """Return a job.

    Args:
        state: the records.
        model: name of the registered model.
        job_id: of the job.
        caller: whose it must be; None for any.

    Raises:
        JobNotFound: the caller has no job with this id.
    """
    with state.transaction() as session:
        job = session.get(Job, job_id)
    if job is None or job.model != model or caller not in (None, job.caller):
        raise JobNotFound(f"there is no job {job_id}", hint="it may have expired; `tidemill jobs list`")
    return job


def job_exists(state: State, job_id: str) -> bool:
    """Return whether a job is on record, of whatever model."""
    with state.transaction() as session:
        return session.get(Job, job_id) is not None


def list_jobs(
    state: State,
    model: str,
    *,
    caller: str | None = None,
    statuses: Sequence[str] = (),
    before: str | None = None,
    limit: int = 100,
) -> list[Job]:
    """Return jobs, the latest first.

    Args:
        state: the records.
        model: name of the registered model.
        caller: whose; None for everybody's.
        statuses: only these; default: all.
        before: only jobs that were submitted before the one with this id.
        limit: at most so many.
    """
    query = select(Job).where(Job.model == model).order_by(Job.id.desc()).limit(limit)
    if caller is not None:
        query = query.where(Job.caller == caller)
    if statuses:
        query = query.where(Job.status.in_(statuses))
    if before is not None:
        query = query.where(Job.id < before)
    with state.transaction() as session:
        return list(session.scalars(query))


def count_jobs(state: State, model: str) -> dict[str, int]:
    """Return how many jobs there are in each status, zeros included."""
    query = select(Job.status, func.count()).where(Job.model == model).group_by(Job.status)
    with state.transaction() as session:
        found = {row[0]: int(row[1]) for row in session.execute(query)}
    return {status: found.get(status, 0) for status in STATUSES}


def due_jobs(state: State, model: str, now: datetime, sent_before: datetime, limit: int = 1) -> list[str]:
    """Return the ids of the oldest jobs that may be run now and of which no message was sent lately."""
    query = (
        select(Job.id)
        .where(Job.model == model, Job.status == "queued", Job.due_at <= now)
        .where((Job.published_at.is_(None)) | (Job.published_at < sent_before))
        .order_by(Job.due_at, Job.id)
        .limit(limit)
    )
    with state.transaction() as session:
        return list(session.scalars(query))


def mark_published(state: State, job_id: str, now: datetime) -> None:
    """Record that a message was sent."""
    _change(state, job_id, published_at=now)


def claim(state: State, job_id: str, worker: str, now: datetime) -> Job | None:
    """Take a queued job that is due; return it as it is now; None if there is nothing to take.

    The caller holds the job's lock (`tidemill.serving.jobs.job_files`), so that no other worker runs it.
    """
    with state.transaction() as session:
        job = session.get(Job, job_id)
        if job is None or job.status != "queued" or job.due_at > now:
            return None
        job.status, job.worker, job.attempts = "running", worker, job.attempts + 1
        job.started_at = job.started_at or now
        return job


def advance(state: State, job_id: str, rows_done: int, version: str) -> bool:
    """Record how far a job has come; return False if it is to be cancelled.

    Progress resets the count of attempts: only attempts without progress are counted.
    """
    with state.transaction() as session:
        job = session.get(Job, job_id)
        if job is None:
            return False
        if rows_done > job.rows_done:
            job.rows_done, job.attempts = rows_done, 1
        job.version = version
        return not job.cancel_requested


def finish(state: State, job_id: str, status: str, now: datetime) -> None:
    """Record the end of a job that ran: ``done`` or ``cancelled``."""
    error = {"error": None} if status == "done" else {}
    _change(state, job_id, status=status, finished_at=now, worker=None, **error)


def fail(
    state: State, job_id: str, reason: str, retries: Retries, now: datetime, *, again: bool = True
) -> Job | None:
    """Record a failed attempt: the job is queued again, or dead after too many of them.

    Args:
        state: the records.
        job_id: the job.
        reason: what is told of it.
        retries: how often it is tried.
        now: wall-clock time.
        again: whether another attempt could end otherwise; if not, the job is dead at once.
    """
    with state.transaction() as session:
        job = session.get(Job, job_id)
        if job is None or job.status != "running":
            return job
        job.error, job.worker, job.published_at = reason[:_LONGEST_ERROR], None, None
        if job.cancel_requested:
            job.status, job.finished_at = "cancelled", now
        elif not again or job.attempts >= retries.attempts:
            job.status, job.finished_at = "dead", now
        else:
            job.status, job.due_at = "queued", now + retries.wait(job.attempts)
        return job


def postpone(state: State, job_id: str, until: datetime, reason: str | None = None) -> None:
    """Queue a running job again because its worker is being stopped, or because of ``reason``.

    This does not count as an attempt.
    """
    with state.transaction() as session:
        job = session.get(Job, job_id)
        if job is not None and job.status == "running":
            job.status, job.due_at, job.worker, job.published_at = "queued", until, None, None
            job.error = reason[:_LONGEST_ERROR] if reason else job.error
            job.attempts = max(0, job.attempts - 1)


def cancel(state: State, job: Job, now: datetime, by: str) -> Job:
    """Cancel a job: at once if it waits, after the chunk under way if it runs; ``by`` says who does.

    Raises:
        JobRefused: it has ended already, and was not cancelled.
    """
    with state.transaction() as session:
        found = session.get(Job, job.id)
        if found is None:
            raise JobNotFound(f"there is no job {job.id}", hint="it has expired meanwhile")
        if found.status == "queued":
            found.status, found.finished_at = "cancelled", now
        elif found.status in ENDED and found.status != "cancelled":
            raise JobRefused(f"job {job.id} has ended: it is {found.status}")
        found.cancel_requested = True
        audit.append(session, audit.Act(by, "cancel", "job", found.id, found.model))
        return found


def retry(state: State, job: Job, now: datetime, by: str) -> Job:
    """Queue a dead job again; it goes on where it stopped; ``by`` says who asks.

    Raises:
        JobRefused: it is not dead.
    """
    with state.transaction() as session:
        found = session.get(Job, job.id)
        if found is None or found.status != "dead":
            raise JobRefused(
                f"job {job.id} is not dead but {found.status if found else 'gone'}",
                hint="`tidemill jobs dead` lists those that can be tried again",
            )
        if found.erased_at is not None:
            raise JobRefused(f"job {job.id} cannot be tried again: {found.error}", hint="submit it anew")
        found.status, found.attempts, found.due_at = "queued", 0, now
        found.finished_at = found.published_at = None
        audit.append(session, audit.Act(by, "retry", "job", found.id, found.model))
        return found


def ended_before(state: State, model: str, moment: datetime) -> list[str]:
    """Return the ids of jobs that ended before ``moment``."""
    query = select(Job.id).where(Job.model == model, Job.status.in_(ENDED), Job.finished_at < moment)
    with state.transaction() as session:
        return list(session.scalars(query))


def forget(state: State, job_id: str) -> None:
    """Remove a job from the records."""
    with state.transaction() as session:
        session.execute(delete(Job).where(Job.id == job_id))


def _change(state: State, job_id: str, **values: Any) -> None:
    with state.transaction() as session:
        session.execute(update(Job).where(Job.id == job_id).values(**values))
