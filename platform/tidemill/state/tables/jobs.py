"""Defines the tables of jobs (slow predictions), of scheduled batch scorings, and of work that is claimed."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.state.tables.declarative import Table

__all__ = ["BatchRun", "Claim", "Job"]


class Job(Table):
    """A slow prediction: its request, its progress and its result."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_model_requested_at_id", "model", "requested_at", "id"),
        Index("uq_jobs_model_caller_key", "model", "caller", "key", unique=True),
        Index("ix_jobs_model_status_due_at", "model", "status", "due_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    caller: Mapped[str]
    """Id of the API key that submitted it; empty where no key is needed."""
    key: Mapped[str | None]
    """Idempotency key: submitting the same one twice makes one job."""
    digest: Mapped[str]
    """SHA-256 of what was submitted, in hexadecimal; empty if that was erased."""
    status: Mapped[str]
    """``queued``, ``running``, ``done``, ``dead`` (too many attempts failed) or ``cancelled``."""
    version: Mapped[str | None]
    """The version that answers: the champion when the first attempt began."""
    at: Mapped[datetime]
    """Event time of its predictions."""
    test: Mapped[bool]
    rows: Mapped[int]
    rows_done: Mapped[int]
    attempts: Mapped[int]
    """Attempts since its last progress."""
    worker: Mapped[str | None]
    """The worker that runs it."""
    error: Mapped[str | None]
    """Why the last attempt failed."""
    cancel_requested: Mapped[bool]
    requested_at: Mapped[datetime]
    """Wall-clock time, as are the moments below."""
    due_at: Mapped[datetime]
    """The job does not run before this moment."""
    published_at: Mapped[datetime | None]
    """When a message about it last went to the broker."""
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    erased_at: Mapped[datetime | None]
    """When its files and their digests were erased because they named an erased subject."""


class BatchRun(Table):
    """One slot of a batch scoring schedule, and its result."""

    __tablename__ = "batch_runs"
    __table_args__ = (
        Index("uq_batch_runs_slot", "model", "schedule", "slot", unique=True),
        Index("ix_batch_runs_model_slot", "model", "slot"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    schedule: Mapped[str]
    slot: Mapped[datetime]
    """Moment of the slot: unique by schedule, so that no slot is scored twice."""
    status: Mapped[str]
    """``running`` (a process is scoring it, or was killed), ``done``, ``failed`` or ``skipped``."""
    tries: Mapped[int]
    version: Mapped[str | None]
    rows: Mapped[int | None] = mapped_column(BigInteger)
    """Number of rows in the input."""
    rejected: Mapped[int | None] = mapped_column(BigInteger)
    output: Mapped[str | None]
    error: Mapped[str | None]
    """Why the last try failed, or why it was skipped."""
    at: Mapped[datetime]
    """Moment of the last try."""
    requested_at: Mapped[datetime]
    """Wall-clock time of the record."""
    finished_at: Mapped[datetime | None]
    """Wall-clock time of the end of the last try."""


class Claim(Table):
    """Some work on a model that a process does right now (`tidemill.state.claims`)."""

    __tablename__ = "claims"

    model: Mapped[str] = mapped_column(primary_key=True)
    work: Mapped[str] = mapped_column(primary_key=True)
    """``turn``, ``monitors``, or ``schedule:`` and the name of one."""
    id: Mapped[str]
    """Another one each time that the work is claimed."""
    place: Mapped[str]
    """The machine since its start, and the lock file there: the kernel tells whether its holder lives."""
    holder: Mapped[dict[str, Any]]
    """The process: ``pid``, ``host``, ``program`` and ``since``."""
    until: Mapped[datetime]
    """When it expires unless it is renewed, by the clock of the database."""
