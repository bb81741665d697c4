"""Run a batch scoring from request to complete output. A killed run is resumed."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tidemill.errors import DataError, UsageError
from tidemill.files.locks import locked
from tidemill.plurals import agreeing, counted
from tidemill.project import Project
from tidemill.registry.versions.loaded_model import Scorer
from tidemill.registry.versions.model_versions import get_version, load_scorer
from tidemill.scoring.execution.executor import in_this_process, on_ray
from tidemill.scoring.execution.planning import plan
from tidemill.scoring.execution.staging import Record, Staging
from tidemill.scoring.input.fragments import Fragment
from tidemill.scoring.input.table_places import Place, locate
from tidemill.scoring.output.publishing import (
    is_published,
    is_publishing,
    manifest_of,
    publish,
    published,
    rejects_place,
    require_free,
)
from tidemill.scoring.scoring_job import Job, ScoreRequest, differences, fingerprint

__all__ = ["Outcome", "TooManyRejected", "score"]

Tell = Callable[[str, str, int | None, int | None], None]
"""Called with a step, a message, the number of rows done, and the total."""

_RAY_STARTS = 15.0
"""Rough seconds until Ray's workers score their first row."""
_CELL, _IN_PYTHON = 60e-9, 40e-6
"""Seconds for one value, and for one row that runs through Python: the project's own, or the log's."""
_SHOWN = 5


@dataclass(frozen=True)
class Outcome:
    """The result of a batch scoring."""

    output: str
    rejects: str | None
    """Where the rejected rows are."""
    manifest: dict[str, Any]
    resumed: int
    """Fragments that an earlier run had finished."""


class TooManyRejected(DataError):
    """More rows were rejected than allowed."""


def score(
    project: Project,
    request: ScoreRequest,
    tell: Tell = lambda *_: None,
    *,
    folder: Path | None = None,
) -> Outcome:
    """Score tables with a version of the project's model.

    Args:
        project: whose model, features and application are used; its settings say where Ray is.
        request: what is asked for.
        tell: called with the progress.
        folder: the folder that relative paths start at; None: the current one.

    Raises:
        UsageError: the request is contradictory, or does not fit existing files; nothing was changed.
        TooManyRejected: nothing was published; everything finished is kept for ``--resume``.
        TidemillError: an input, the registry, the features or the output failed.
    """
    began, folder = time.perf_counter(), folder or Path.cwd()
    staging = Staging(_output(request, folder))
    with _lock(project, staging.output):
        tell("planning", "reading the input", None, None)
        earlier = _earlier(staging, request)
        job, scorer = _prepared(project, request, earlier, folder)
        whole = published(staging.output)
        if earlier is None and request.existing == "resume" and whole and whole["job"] == fingerprint(job):
            return _outcome(staging, whole, 0)
        if not is_publishing(staging.output, job):
            require_free(staging.output, request.overwrite, job)
        if earlier is None:
            staging.begin(job)
        records = staging.finished(job)
        resumed = len(records)
        _score_the_rest(project, request, job, scorer, staging, records, tell)
        _check_rejected(staging, request, records)
        tell("publishing", staging.output.text, None, None)
        about = {
            "alias": None if request.version.isdecimal() else request.version,
            "job": fingerprint(job),
            "resumed_parts": resumed,
            "finished_at": datetime.now(UTC).isoformat(),
            "seconds": round(time.perf_counter() - began, 3),
        }
        manifest = manifest_of(job, records, about)
        publish(staging, job, records, manifest)
        return _outcome(staging, manifest, resumed)


def _output(request: ScoreRequest, folder: Path) -> Place:
    """Return the place of the output, with a link to a folder resolved, so that its disk is used."""
    place = locate(request.output, folder)
    if place.local is None or not place.local.is_dir():
        return place
    return locate(str(place.local.resolve()), folder)


def _earlier(staging: Staging, request: ScoreRequest) -> Job | None:
    """Return the unfinished job to resume; remove it if the request says restart.

    Raises:
        UsageError: there is one, and the request says neither resume nor restart.
    """
    broken = None
    try:
        job = staging.job()
    except DataError as error:
        job, broken = None, error
    if job is not None and is_published(staging, job):  # killed after publishing: only records are left
        staging.base.remove()
        return None
    if job is None and broken is None:
        return None
    if request.existing == "restart":
        staging.clear(job)
        return None
    if broken is not None:
        raise broken
    assert job is not None
    if request.existing == "refuse":
        finished = len(staging.finished(job))
        raise UsageError(
            f"an unfinished run for {staging.output.text} began {job.started_at:%Y-%m-%d %H:%M} UTC: "
            f"{finished} of {counted(len(job.fragments), 'part')} {agreeing(finished, 'is', 'are')} finished",
            hint="--resume goes on with it, --restart forgets it",
        )
    return job


