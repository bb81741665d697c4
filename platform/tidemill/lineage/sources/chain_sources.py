"""Opens each source of lineage when it is first needed, and reads it once."""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import func, select

from tidemill.lineage.sources.pipeline import Commit, Pipeline, read_commit, read_pipeline, revision
from tidemill.lineage.sources.tracked_runs import TrainingRun, find_run, versions
from tidemill.prediction_log.search.version_totals import VersionTotals, count_by_version
from tidemill.project import Project
from tidemill.registry.history.service_periods import Service
from tidemill.registry.history.serving_history import periods_of
from tidemill.registry.versions.version_record import ModelVersion
from tidemill.state import State, read_state
from tidemill.state.tables import Alert, GateDecision, MonitorRun, Turn

__all__ = ["ChainRecords", "Reports"]

if TYPE_CHECKING:
    from tidemill.lineage.sources.feast_definitions import Definitions

Value = TypeVar("Value")
Reports = dict[str, Any]
"""The number of monitor runs of a version, and their results."""


class ChainRecords:
    """The records that one lineage query has read so far. Not thread-safe."""

    def __init__(self, project: Project, ids: int = 0) -> None:
        """Open nothing yet.

        Args:
            project: the project whose records are read.
            ids: how many predictions of each version get a node of their own, the latest first.
        """
        self.project = project
        self.ids = ids
        self._read: dict[tuple[str, ...], Any] = {}

    @cached_property
    def state(self) -> State:
        """The platform's own records."""
        return read_state(self.project.state_url)

    @cached_property
    def definitions(self) -> "Definitions":
        """Return the definitions that are applied in Feast."""
        from tidemill.lineage.sources.feast_definitions import (
            read_definitions,
        )  # the import takes seconds, and half of the queries need no view

        return read_definitions(self.project)

    @cached_property
    def head(self) -> str | None:
        """Return the commit that is checked out."""
        return revision(self.project, "HEAD")

    @property
    def training_set(self) -> str:
        """Path of the training set."""
        return self.project.config.dataset.path

    def pipeline(self, commit: str | None) -> Pipeline | None:
        """Return the pipeline of a commit; None if it has none, or the commit no longer exists."""
        return self._once("pipeline", commit, lambda known: read_pipeline(self.project, known))

    def commit(self, commit: str | None) -> Commit | None:
        """Return a commit from git."""
        return self._once("commit", commit, lambda known: read_commit(self.project, known))

    def run(self, run_id: str | None) -> TrainingRun | None:
        """Return a run."""
        return self._once("run", run_id, lambda known: find_run(self.project, known))

    def version(self, model: str, version: str) -> ModelVersion | None:
        """Return a version of a model by its number."""
        return next((each for each in self.versions(model) if each.version == version), None)

    def versions(self, model: str) -> list[ModelVersion]:
        """Return all versions of a model."""
        return self._once("versions", model, lambda known: versions(self.project, known)) or []

    def totals(self, model: str, version: str) -> VersionTotals | None:
        """Return the totals of a version in the prediction log; the first call reads the whole log."""
        counted = self._once("totals", model, lambda known: count_by_version(self.project.predictions, known))
        return (counted or {}).get(version)

    def services(self, model: str, version: str) -> list[Service]:
        """Return the last periods in which a version was champion, and who decided each."""
        return periods_of(self.state, model, version)

    def turn(self, turn_id: str | None) -> Turn | None:
        """Return a turn."""
        return self._get(Turn, turn_id)

    def alert(self, alert_id: str | None) -> Alert | None:
        """Return an alert."""
        return self._get(Alert, alert_id)

    def full_ids(self, table: type[Turn] | type[Alert], given: str) -> list[str]:
        """Return the id ``given`` if a turn or an alert has it, else all ids that begin with it."""
        with self.state.transaction() as session:
            known = select(table.id).where(table.id >= given, table.id <= given + "\U0010ffff")
            found = list(session.scalars(known.order_by(table.id)))
        return [given] if given in found else found

    def decision(self, decision_id: str | None) -> GateDecision | None:
        """Return a gate decision."""
        return self._get(GateDecision, decision_id)

    def last_decision(self, model: str, version: str) -> GateDecision | None:
        """Return the last gate decision about a version."""
        of = (GateDecision.model == model, GateDecision.candidate == version)
        query = (
            select(GateDecision).where(*of).order_by(GateDecision.decided_at.desc(), GateDecision.id.desc())
        )
        with self.state.transaction() as session:
            return session.scalar(query.limit(1))

    def turns(self, **values: str) -> list[Turn]:
        """Return the turns with these column values, the latest first."""
        query = select(Turn).filter_by(**values).order_by(Turn.requested_at.desc(), Turn.id.desc())
        with self.state.transaction() as session:
            return list(session.scalars(query))

    def alerts(self, model: str, version: str) -> list[Alert]:
        """Return the alerts about a version, the earliest first."""
        query = select(Alert).where(Alert.model == model, Alert.version == version).order_by(Alert.raised_at)
        with self.state.transaction() as session:
            return list(session.scalars(query))

    def reports(self, model: str, version: str) -> Reports | None:
        """Return the number of monitor runs of a version and their results; None if there were none."""
        of = (MonitorRun.model == model, MonitorRun.version == version)
        with self.state.transaction() as session:
            counts = session.execute(
                select(MonitorRun.verdict, func.count()).where(*of).group_by(MonitorRun.verdict)
            ).all()
            last = session.scalar(select(func.max(MonitorRun.at)).where(*of))
            reports = select(MonitorRun.report_path).where(*of, MonitorRun.report_path.is_not(None))
            report = session.scalar(reports.order_by(MonitorRun.at.desc()).limit(1))
        if last is None:
            return None
        verdicts = dict[str, int]((verdict, count) for verdict, count in counts)
        return {
            "monitor_runs": sum(verdicts.values()),
            "verdicts": verdicts,
            "last_at": last,
            "last_report": report,
        }

    def close(self) -> None:
        """Close the connections."""
        if "state" in vars(self):
            self.state.close()

    def _get(self, table: type[Value], key: str | None) -> Value | None:
        def read(known: str) -> Value | None:
            with self.state.transaction() as session:
                return session.get(table, known)

        return self._once(table.__name__, key, read)

    def _once(self, kind: str, key: str | None, read: Callable[[str], Value | None]) -> Value | None:
        if key is None:
            return None
        if (kind, key) not in self._read:
            self._read[kind, key] = read(key)
        found: Value | None = self._read[kind, key]
        return found
