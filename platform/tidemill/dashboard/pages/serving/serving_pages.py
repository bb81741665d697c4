"""Serving: how much is asked, how fast and with what errors it is answered, by whom, and what waits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from markupsafe import Markup

from tidemill.dashboard.charts.rate_lines import rate_lines
from tidemill.dashboard.installation import ShownProject
from tidemill.dashboard.live.metric_samples import Figures, figures, steps
from tidemill.dashboard.page import PageNumber, add_page
from tidemill.dashboard.records import serving_rows
from tidemill.dashboard.records.list_part import Part
from tidemill.dashboard.visit import Here, Visit
from tidemill.errors import TidemillError
from tidemill.kubernetes.cluster_facts import ClusterFacts
from tidemill.project.project import open_folder
from tidemill.state import record_queries

__all__ = ["ModelServing", "ServedModel", "ServingOverview", "add_to", "model_serving", "serving"]

_SPAN = 60.0
"""Seconds that the figures at a glance are of."""
_STEPS = 60
_ALIVE = serving_rows.ALIVE


@dataclass(frozen=True)
class ServedModel:
    """How one model is served at the moment."""

    project: str
    model: str
    state: str
    """``answering``, ``failing``, ``degraded``, or ``stopped``."""
    why: str | None
    """What is wrong, if something is."""
    url: str | None
    champion: str | None
    replicas: int
    """Those with a heartbeat in the last 20 seconds."""
    rate: float | None
    """Requests a second in the last minute; None if that is not known."""
    errors: float | None
    """Share of those that ended in an error of the server."""
    overloaded: float | None
    """Requests a second that were refused because there were too many."""
    p50: float | None
    """Seconds."""
    p99: float | None
    in_flight: float | None
    waiting: int
    """Jobs that are queued or run."""
    dead: int
    """Jobs that failed too often."""


@dataclass(frozen=True)
class ServingOverview:
    """Serving of all models."""

    models: Sequence[ServedModel]


@dataclass(frozen=True)
class Replica:
    """A process that answers predictions."""

    id: str
    state: str
    """``ok``, ``loading``, ``failed`` (it cannot load what it should) or ``gone`` (no heartbeat)."""
    version: str | None
    wanted: str | None
    beside: Sequence[str]
    """Versions beside the champion, with their shares."""
    loaded_at: datetime | None
    seen_at: datetime
    error: str | None


@dataclass(frozen=True)
class Moment:
    """Figures of some seconds until a moment."""

    at: datetime
    rate: float
    errors: float
    p99: float | None


@dataclass(frozen=True)
class ShownJob:
    """A slow prediction."""

    id: str
    status: str
    rows: int
    rows_done: int
    version: str | None
    attempts: int
    requested_at: datetime
    finished_at: datetime | None
    error: str | None


@dataclass(frozen=True)
class Schedule:
    """A batch scoring that is repeated."""

    name: str
    due: datetime | None
    """The slot that waits to be scored."""
    next: datetime


@dataclass(frozen=True)
class Slot:
    """A slot of a schedule that was scored, or not."""

    schedule: str
    slot: datetime
    status: str
    version: str | None
    rows: int | None
    rejected: int | None
    told: str | None
    """The output, or why there is none."""


@dataclass(frozen=True)
class ModelServing:
    """Serving of one model."""

    now: ServedModel
    versions: Mapping[str, float]
    """Version → predictions a second."""
    replicas: Sequence[Replica]
    history: Sequence[Moment]
    """The last half hour, as far as the dashboard has run."""
    jobs: Sequence[ShownJob]
    part: Part
    """Where in the list of jobs this page is."""
    counts: Mapping[str, int]
    """Jobs by status."""
    schedules: Sequence[Schedule]
    schedules_problem: str | None
    """Why the schedules cannot be read."""
    slots: Sequence[Slot]
    """The latest."""
    cluster: ClusterFacts | None
    """How the release is on its cluster; None outside of one."""

    @property
    def rates(self) -> Markup:
        """Requests a second over the last half hour."""
        at, values = [one.at for one in self.history], [one.rate for one in self.history]
        return rate_lines("Requests a second over the last half hour", at, values)

    @property
    def rate_series(self) -> Mapping[str, Any]:
        """The same for scripts, which draw it so that values can be read."""
        return _series(self.history, [one.rate for one in self.history], "requests a second")

    @property
    def latency_series(self) -> Mapping[str, Any]:
        """What `latencies` draws, for scripts."""
        return _series(self.history, [one.p99 for one in self.history], "99 % within, seconds")

    @property
    def latencies(self) -> Markup:
        """Seconds within which 99 % were answered, over the last half hour."""
        at, values = [one.at for one in self.history], [one.p99 for one in self.history]
        return rate_lines("Seconds within which 99 % are answered", at, values)


def _series(history: Sequence[Moment], values: Sequence[float | None], label: str) -> Mapping[str, Any]:
    return {"at": [one.at.timestamp() for one in history], "values": values, "label": label}


def serving(visit: Here) -> ServingOverview:
    """Return how every model that the visitor may see is served, those that need somebody first."""
    found = [_served(visit, one) for one in visit.projects if visit.may("read", "serving", one.model)]
    worst = {"failing": 0, "degraded": 1, "answering": 2, "stopped": 3}
    return ServingOverview(sorted(found, key=lambda one: (worst[one.state], -one.dead, one.model)))


def model_serving(visit: Here, model: str, number: PageNumber = 1) -> ModelServing:
    """Return how a model is served: its figures, replicas, jobs and batch schedules."""
    shown = visit.project(model)
    watch = visit.installation.watch
    samples = watch.samples(model) if watch is not None else []
    last = figures(samples, _SPAN)
    jobs, part = serving_rows.jobs(visit.records, model, number)
    schedules, problem = _schedules(visit, shown)
    return ModelServing(
        _served(visit, shown),
        last.versions if last else {},
        [_replica(row, visit.now) for row in serving_rows.replicas(visit.records, model, visit.now)],
        [
            Moment(datetime.fromtimestamp(at, UTC), each.rate, each.errors, each.p99)
            for at, each in steps(samples, _STEPS)
        ],
        [_job(row) for row in jobs],
        part,
        record_queries.job_counts(visit.records, model),
        schedules,
        problem,
        [_slot(row) for row in record_queries.batch_runs(visit.records, model, 20)],
        _cluster(visit, model),
    )


def _cluster(visit: Visit, model: str) -> ClusterFacts | None:
    """Return how the release is; it is of this dashboard's own project."""
    installation = visit.installation
    watched = installation.cluster if model == installation.home.model else None
    return watched.facts if watched is not None else None


