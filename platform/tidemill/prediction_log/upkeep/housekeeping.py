"""Keeps the prediction log of a project in shape: compacts it, and deletes what is too old."""

from dataclasses import dataclass
from datetime import datetime

from tidemill.prediction_log.storage.log_places import Place, current_place
from tidemill.prediction_log.upkeep.compaction import Compacted, compact
from tidemill.prediction_log.upkeep.retention import Pruned, kept_from, prune
from tidemill.project import Project

__all__ = ["Upkeep", "keep_up", "place_of"]

_SECONDS = 20.0  # of one look: the controller has other things to do as well


@dataclass(frozen=True)
class Upkeep:
    """What one look at the log brought."""

    compacted: Compacted
    pruned: Pruned | None


def place_of(project: Project) -> Place:
    """Return where compacted parts of a project's log go; readers know of it from then on.

    Raises:
        ConfigError: ``serve.log.store`` cannot be used.
    """
    log = project.config.serve.log
    return current_place(project.predictions, log.store, log.endpoint_url)


def keep_up(project: Project, now: datetime, seconds: float = _SECONDS) -> Upkeep:
    """Delete what is older than ``serve.log.retention_days``, and compact what is worth it.

    Args:
        project: whose log.
        now: from which the age of an event date is told.
        seconds: no further group of segments is begun after this long; the next call goes on.

    Raises:
        LogInUse: another process compacts, prunes or erases.
        ServingError: the log or its store cannot be used. Nothing is lost, and the next call tries again.
    """
    log = project.config.serve.log
    pruned = None
    if log.retention_days is not None:
        pruned = prune(project.predictions, project.model, kept_from(now, log.retention_days))
    return Upkeep(compact(project.predictions, project.model, place_of(project), seconds=seconds), pruned)
