"""Wake workers through a message broker: Ray Serve's asynchronous inference on Celery, with additions.

A message holds a job's id and nothing else, as JSON; Celery accepts nothing else either. Where the broker is:

- by default in a SQLite file in ``.tidemill/jobs`` (kombu's SQLAlchemy transport). It hands a message out
  once: one whose worker dies is lost there, and comes again by the record (`tidemill.serving.jobs.sweeper`).
- in Redis, if ``TIDEMILL_BROKER_URL`` says so. There a message whose worker died comes again after an hour.

Neither is trusted with the state of a job, so what each of them loses or repeats does no harm.
"""

import logging
import threading
from typing import Any, TypeVar

from celery import Celery
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError as BrokerError
from sqlalchemy.exc import SQLAlchemyError

from tidemill.files.sqlite_urls import sqlite_url
from tidemill.project import Project
from tidemill.serving.jobs.job_files import jobs_folder
from tidemill.serving.jobs.private_celery import consumer_thread, poll_every, stop_worker

__all__ = ["TASK", "Publisher", "broker_url", "worker_deployment"]

TASK = "tidemill.run_job"
"""Name of the task in the messages."""
_POLL_SECONDS = 0.25  # of the embedded broker, which has no other way to find a message
_CELERY = {
    "task_serializer": "json",
    "result_serializer": "json",
    "accept_content": ["json"],
    "result_accept_content": ["json"],
    "worker_enable_remote_control": False,
    "worker_send_task_events": False,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "worker_prefetch_multiplier": 1,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,  # retry for ever: the broker may come back
}
_log = logging.getLogger(__name__)
T = TypeVar("T")


def broker_url(project: Project) -> str:
    """Return the address of the project's broker, secrets included."""
    secret = project.settings.broker_url
    if secret is not None:
        return secret.get_secret_value()
    return f"sqla+{sqlite_url(jobs_folder(project) / 'broker.db')}"


class Publisher:
    """Sends the messages. Threads may share it; what it cannot send is sent by the sweeper, later."""

    def __init__(self, project: Project) -> None:
        """Take the address; nothing is sent, or connected to."""
        url = _prepared_url(project)
        self._queue = _queue(project)
        self._celery = Celery(self._queue, broker=url, set_as_current=False)
        once = {"max_retries": 0, "interval_start": 0, "interval_step": 0}  # the submitter must not wait
        self._celery.conf.update(_CELERY, broker_transport_options=_transport(url) | once)
        self._celery.conf.update(task_queues=[Queue(self._queue, Exchange(self._queue), self._queue)])
        self._sending = threading.Lock()

    def publish(self, job_id: str) -> bool:
        """Wake a worker up for a job; return whether the broker has taken the message."""
        try:
            with self._sending:
                self._celery.send_task(
                    TASK, args=[job_id], queue=self._queue, retry=False, ignore_result=True
                )
        except (BrokerError, SQLAlchemyError, OSError) as error:
            _log.warning(
                "job %s waits: the broker does not accept messages: %s", job_id, type(error).__name__
            )
            return False
        return True


def worker_deployment(project: Project, handler: type[T]) -> type[T]:
    """Return ``handler`` as a consumer of the project's messages, to be deployed by Ray Serve."""
    from ray.serve.task_consumer import task_consumer

    consumer: type[T] = task_consumer(task_processor_config=_processor(project))(handler)
    return consumer


def _processor(project: Project) -> Any:
    from ray.serve.schema import CeleryAdapterConfig, TaskProcessorConfig
    from ray.serve.task_processor import CeleryTaskProcessorAdapter

    class Adapter(CeleryTaskProcessorAdapter):  # type: ignore[misc]
        """Stops its worker by itself: Ray's does it by a broadcast, which an SQL broker does not carry."""

        def stop_consumer(self, timeout: float = 10.0) -> None:
            stop_worker()
            thread = consumer_thread(self)
            if thread is not None:
                thread.join(timeout)

    url = _prepared_url(project)
    return TaskProcessorConfig(
        queue_name=_queue(project),
        adapter=Adapter,
        max_retries=0,  # whether and when to try again is decided by the record
        adapter_config=CeleryAdapterConfig(
            broker_url=url,
            backend_url="cache+memory://",  # no result goes through Celery
            broker_transport_options=_transport(url),
            task_custom_config={"ignore_result": True},
            app_custom_config=_CELERY,
        ),
    )


def _queue(project: Project) -> str:
    return f"tidemill-{project.model}"


def _prepared_url(project: Project) -> str:
    url = broker_url(project)
    if url.startswith("sqla"):
        jobs_folder(project).mkdir(parents=True, exist_ok=True)
        poll_every(_POLL_SECONDS)
    return url


def _transport(url: str) -> dict[str, Any]:
    seconds = 30
    if url.startswith("sqla"):
        return {"connect_args": {"timeout": seconds}}
    return {"socket_connect_timeout": 2.0, "socket_timeout": seconds}
