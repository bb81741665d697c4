"""Build one worker of jobs from its parts."""

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta

from tidemill.clock import SystemClock
from tidemill.prediction_log.prediction_log import read_predictions
from tidemill.prediction_log.writing.log_writer import open_log
from tidemill.project import Project
from tidemill.registry.versions.model_versions import champion_version
from tidemill.serving.jobs.broker import Publisher
from tidemill.serving.jobs.job_files import JobFiles, jobs_folder
from tidemill.serving.jobs.job_records import Retries
from tidemill.serving.jobs.job_runner import JobRunner
from tidemill.serving.jobs.sweeper import Sweeper
from tidemill.serving.runtime.replica.composed_replicas import composer
from tidemill.serving.runtime.replica.version_loading import load_model
from tidemill.state import open_state

__all__ = ["build_worker"]

_ATTEMPTS = 3
"""At the same chunk; after the last one the job is dead."""


def build_worker(project: Project, name: str, stop: threading.Event) -> tuple[JobRunner, Sweeper]:
    """Return what runs the project's jobs, and what looks after them.

    Args:
        project: whose ``project.application`` is served.
        name: identifies this worker in the log and in the records.
        stop: set when the worker is to stop.

    Raises:
        ConfigError: the project's application cannot be imported.
    """
    application = project.load_application()
    clock, jobs, folder = SystemClock(), project.config.serve.jobs, jobs_folder(project)
    state, retries = open_state(project.state_url), Retries(_ATTEMPTS, jobs.retry_seconds)
    keep = timedelta(hours=jobs.keep_hours)
    runner = JobRunner(
        state=state,
        application=application,
        model=project.model,
        champion=lambda: champion_version(project),
        load=lambda version: load_model(project, application, version, clock.now()),
        log=open_log(project),
        logged=lambda at, ids: _logged(project, at, ids),
        files=lambda job_id: JobFiles(folder / job_id),
        worker=name,
        clock=clock,
        retries=retries,
        keep=keep,
        chunk_rows=jobs.chunk_rows,
        compose=composer(application, project.task, jobs.chunk_seconds),
        stopping=stop.is_set,
    )
    publisher = Publisher(project)
    sweeper = Sweeper(
        state=state,
        model=project.model,
        folder=folder,
        publish=publisher.publish,
        retries=retries,
        keep=keep,
        chunk_seconds=jobs.chunk_seconds,
        clock=clock,
        progress=runner.progress,
    )
    return runner, sweeper


def _logged(project: Project, at: datetime, ids: Sequence[str]) -> set[str]:
    """Return those of ``ids`` that the prediction log has. Asked only after a worker's death."""
    found = read_predictions(
        project.predictions, project.model, at, at + timedelta(microseconds=1), include_test=True
    )
    return set(found["prediction_id"]) & set(ids)
