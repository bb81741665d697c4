"""Reads the registry for a page: for a bounded time, with one error for all that keeps it from answering."""

from collections.abc import Callable, Hashable
from typing import TypeVar

from tidemill.dashboard.records.bounded_reading import READINGS
from tidemill.dashboard.records.tracking_stamp import store_is_there
from tidemill.errors import ModelNotFound, NotAnswering, RegistryError, TrainingError
from tidemill.project import Project
from tidemill.state.record_reader import Records

__all__ = ["read_registry", "refuse_lost_registry"]

Value = TypeVar("Value")


def read_registry(key: Hashable, work: Callable[[], Value], *, keep: float = 0.0) -> Value:
    """Return what ``work`` reads from the registry.

    Raises:
        ModelNotFound: it has no such model, version or alias.
        BeingComputed: it takes longer than this request waits.
        NotAnswering: it is away, or damaged.
    """
    try:
        return READINGS.read("the model registry", key, work, keep=keep)
    except ModelNotFound:
        raise
    except (RegistryError, TrainingError) as error:
        raise NotAnswering(
            f"the model registry does not answer: {error}",
            hint="look at MLflow's server and its database; the other pages keep working",
        ) from error


def refuse_lost_registry(records: Records, project: Project) -> None:
    """Refuse to go on if the registry's database is gone, though by the records there were versions.

    Raises:
        NotAnswering: it is gone.
    """
    of = "model = ? AND status = 'done'", project.model
    if not store_is_there(project) and records.select("promotions", *of, limit=1):
        raise NotAnswering(
            "the registry's database is not there, but by the records a version serves",
            hint="restore MLflow's database (mlflow.db in .tidemill) from a backup; do not promote meanwhile",
        )
