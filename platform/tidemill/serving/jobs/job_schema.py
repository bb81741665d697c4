"""The schemas of the answers of ``/jobs``."""

from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, create_model

from tidemill.serving.protocols.answer_schemas import prediction_schema
from tidemill.state.tables import Job
from tidemill.tasks.task import Task

__all__ = ["JobList", "JobOut", "result_schema", "shown"]


class JobOut(BaseModel):
    """A job, and how far it is."""

    id: str
    status: Literal["queued", "running", "done", "dead", "cancelled"]
    """``dead``: too many attempts came to nothing; ``error`` says why."""
    model: str
    model_version: str | None
    """The version that answers: the champion when the job began to run."""
    at: AwareDatetime
    """The moment of its predictions; features are read as of this moment."""
    test: bool
    rows: int
    rows_done: int
    attempts: int
    """Attempts since it last got on."""
    error: str | None
    """Why the last attempt failed."""
    cancel_requested: bool
    requested_at: AwareDatetime
    started_at: AwareDatetime | None
    finished_at: AwareDatetime | None
    erased_at: AwareDatetime | None
    """When its input and answers were erased, together with the data of a person in them."""


class JobList(BaseModel):
    """Answer to ``GET /jobs``: the latest first."""

    jobs: list[JobOut]


def result_schema(task: Task) -> type[BaseModel]:
    """Return the schema of the answer to ``GET /jobs/{id}/result``."""
    return create_model(
        "JobResult",
        __doc__="Answer to ``GET /jobs/{id}/result``; predictions are in the order of the instances.",
        job=(str, ...),
        model=(str, ...),
        model_version=(str, ...),
        predictions=(list[prediction_schema(task)], ...),  # type: ignore[arg-type, misc]
    )


def shown(job: Job) -> dict[str, Any]:
    """Return the public form of a job."""
    fields = [name for name in JobOut.model_fields if name != "model_version"]
    return {**{name: getattr(job, name) for name in fields}, "model_version": job.version}
