"""The private names of Celery, kombu and Ray Serve's adapter to them, and what they are needed for."""

import threading

from celery.worker import state
from kombu.transport import sqlalchemy as kombu_sql

__all__ = ["NAMES", "consumer_thread", "poll_every", "stop_worker"]

NAMES = (
    (
        "celery.worker.state.should_stop",
        "ends the worker of this process: Celery's own way, a broadcast, does not pass an SQL broker",
    ),
    (
        "kombu.transport.sqlalchemy.Transport.polling_interval",
        "sets how often the embedded broker looks for a message; no setting reaches it",
    ),
    (
        "ray.serve.task_processor.CeleryTaskProcessorAdapter.start_consumer",
        "keeps Celery's thread as `_worker_thread`, which we wait for when a worker ends",
    ),
)
"""Dotted path, and why it is needed."""


def poll_every(seconds: float) -> None:
    """Set how often SQL brokers in this process poll for messages."""
    kombu_sql.Transport.polling_interval = seconds


def stop_worker() -> None:
    """Make the worker in this process exit with code 0."""
    state.should_stop = 0


def consumer_thread(adapter: object) -> threading.Thread | None:
    """Return the thread in which Ray Serve's adapter consumes messages; none before it has begun."""
    thread: threading.Thread | None = getattr(adapter, "_worker_thread", None)
    return thread
