"""The versions of a model, a page at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from fastapi import FastAPI

from tidemill.dashboard.page import PageNumber, add_page
from tidemill.dashboard.records.list_part import require_page
from tidemill.dashboard.records.registry_reading import read_registry, refuse_lost_registry
from tidemill.dashboard.records.tracking_stamp import kept_for, tracking_stamp
from tidemill.dashboard.visit import Here
from tidemill.state.record_queries import gate_decisions
from tidemill.tasks.natural_metric import metric_of

if TYPE_CHECKING:
    from tidemill.registry.versions.registry_reader import ShownVersion

__all__ = ["VersionList", "add_to", "learnt_until", "versions"]

_SIZE = 25


@dataclass(frozen=True)
class ListedVersion:
    """A version in the list."""

    version: str
    aliases: Sequence[str]
    score: float | None
    """The metric of the list, on its own hold-out rows."""
    gate: str | None
    """``passed`` or ``refused``; None if the gate never saw it."""
    data_revision: str | None
    run_id: str
    as_of: str | None
    """The moment up to which data was known, ISO 8601."""
    registered_at: datetime
    """By the clock of the machine."""
    archived: bool


@dataclass(frozen=True)
class VersionList:
    """A page of the versions of a model, the latest first."""

    model: str
    metric: str
    better: str
    versions: Sequence[ListedVersion]
    total: int
    number: int
    size: int = _SIZE

    @property
    def first(self) -> int:
        """Return the place of the first one of this page."""
        return (self.number - 1) * self.size + 1

    @property
    def last(self) -> int:
        """Return the place of the last one of this page."""
        return self.first + len(self.versions) - 1


def versions(visit: Here, model: str, page: PageNumber = 1) -> VersionList:
    """Return a page of the versions of a model."""
    from tidemill.registry.versions.registry_reader import read_registered_part

    project = visit.installation.load(visit.project(model))
    refuse_lost_registry(visit.records, project)
    stamp, begin = tracking_stamp(project), (page - 1) * _SIZE
    shown, total = read_registry(
        ("versions", str(project.root), page, stamp),
        lambda: read_registered_part(project, begin, _SIZE),
        keep=kept_for(stamp),
    )
    require_page(page, _SIZE, total)
    recorded = f"holdout_{project.config.train.metric}"
    metric = metric_of(recorded)
    decided = gate_decisions(visit.records, model, *(one.version for one in shown))
    verdicts = {one.candidate: "passed" if one.passed else "refused" for one in decided}  # of the last one
    listed = [
        ListedVersion(
            one.version,
            list(one.aliases),
            metric.shown(one.metrics.get(recorded)),
            verdicts.get(one.version),
            one.data_revision,
            one.run_id,
            learnt_until(one),
            one.registered_at,
            one.archived,
        )
        for one in shown
    ]
    return VersionList(model, metric.name, metric.better, listed, total, page)


def learnt_until(found: "ShownVersion") -> str | None:
    """Return up to which moment data was known to a version, ISO 8601."""
    moment = found.lineage.get("as_of")
    return None if moment is None else str(moment)


def add_to(app: FastAPI) -> None:
    """Add the page."""
    path, read = "/models/{model}/versions", ("read", "version")
    add_page(app, path, versions, template="versions.html", needs=read, title="Versions")