def _served(visit: Visit, shown: ShownProject) -> ServedModel:
    watch = visit.installation.watch
    watched = watch.of(shown.model) if watch is not None else None
    samples = watch.samples(shown.model) if watch is not None else []
    last: Figures | None = figures(samples, _SPAN)
    alive = record_queries.replicas(visit.records, shown.model, visit.now)
    troubled = [one for one in alive if one.error]
    counts = record_queries.job_counts(visit.records, shown.model)
    why = watched.problem if watched is not None else None
    state = "stopped" if watched is None and not alive else "failing" if why else "answering"
    if samples and samples[-1].degraded and not why:
        state, why = "degraded", f"it works without {', '.join(samples[-1].degraded)}"
    if troubled and state == "answering":
        state, why = "degraded", f"replica {troubled[0].id} cannot load {troubled[0].wanted}"
    return ServedModel(
        shown.name,
        shown.model,
        state,
        why,
        watched.url if watched is not None else None,
        alive[0].version if alive else None,
        len(alive),
        last.rate if last else None,
        last.errors if last else None,
        last.overloaded if last else None,
        last.p50 if last else None,
        last.p99 if last else None,
        samples[-1].in_flight if samples else None,
        counts.get("queued", 0) + counts.get("running", 0),
        counts.get("dead", 0),
    )


def _replica(row: Any, now: datetime) -> Replica:
    gone = now - row.seen_at > _ALIVE
    state = "gone" if gone else "failed" if row.error else "ok" if row.version == row.wanted else "loading"
    beside = [
        f"{lane.get('role', '?')} {lane.get('version', '?')}: {100 * lane['share']:.3g} %"
        if lane.get("share") is not None
        else f"{lane.get('role', '?')} {lane.get('version', '?')}"
        for lane in row.lanes or ()
    ]
    return Replica(row.id, state, row.version, row.wanted, beside, row.loaded_at, row.seen_at, row.error)


def _job(row: Any) -> ShownJob:
    names = (
        "id",
        "status",
        "rows",
        "rows_done",
        "version",
        "attempts",
        "requested_at",
        "finished_at",
        "error",
    )
    return ShownJob(**{name: getattr(row, name) for name in names})


def _slot(row: Any) -> Slot:
    told = row.error if row.status in ("failed", "skipped") else row.output
    return Slot(row.schedule, row.slot, row.status, row.version, row.rows, row.rejected, told)


def _schedules(visit: Visit, shown: ShownProject) -> tuple[list[Schedule], str | None]:
    from tidemill.scoring.schedules.schedule_status import schedule_status

    try:
        found = schedule_status(open_folder(shown.root), visit.records, visit.now)
    except TidemillError as error:  # the rest of the page is worth seeing
        return [], str(error)
    return [Schedule(one["name"], one["due"], one["next"]) for one in found], None


def add_to(app: FastAPI) -> None:
    """Add the pages."""
    needs = ("read", "serving")
    add_page(
        app, "/serving", serving, template="serving/overview.html", needs=needs, title="Serving", shared=True
    )
    add_page(
        app,
        "/models/{model}/serving",
        model_serving,
        template="serving/of_a_model.html",
        needs=needs,
        title="Serving of a model",
        shared=True,
    )
