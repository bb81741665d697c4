"""The process that runs jobs: a task consumer of Ray Serve."""

import os
import threading
from typing import Any

from tidemill.project import Project
from tidemill.serving.runtime.private_ray import worker_thread
from tidemill.serving.runtime.replica.process_start import OPTIONS, replica_name, start_process
from tidemill.settings import Settings
from tidemill.threads import BackgroundThread

__all__ = ["APPLICATION", "Worker", "application"]

APPLICATION = "tidemill-jobs"
"""Name of the application in Ray Serve."""
_SWEEP_SECONDS = 1.0


class Worker:
    """One process that runs one job at a time."""

    def __init__(self, root: str, settings: Settings) -> None:
        """Load the project at ``root`` and begin to look after its jobs."""
        project = start_process(root, settings)
        from tidemill.serving.runtime.replica.worker_wiring import (
            build_worker,  # its engines take seconds to import
        )

        self._stop = threading.Event()
        self._runner, self._sweeper = build_worker(project, replica_name(), self._stop)
        self._thread = BackgroundThread("sweeper", self._sweep, every=_SWEEP_SECONDS, stopping=self._stop)
        self._thread.start()

    def run(self, job_id: str) -> None:
        """Run a job: what the messages ask for."""
        self._runner.run(job_id)

    def check_health(self) -> None:
        """Raise if this worker can no longer receive messages, so that Ray Serve replaces it.

        Raises:
            RuntimeError: Celery's thread has ended.
        """
        thread = worker_thread(self)
        if thread is not None and not thread.is_alive():
            raise RuntimeError("the consumer of messages has ended")

    def __del__(self) -> None:
        """Stop after the chunk under way."""
        self._stop.set()

    def _sweep(self) -> None:
        if (
            not self._sweeper.sweep()
        ):  # a thread cannot be ended: the process can, and Ray Serve starts another
            os._exit(1)


def application(project: Project) -> Any:
    """Return the Serve application (a ``serve.Application``) that runs the project's jobs."""
    from ray import serve
    from ray.serve.task_consumer import task_handler

    from tidemill.serving.jobs.broker import TASK, worker_deployment

    class Consumer(Worker):
        @task_handler(name=TASK)  # type: ignore[untyped-decorator]
        def run(self, job_id: str) -> None:
            super().run(job_id)

    deployment = serve.deployment(
        worker_deployment(project, Consumer),
        name="jobs",
        num_replicas=project.config.serve.jobs.workers,
        max_ongoing_requests=1,  # of Celery's threads as well
        graceful_shutdown_timeout_s=5,
        **OPTIONS,
    )
    return deployment.bind(str(project.root), project.settings)