def _prepared(
    project: Project, request: ScoreRequest, earlier: Job | None, folder: Path
) -> tuple[Job, Scorer]:
    """Return the job and the loaded version; for a resumed job its own version, if nothing has changed.

    Raises:
        UsageError: something has changed; the message says what.
    """
    pinned = request.version
    if earlier is not None and not pinned.isdecimal():
        pinned = earlier.version  # the alias may have moved since; an output has one version
    scorer = load_scorer(project, get_version(project, pinned).version)
    if earlier is not None and request.at is None and earlier.at is not None:
        request = replace(request, at=earlier.at)
    job = plan(
        project,
        request,
        scorer.version,
        scorer.features,
        datetime.now(UTC),
        folder,
        task=scorer.task,
        words=scorer.words,
    )
    if earlier is None:
        return job, scorer
    if told := differences(earlier, job):
        more = f", and {len(told) - _SHOWN} more differences" if len(told) > _SHOWN else ""
        raise UsageError(
            f"this is not the unfinished run: {'; '.join(told[:_SHOWN])}{more}",
            hint="--restart scores everything anew; or put back what has changed, and --resume",
        )
    return earlier, scorer


def _score_the_rest(
    project: Project,
    request: ScoreRequest,
    job: Job,
    scorer: Scorer,
    staging: Staging,
    records: dict[int, Record],
    tell: Tell,
) -> None:
    """Score the fragments that are not finished, and add their records."""
    waiting = [fragment for fragment in job.fragments if fragment.number not in records]
    done = before = sum(record.rows for record in records.values())
    if not waiting:
        return
    began = time.perf_counter()
    with ExitStack() as stack:
        if request.workers == 0 or (request.workers is None and _stays_here(project, job, scorer, waiting)):
            finished = in_this_process(project, job, staging, scorer, waiting)
        else:
            tell("scoring", "starting Ray", done, job.rows)
            from tidemill.training.ray_session import ray_session  # Ray takes seconds to import

            stack.enter_context(ray_session(project))
            finished = on_ray(project, job, staging, scorer, waiting, request.workers)
        tell("scoring", counted(len(waiting), "part"), done, job.rows)
        for record in stack.enter_context(closing(finished)):
            records[record.number] = record
            done += record.rows
            rejected = sum(each.rejected for each in records.values())
            rate = (done - before) / (time.perf_counter() - began)
            said = f"{rate:,.0f} rows/s" + (f", {rejected:,} rejected" if rejected else "")
            tell("scoring", said, done, max(job.rows, done))


def _stays_here(project: Project, job: Job, scorer: Scorer, fragments: Sequence[Fragment]) -> bool:
    """Return whether local threads would finish before Ray, by the rough cost of a row.

    Reading, looking up, running a compiled model and writing release Python's lock: on one machine
    threads keep all cores busy, and start at once. Ray pays for other nodes, and for Python in each row.
    """
    in_python = job.decide + job.log + (job.mode == "online")
    if project.settings.ray_address is None and scorer.kind == "onnx" and not in_python:
        return True
    row = _CELL * len(job.features) + _IN_PYTHON * in_python
    return sum(fragment.rows for fragment in fragments) * row < _RAY_STARTS


def _check_rejected(staging: Staging, request: ScoreRequest, records: dict[int, Record]) -> None:
    rejected = sum(record.rejected for record in records.values())
    if rejected <= request.max_rejected:
        return
    some = next(record.number for _, record in sorted(records.items()) if record.rejected)
    raise TooManyRejected(
        f"{counted(rejected, 'row')} {agreeing(rejected, 'was', 'were')} rejected, "
        f"{request.max_rejected:,} {agreeing(request.max_rejected, 'is', 'are')} allowed: "
        f"nothing was published. One of them: {_one_reject(staging.rejects_of(some))}",
        hint=f"see {staging.rejects_of(some).text} for some of them; --resume --max-rejected {rejected} "
        "publishes the others, without scoring again",
    )


def _one_reject(rejects: Place) -> str:
    """Return file, row and reason of a row in a file of rejects, for a message."""
    first = json.loads((rejects.read() or b"{}").partition(b"\n")[0])
    return f"{first.get('file')}, row {first.get('row')}: {first.get('reason')}"


def _outcome(staging: Staging, manifest: dict[str, Any], resumed: int) -> Outcome:
    rejects = rejects_place(staging.output).text if manifest["rejected"] else None
    return Outcome(staging.output.text, rejects, manifest, resumed)


@contextmanager
def _lock(project: Project, output: Place) -> Iterator[None]:
    """Lock an output on this machine; the kernel releases the lock when the process dies.

    Raises:
        UsageError: another process is scoring to it.
    """
    name = hashlib.sha256(output.text.encode()).hexdigest()[:16]

    def busy(holder: str) -> UsageError:
        return UsageError(
            f"another process is scoring to {output.text} right now: {holder}",
            hint="wait for it, or name another output",
        )

    with locked(project.home / "scoring" / f"{name}.lock", busy=busy):
        yield
