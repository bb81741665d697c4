"""Says what a replay was asked for, and refuses what cannot be replayed. Imports no engine."""

from dataclasses import dataclass
from datetime import datetime

from tidemill.clock import SystemClock, utc
from tidemill.errors import ConfigError, UsageError
from tidemill.project import Project
from tidemill.project.moments import turn_moment

__all__ = ["ReplayRequest", "require_replayable"]


@dataclass(frozen=True)
class ReplayRequest:
    """The period, the rate and the delay of labels that were asked for; None: chosen by the rows."""

    start: datetime | None = None
    end: datetime | None = None
    rate: int | None = None
    """Most requests of a day."""
    labels_after: str | None = None
    """How long after its time a row's label is known, as ``2d``."""


def require_replayable(project: Project, wanted: ReplayRequest) -> None:
    """Refuse what cannot be replayed, before an engine is loaded or anything is written.

    Raises:
        ConfigError: the project's rows have no time, or no history can be made of them.
        UsageError: an option does not fit the project.
    """
    params = project.root / "params.yaml"
    if project.config.dataset.time is None:
        raise ConfigError(
            f"{params}: dataset.time is null: without a time there is no order in which rows came",
            hint="name the column with the moment of each row (`tidemill init --time` does); without one, "
            "send rows by `tidemill predict` or `tidemill score`",
        )
    own = project.config.project.replay
    if own is None and project.has_store:
        raise ConfigError(
            f"{params}: features come from a feature store, and project.replay does not say what to play",
            hint="name an object with the methods of tidemill.History; `tidemill init --example flights` "
            "copies a project that has one",
        )
    if wanted.labels_after is not None and (own is not None or not _has(project, "labels_after")):
        raise UsageError(
            "--labels-after: the project's own code says when labels are known",
            hint=f"leave the option out, or change what writes {project.config.dataset.label_known}",
        )
    if wanted.start is not None and wanted.end is not None and utc(wanted.start) >= utc(wanted.end):
        raise UsageError(
            f"--to {wanted.end:%Y-%m-%d %H:%M} is not after --from {wanted.start:%Y-%m-%d %H:%M}",
            hint="the first model learns what lies before --from; rows from there to --to are played",
        )
    turn_moment(project, wanted.start or SystemClock().now())


def _has(project: Project, name: str) -> bool:
    section = project.params.get("data")
    return isinstance(section, dict) and name in section
