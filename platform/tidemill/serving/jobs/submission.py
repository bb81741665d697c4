"""Accept jobs: an accepted job is on disk and on record before the client gets the answer."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError

from tidemill.clock import Clock
from tidemill.ids import new_id
from tidemill.project.serve_config import JobsConfig
from tidemill.serving.inference.calls import Failure, Refused
from tidemill.serving.inference.refused_values import refuse_large_integers
from tidemill.serving.jobs import job_records
from tidemill.serving.jobs.job_files import JobFiles
from tidemill.serving.protocols.json_bodies import parse_json
from tidemill.serving.protocols.predict_codec import listed
from tidemill.serving.protocols.predict_schema import request_schema
from tidemill.state import State
from tidemill.state.tables import Job

__all__ = ["Jobs", "SubmissionAttributes"]

_PART = 500  # instances


@dataclass(frozen=True)
class SubmissionAttributes:
    """A submission's attributes beside its body."""

    caller: str
    key: str | None
    test: bool


@dataclass(frozen=True)
class Jobs:
    """Accepts jobs for the routes."""

    state: State
    model: str
    request: type[BaseModel]
    """Schema of one instance."""
    files: Callable[[str], JobFiles]
    publish: Callable[[str], bool]
    limits: JobsConfig
    clock: Clock

    def submit(self, body: bytes, content_type: str | None, asked: SubmissionAttributes) -> Job:
        """Accept a job; what was submitted under the same key before is that job.

        Raises:
            Refused: the body is not as declared, or there are too many jobs already.
        """
        digest = hashlib.sha256(b"1" if asked.test else b"0")
        digest.update(body)
        known = self._known(asked, digest.hexdigest())
        if known is not None:
            return known
        waiting = job_records.count_jobs(self.state, self.model)
        if waiting["queued"] + waiting["running"] >= self.limits.max_waiting:
            detail = f"{self.limits.max_waiting} jobs wait already (serve.jobs.max_waiting)"
            raise Refused(Failure("overloaded", detail))
        instances, at = self._read(body, content_type)
        now, job_id = self.clock.now(), new_id("job")
        files = self.files(job_id)
        files.create(map(orjson.dumps, instances))
        job = job_records.submit(
            self.state, self._job(job_id, asked, digest.hexdigest(), len(instances), at, now)
        )
        if job.id != job_id:  # another submission with the same key came first
            files.remove()
            return self._same(job, digest.hexdigest())
        if self.publish(job.id):
            job_records.mark_published(self.state, job.id, now)
        return job

    def _known(self, asked: SubmissionAttributes, digest: str) -> Job | None:
        known = (
            None
            if asked.key is None
            else job_records.find_by_idempotency_key(self.state, self.model, asked.caller, asked.key)
        )
        return None if known is None else self._same(known, digest)

    def _same(self, job: Job, digest: str) -> Job:
        if job.digest == digest:
            return job
        detail = f"this Idempotency-Key came with another body before: job {job.id}"
        raise Refused(Failure("malformed", detail))

    def _read(self, body: bytes, content_type: str | None) -> tuple[list[Any], datetime | None]:
        kind = {} if content_type is None else {b"content-type": content_type.encode("latin-1", "replace")}
        content = parse_json(body, kind)
        given = content.get("instances") if isinstance(content, dict) else None
        if not isinstance(given, list):
            self._check(self.schema, content, 0)  # it raises the exact error
            raise AssertionError("a schema that takes anything")
        most = self.limits.max_instances
        if len(given) > most:
            message = f"List should have at most {most} items after validation, not {len(given)}"
            problem = {"loc": ["body", "instances"], "msg": message, "type": "too_long"}
            raise Refused(Failure("malformed", [problem]))
        # A part at a time: nothing else happens in this process while pydantic is at one.
        found = self._check(self.schema, {**content, "instances": given[:_PART]}, 0)
        for first in range(_PART, len(given), _PART):
            self._check(self.schema, {"instances": given[first : first + _PART]}, first)
        return given, found.at

    def _check(self, schema: type[Any], content: Any, first: int) -> Any:
        try:
            checked = TypeAdapter(schema).validate_python(content)
        except ValidationError as error:
            found = listed(error, schema)
            for problem in found:
                if len(problem["loc"]) > 2:  # body, instances, and which of them
                    problem["loc"][2] += first
            raise Refused(Failure("malformed", found)) from None
        refuse_large_integers(checked.instances, first)
        return checked

    @cached_property
    def schema(self) -> type[Any]:
        """Of the body of ``POST /jobs``."""
        return request_schema(self.request, self.limits.max_instances)

    def _job(
        self,
        job_id: str,
        asked: SubmissionAttributes,
        digest: str,
        rows: int,
        at: datetime | None,
        now: datetime,
    ) -> Job:
        return Job(
            id=job_id,
            model=self.model,
            caller=asked.caller,
            key=asked.key,
            digest=digest,
            status="queued",
            version=None,
            at=at or now,
            test=asked.test,
            rows=rows,
            rows_done=0,
            attempts=0,
            worker=None,
            error=None,
            cancel_requested=False,
            requested_at=now,
            due_at=now,
            published_at=None,
            started_at=None,
            finished_at=None,
            erased_at=None,
        )
