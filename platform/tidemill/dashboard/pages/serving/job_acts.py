"""What people do about slow predictions: cancel one, or try a dead one again."""

from fastapi import FastAPI
from pydantic import BaseModel

from tidemill.dashboard.page import Done, add_act
from tidemill.dashboard.visit import Here
from tidemill.errors import JobNotFound

__all__ = ["add_to", "cancel_job", "retry_job"]


class NoWords(BaseModel):
    """An act that asks for nothing more."""


def cancel_job(visit: Here, model: str, job_id: str, form: NoWords) -> Done:
    """Cancel a job: at once if it waits, after the rows under way if it runs."""
    from tidemill.serving.jobs.job_files import JobFiles, jobs_folder
    from tidemill.serving.jobs.job_records import cancel, get_job

    shown = visit.project(model)
    _require(visit, model, job_id)
    after = cancel(visit.state, get_job(visit.state, model, job_id), visit.now, visit.who)
    if after.status == "cancelled":
        JobFiles(jobs_folder(visit.installation.load(shown)) / after.id).drop_input()
    how = "is cancelled" if after.status == "cancelled" else "is cancelled when the rows under way are done"
    return Done(f"Job {job_id} {how}.", f"/models/{model}/serving#jobs")


def retry_job(visit: Here, model: str, job_id: str, form: NoWords) -> Done:
    """Queue a dead job again; it goes on where it stopped."""
    from tidemill.serving.jobs.job_records import get_job, retry

    visit.project(model)
    _require(visit, model, job_id)
    after = retry(visit.state, get_job(visit.state, model, job_id), visit.now, visit.who)
    return Done(
        f"Job {job_id} is queued again, from row {after.rows_done:,} on.", f"/models/{model}/serving#jobs"
    )


def _require(visit: Here, model: str, job_id: str) -> None:
    """Refuse a job of another model before anything is written."""
    if not visit.records.select("jobs", "model = ? AND id = ?", model, job_id):
        raise JobNotFound(f"there is no job {job_id} of {model}", hint="it may have expired")


def add_to(app: FastAPI) -> None:
    """Add the acts."""
    for verb, act, title in (("cancel", cancel_job, "Cancel a job"), ("retry", retry_job, "Retry a job")):
        path = f"/models/{{model}}/jobs/{{job_id}}/{verb}"
        add_act(app, path, act, NoWords, needs=("operate", "job"), title=title)
