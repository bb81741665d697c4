"""Maintain a project's prediction log: compact it, and delete dates past their retention."""

from dataclasses import dataclass
from datetime import datetime

from tidemill.prediction_log.storage.log_places import Place, current_place
from tidemill.prediction_log.upkeep.compaction import Compacted, compact
from tidemill.prediction_log.upkeep.retention import Pruned, kept_from, prune
from tidemill.project import Project

__all__ = ["HousekeepingResult", "place_of", "run_housekeeping"]

_SECONDS = 20.0  # seconds a call: the controller has other work


@dataclass(frozen=True)
class HousekeepingResult:
    """The result of one maintenance call."""

    compacted: Compacted
    pruned: Pruned | None


def place_of(project: Project) -> Place:
    """Return the place of a project's compacted parts, and record it for readers.

    Raises:
        ConfigError: ``serve.log.store`` cannot be used.
    """
    log = project.config.serve.log
    return current_place(project.predictions, log.store, log.endpoint_url)


def run_housekeeping(project: Project, now: datetime, seconds: float = _SECONDS) -> HousekeepingResult:
    """Delete dates older than ``serve.log.retention_days``, and compact what exceeds the thresholds.

    Args:
        project: whose log.
        now: the moment from which the age of an event date counts.
        seconds: no further group of segments is begun after this long; the next call goes on.

    Raises:
        LogInUse: another process compacts, prunes or erases.
        ServingError: the log or its store cannot be used. Nothing is lost, and the next call tries again.
    """
    log = project.config.serve.log
    pruned = None
    if log.retention_days is not None:
        pruned = prune(project.predictions, project.model, kept_from(now, log.retention_days))
    return HousekeepingResult(
        compact(project.predictions, project.model, place_of(project), seconds=seconds), pruned
    )
