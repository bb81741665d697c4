"""Finds and erases the jobs (slow predictions) that name a subject.

A job is erased as a whole, because its results are in the order of its instances: if one row were removed,
the rows after it would get the wrong instances. It does not matter who submitted the job.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import select

from tidemill.clock import Clock
from tidemill.errors import DataError, ServingError
from tidemill.privacy.stores.texts import json_needles, mentions_all
from tidemill.privacy.subject import Subject
from tidemill.project import Project
from tidemill.serving.jobs.job_erasure import erase_job
from tidemill.serving.jobs.job_files import JobFiles, jobs_folder
from tidemill.state import State, open_state
from tidemill.state.tables import Job

__all__ = ["NamingJob", "erase_jobs", "find_jobs"]

_SUBMITTING_SECONDS = 30.0  # longest time between a submission's files and its record
_BEYOND_A_CHUNK = 30.0  # seconds for a worker's work between two chunks


@dataclass(frozen=True)
class NamingJob:
    """A job that names the subject."""

    id: str
    status: str
    """As recorded; ``unrecorded`` if its submission was killed or is still running."""
    lines: int
    """Number of instances and answers that name it."""


def find_jobs(
    project: Project, subject: Subject, ids: Set[str], before: datetime | None = None
) -> list[NamingJob]:
    """Return the jobs of all models whose files or records name a subject, the oldest first.

    Args:
        project: the project.
        subject: the subject.
        ids: ids of predictions made for it; an answer may name it only by such an id.
        before: only jobs submitted before this moment count.

    Raises:
        DataError: a file cannot be read.
    """
    if not jobs_folder(project).is_dir():
        return []
    on_record = _on_record(project)
    folders = {path.name: path for path in jobs_folder(project).iterdir() if path.is_dir()}
    found = []
    for name in sorted({*folders, *on_record}):
        job, files = on_record.get(name), JobFiles(jobs_folder(project) / name)
        if before is not None and _submitted_at(job, files) >= before:
            continue
        lines = sum(_count(path, subject, ids) for path in files.stored())
        lines += job is not None and mentions_all(f"{job.key}\n{job.error}".encode(), subject)
        if lines:
            found.append(NamingJob(name, "unrecorded" if job is None else job.status, lines))
    return found


def erase_jobs(
    project: Project, subject: Subject, ids: Set[str], clock: Clock, line: Callable[[str], None]
) -> int:
    """Erase the jobs that `find_jobs` finds; return how many.

    Raises:
        DataError: a file cannot be read or removed, or a worker does not release a job.
    """
    found = find_jobs(project, subject, ids)
    if not found:
        return 0
    state, failed = open_state(project.state_url), []
    patience = project.config.serve.jobs.chunk_seconds + _BEYOND_A_CHUNK
    try:
        for job in found:
            line(job.id)
            files = JobFiles(jobs_folder(project) / job.id)
            if job.status == "unrecorded":
                _let_it_be_submitted(state, files)
            try:
                erase_job(state, files, job.id, clock, patience)
            except ServingError as error:  # continue with the other jobs
                failed.append(error)
    finally:
        state.close()
    if failed:
        hint = f"{failed[0].hint or 'see to that'}; then `tidemill data erase --resume`"
        raise DataError("; ".join(str(error) for error in failed), hint=hint) from failed[0]
    return len(found)


def _on_record(project: Project) -> dict[str, Job]:
    state = open_state(project.state_url)
    try:
        with state.transaction() as session:
            return {job.id: job for job in session.scalars(select(Job))}
    finally:
        state.close()


def _submitted_at(job: Job | None, files: JobFiles) -> datetime:
    if job is not None:
        return job.requested_at
    try:
        return datetime.fromtimestamp(files.folder.stat().st_mtime, UTC)
    except FileNotFoundError:  # it expired in the meantime
        return datetime.min.replace(tzinfo=UTC)


def _let_it_be_submitted(state: State, files: JobFiles) -> None:
    """Wait for the record of a job whose files exist; without its files the job would become dead."""
    while time.time() - _submitted_at(None, files).timestamp() < _SUBMITTING_SECONDS:
        with state.transaction() as session:
            if session.get(Job, files.folder.name) is not None:
                return
        time.sleep(0.2)


def _count(path: Path, subject: Subject, ids: Set[str]) -> int:
    try:
        content = path.read_bytes()
    except FileNotFoundError:  # a worker has just moved it, or the job has expired
        return 0
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}",
            hint="make it readable, then `tidemill data erase --resume`",
        ) from error
    needles = json_needles(subject)
    if not ids and needles is not None and not any(needle in content for needle in needles):
        return 0
    prepared = path.name.startswith("prepared")
    return sum(_names(line, prepared, subject, ids, needles) for line in content.splitlines())


def _names(
    line: bytes, prepared: bool, subject: Subject, ids: Set[str], needles: Sequence[bytes] | None
) -> bool:
    if ids or needles is None or any(needle in line for needle in needles):
        parts = _parts(line, prepared)
        if any(part.get("prediction_id") in ids or subject.within(part) for part in parts):
            return True
    return mentions_all(line, subject)


def _parts(line: bytes, prepared: bool) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a line; data that is prepared for a whole chunk is in one line."""
    try:
        content = orjson.loads(line)
    except orjson.JSONDecodeError:  # its process was killed while writing
        return
    rows = [*content["records"], *content["answers"]] if prepared else [content]
    yield from (row for row in rows if isinstance(row, Mapping))
