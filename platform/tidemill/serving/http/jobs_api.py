"""``/jobs`` of the prediction API: submit, look, fetch, cancel. An accepted job is on disk and on record."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any, Literal, TypeVar

import orjson
from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import iterate_in_threadpool

from tidemill.errors import JobNotFound
from tidemill.plurals import counted
from tidemill.serving.http.openapi import KNOWN_PARAMETERS
from tidemill.serving.inference.calls import Failure, Refused
from tidemill.serving.jobs import job_records
from tidemill.serving.jobs.job_files import JobFiles
from tidemill.serving.jobs.job_schema import JobList, JobOut, result_schema, shown
from tidemill.serving.jobs.submission import Jobs, SubmissionAttributes
from tidemill.serving.protocols.predict_schema import Error
from tidemill.state.tables import Job
from tidemill.tasks.task import Task

__all__ = ["jobs_router"]

T = TypeVar("T")
JobId = Annotated[str, Path(max_length=40, pattern=r"^[\w-]+$")]


def jobs_router(jobs: Jobs, task: Task) -> APIRouter:
    """Return the routes; results are answers of the task."""
    router = APIRouter(tags=["jobs"], dependencies=[KNOWN_PARAMETERS])
    _add_submission(router, jobs)
    _add_looks(router, jobs)
    _add_result(router, jobs, task)
    return router


def _add_submission(router: APIRouter, jobs: Jobs) -> None:
    schema = jobs.schema.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)  # the same as of POST /predict, which brings them into the document
    body = {"content": {"application/json": {"schema": schema}}, "required": True}

    @router.post(
        "/jobs",
        status_code=202,
        response_model=JobOut,
        responses=_errors(401, 403, 408, 413, 415, 422, 429, 500, 503),
        openapi_extra={"requestBody": body},
    )
    async def submit(
        request: Request,
        idempotency_key: Annotated[
            str | None,
            Header(
                min_length=1,
                max_length=200,
                description="Submitting again with the same key is the same job.",
            ),
        ] = None,
        x_tidemill_test: Annotated[
            str | None, Header(description="`1` marks test traffic: logged, and ignored by monitors.")
        ] = None,
    ) -> Response:
        """Accept many instances to predict for; a worker answers them when it has the time."""
        content = await request.body()
        asked = SubmissionAttributes(_caller(request) or "", idempotency_key, x_tidemill_test == "1")
        kind = request.headers.get("content-type")
        job = await _work(lambda: jobs.submit(content, kind, asked))
        return _answer(202, job, {"location": f"/jobs/{job.id}"})


def _add_looks(router: APIRouter, jobs: Jobs) -> None:
    @router.get("/jobs", response_model=JobList, responses=_errors(401, 403, 422, 429, 500, 503))
    async def list_own(
        request: Request,
        status: Annotated[
            list[Literal["queued", "running", "done", "dead", "cancelled"]] | None,
            Query(description="Only jobs in one of these."),
        ] = None,
        before: Annotated[
            str | None, Query(max_length=40, description="Only jobs submitted before this one.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        """List the caller's jobs, the latest first; those of all callers to a key of the scope `admin`."""
        caller = _owner(request)
        found = await _work(
            lambda: job_records.list_jobs(
                jobs.state, jobs.model, caller=caller, statuses=status or (), before=before, limit=limit
            )
        )
        return _json(200, {"jobs": [shown(job) for job in found]})

    @router.get("/jobs/{job_id}", response_model=JobOut, responses=_errors(401, 403, 404, 422, 429, 500, 503))
    async def look(request: Request, job_id: JobId) -> Response:
        """Return the progress of a job."""
        return _answer(200, await _work(lambda: _own(jobs, request, job_id)))

    @router.delete(
        "/jobs/{job_id}", response_model=JobOut, responses=_errors(401, 403, 404, 409, 422, 429, 500, 503)
    )
    async def cancel(request: Request, job_id: JobId) -> Response:
        """Cancel a job: at once if it waits, after the chunk under way if it runs."""
        return _answer(200, await _work(lambda: _cancel(jobs, _own(jobs, request, job_id), _named(request))))


def _add_result(router: APIRouter, jobs: Jobs, task: Task) -> None:
    @router.get(
        "/jobs/{job_id}/result",
        response_model=result_schema(task),
        responses=_errors(401, 403, 404, 409, 410, 422, 429, 500, 503),
    )
    async def result(request: Request, job_id: JobId) -> Response:
        """Return the predictions of a job that is done."""
        job = await _work(lambda: _own(jobs, request, job_id))
        if job.erased_at is not None:
            why = "it named somebody whose data was erased; submit the other instances anew"
            raise Refused(Failure("gone", f"the result of job {job.id} was erased: {why}"))
        if job.status != "done":
            detail = f"job {job.id} is {job.status}: {job.rows_done:,} of {counted(job.rows, 'row')}"
            raise Refused(Failure("conflict", detail))
        return StreamingResponse(_stream(job, jobs.files(job.id)), media_type="application/json")


def _own(jobs: Jobs, request: Request, job_id: str) -> Job:
    try:
        return job_records.get_job(jobs.state, jobs.model, job_id, _owner(request))
    except JobNotFound as error:
        raise Refused(Failure("not_found", str(error))) from error


def _cancel(jobs: Jobs, job: Job, by: str) -> Job:
    try:
        after = job_records.cancel(jobs.state, job, jobs.clock.now(), by)
    except job_records.JobRefused as error:
        raise Refused(Failure("conflict", str(error))) from error
    if after.status == "cancelled":
        jobs.files(job.id).drop_input()
    return after


def _caller(request: Request) -> str | None:
    caller: str | None = request.scope.get("tidemill.caller")
    return caller


def _named(request: Request) -> str:
    """Return the caller's name for the audit log: a key by its id, or that no key is asked for."""
    caller = _caller(request)
    return f"token:{caller}" if caller else "anybody"


def _owner(request: Request) -> str | None:
    """Return whose jobs the caller may see: its own, or None for all, which needs an admin's key."""
    return None if request.scope.get("tidemill.admin") else _caller(request) or ""


async def _stream(job: Job, files: JobFiles) -> AsyncIterator[bytes]:
    head = {"job": job.id, "model": job.model, "model_version": job.version}
    yield orjson.dumps(head)[:-1] + b',"predictions":['
    async for part in iterate_in_threadpool(_joined(files.results())):
        yield part
    yield b"]}"


def _joined(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield lines of JSON as the elements of a list.

    >>> b"".join(_joined(iter([b'{"a":1}\\n{"a":2}\\n', b'{"a":3}\\n'])))
    b'{"a":1},{"a":2},{"a":3}'
    """
    before = b""
    for chunk in chunks:
        yield before + chunk.rstrip(b"\n").replace(b"\n", b",")
        before = b","


async def _work(task: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, task)


def _answer(status: int, job: Job, headers: dict[str, str] | None = None) -> Response:
    return _json(status, shown(job), headers)


def _json(status: int, content: object, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, media_type="application/json")


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Error} for status in statuses}
