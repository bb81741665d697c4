"""The schemas of the answers of ``/jobs``."""

from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel

from tidemill.serving.protocols.predict_schema import PredictionOut
from tidemill.state.tables import Job

__all__ = ["JobList", "JobOut", "JobResult", "shown"]


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


class JobResult(BaseModel):
    """Answer to ``GET /jobs/{id}/result``; predictions are in the order of the instances."""

    job: str
    model: str
    model_version: str
    predictions: list[PredictionOut]


def shown(job: Job) -> dict[str, Any]:
    """Return the public form of a job."""
    fields = [name for name in JobOut.model_fields if name != "model_version"]
    return {**{name: getattr(job, name) for name in fields}, "model_version": job.version}
