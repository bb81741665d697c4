"""Reads the registry for a page: for a bounded time, with one error for all that keeps it from answering."""

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

from tidemill.dashboard.installation import Installation, ShownProject
from tidemill.dashboard.records.bounded_reading import READINGS
from tidemill.dashboard.records.tracking_stamp import kept_for, store_is_there, tracking_stamp
from tidemill.errors import (
    BeingComputed,
    ConfigError,
    ModelNotFound,
    NotAnswering,
    RegistryError,
    TrainingError,
)
from tidemill.project import ProjectFolder
from tidemill.registry.versions.registry_reader import put_away
from tidemill.state.record_reader import Records

__all__ = ["read_registry", "refuse_lost_registry", "why_away"]

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


def why_away(
    installation: Installation, shown: ShownProject, versions: Iterable[str | None]
) -> dict[str, str]:
    """Return those of some versions that can get no alias any more, with why: ``deleted`` or ``archived``.

    Nothing where the registry does not answer now: who acts then is told by the act.

    Args:
        installation: has the project.
        shown: whose model it is.
        versions: their numbers; others, such as aliases, are left out.
    """
    asked = [one for one in dict.fromkeys(versions) if one is not None and one.isdecimal()]
    try:
        project = installation.load(shown)
        if not asked or not store_is_there(project):
            return {}
        stamp = tracking_stamp(project)
        key = ("put away", str(project.root), stamp)
        known = read_registry(key, lambda: put_away(project), keep=kept_for(stamp))
    except (BeingComputed, ConfigError, NotAnswering):
        return {}
    return {one: "archived" if one in known else "deleted" for one in asked if known.get(one, True)}


def refuse_lost_registry(records: Records, project: ProjectFolder) -> None:
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
