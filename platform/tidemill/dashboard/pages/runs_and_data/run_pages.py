"""The runs of a model's searches, read from MLflow: the list, and one run with its trials."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import FastAPI, Query

from tidemill.dashboard.charts.parallel_coordinates import Coordinate, draw_coordinates
from tidemill.dashboard.page import add_page
from tidemill.dashboard.pages.runs_and_data.search_front import Front, front_of, short_params
from tidemill.dashboard.records.bounded_reading import READINGS
from tidemill.dashboard.records.tracking_stamp import kept_for, store_is_there, tracking_stamp
from tidemill.dashboard.visit import Here
from tidemill.project import Project
from tidemill.tasks.natural_metric import Metric, metric_of, natural_values
from tidemill.training.tracking.killed_runs import TurnsAtRest
from tidemill.training.tracking.showing.run_facts import made_from

if TYPE_CHECKING:
    from tidemill.training.tracking.run_values import TrackedRun

__all__ = ["RunPage", "Runs", "ShownRun", "add_to", "in_mlflow", "run_page", "runs", "shown_run"]

Status = Literal["FINISHED", "FAILED", "KILLED", "RUNNING", "SCHEDULED"]
_DRAWN = 300
"""Trials whose lines are drawn; the table has all."""
_PLAIN = 25
"""Plain runs of other experiments, at most, that the first page has."""


@dataclass(frozen=True)
class ShownRun:
    """A run in a list."""

    run_id: str
    name: str
    status: str
    role: str | None
    """``search``, ``trial``, or None for a run that Tidemill did not make."""
    started_at: datetime | None
    seconds: float | None
    """How long it took."""
    score: float | None
    """The metric of the list."""
    versions: Sequence[str]
    """Versions of the model that were registered from it."""
    data_revision: str | None
    commit: str | None
    """The code's."""
    turn_id: str | None
    mlflow: str
    """Its page in MLflow."""


@dataclass(frozen=True)
class Runs:
    """Some of a model's runs."""

    model: str
    metric: str
    """Name of the metric that is shown."""
    better: str
    runs: Sequence[ShownRun]
    following: str | None
    """Value of ``after`` for those that come next; None at the end."""
    show: str
    status: str | None
    order: str


@dataclass(frozen=True)
class Trial:
    """A trial of a search."""

    run: ShownRun
    params: Mapping[str, str]
    end: str | None


@dataclass(frozen=True)
class RunPage:
    """One run."""

    model: str
    run: ShownRun
    parent: str | None
    """The search that it is a trial of."""
    end: str | None
    """How it ended, in words."""
    deleted: bool
    metric: str
    judged_by: str
    """The metric of its trials."""
    metrics: Mapping[str, float | None]
    params: Mapping[str, str]
    feature_service: str | None
    feature_definition: str | None
    origin: Mapping[str, str]
    """What it was made from, as text."""
    trouble: str | None
    """Why its lineage or result cannot be read."""
    trials: Sequence[Trial]
    coordinates: str | None
    """The trials as lines through their parameters, SVG."""
    front: Front | None
    """None for a search with one metric."""


def runs(
    visit: Here,
    model: str,
    show: Annotated[Literal["searches", "trials", "all"], Query(description="Which runs.")] = "searches",
    status: Annotated[Status | Literal[""], Query(description="Only those with this status.")] = "",
    order: Annotated[Literal["latest", "best"], Query(description="What comes first.")] = "latest",
    after: Annotated[str, Query(max_length=200, description="Where the page before ended.")] = "",
) -> Runs:
    """Return some of a model's runs."""
    project = visit.installation.load(visit.project(model))
    metric = ("validation_" if show == "trials" else "holdout_") + project.config.train.metric
    by = metric if order == "best" else None

    def read() -> tuple[Sequence[ShownRun], str | None]:
        from tidemill.training.tracking.run_reading import list_plain_runs, list_runs, versions_by_run

        found = list_runs(project, shown=show, status=status or None, metric=by, after=after or None)
        listed = list(found.runs)
        if not after:  # those of other experiments stand on the first page, which can be compared with them
            plain = list_plain_runs(project, shown=show, status=status or None, metric=by, size=_PLAIN)
            listed = sorted([*listed, *plain], key=lambda run: _place(run, by))
        versions = versions_by_run(project, [run.run_id for run in listed])
        return [shown_run(run, metric, versions.get(run.run_id, ())) for run in listed], found.following

    stamp, rest = tracking_stamp(project), TurnsAtRest(project).began
    key = ("runs", str(project.root), show, status, order, after, stamp, rest)
    shown = metric_of(metric)
    listed: Sequence[ShownRun] = ()  # nothing was trained yet
    following = None
    if store_is_there(project) or visit.records.select("turns", "model = ?", model, limit=1):
        listed, following = READINGS.read("the list of runs in MLflow", key, read, keep=kept_for(stamp))
    return Runs(model, shown.name, shown.better, listed, following, show, status or None, order)


def _place(run: "TrackedRun", by: str | None) -> tuple[float, float]:
    """Return by what runs are sorted: the greatest ``by`` first, those without it last; else the latest."""
    value = None if by is None else _finite(run.metrics.get(by))
    return math.inf if value is None else -value, -run.started_at.timestamp() if run.started_at else math.inf


def run_page(visit: Here, model: str, run_id: str) -> RunPage:
    """Return one run of a model, with its trials."""
    project = visit.installation.load(visit.project(model))
    stamp, rest = tracking_stamp(project), TurnsAtRest(project).began
    key = ("run", str(project.root), run_id, stamp, rest)
    what = f"run {run_id[:8]} in MLflow"
    return READINGS.read(what, key, lambda: _read_page(project, run_id), keep=kept_for(stamp))


def _read_page(project: Project, run_id: str) -> RunPage:
    from tidemill.training.tracking.run_reading import trials_of
    from tidemill.training.tracking.whole_runs import read_front, read_whole_runs

    [whole] = read_whole_runs(project, [run_id])
    run, trained = whole.run, whole.trained
    name = project.config.train.metric
    sign = metric_of(name).sign
    metric = ("validation_" if run.role == "trial" else "holdout_") + name
    trials = [] if run.role == "trial" else trials_of(project, run)
    shown = [
        Trial(shown_run(one, f"validation_{name}", ()), short_params(one.params), one.end) for one in trials
    ]
    params = dict(run.params)
    if trained is not None:
        params = {key: str(value) for key, value in trained.params.items()} | params
    return RunPage(
        model=project.model,
        run=shown_run(run, metric, whole.versions),
        parent=run.parent,
        end=run.end,
        deleted=run.deleted,
        metric=metric_of(metric).name,
        judged_by=metric_of(f"validation_{name}").name,
        metrics=natural_values({key: _finite(value) for key, value in run.metrics.items()}),
        params=dict(sorted(params.items())),
        feature_service=run.feature_service,
        feature_definition=run.feature_definition,
        origin=made_from(project, whole),
        trouble=whole.trouble,
        trials=sorted(shown, key=lambda one: (one.run.score is None, -sign * (one.run.score or 0.0))),
        coordinates=_drawn(shown, metric_of(name)),
        front=front_of(read_front(project, run_id) if trials else [], trials),
    )


def _drawn(trials: Sequence[Trial], metric: Metric) -> str | None:
    """Return the trials as lines; None for fewer than two with a value."""
    judged = [one for one in trials if one.run.score is not None][:_DRAWN]
    if len(judged) < 2:
        return None
    names = list(dict.fromkeys(name for one in judged for name in one.params))
    lines = [Coordinate(one.run.name, {**one.params, metric.name: one.run.score}) for one in judged]
    title = f"Trials by their parameters and {metric.name}"
    return draw_coordinates(title, [*names, metric.name], lines, least_is_best=metric.sign < 0)


def shown_run(run: "TrackedRun", metric: str, versions: Sequence[str]) -> ShownRun:
    """Return a run as lists show it.

    Args:
        run: as MLflow has it.
        metric: name on record of the metric that is shown.
        versions: those that were registered from it.
    """
    began, ended = run.started_at, run.ended_at
    return ShownRun(
        run.run_id,
        run.name or run.run_id[:8],
        run.status,
        run.role,
        began,
        (ended - began).total_seconds() if began and ended else None,
        metric_of(metric).shown(_finite(run.metrics.get(metric))),
        list(versions),
        run.data_revision,
        run.commit,
        run.turn_id,
        in_mlflow(run.experiment_id, run.run_id),
    )


def in_mlflow(experiment: str, run_id: str) -> str:
    """Return the address of a run in MLflow's own pages.

    >>> in_mlflow("1", "4f1d")
    '/mlflow/#/experiments/1/runs/4f1d'
    """
    return f"/mlflow/#/experiments/{experiment}/runs/{run_id}"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def add_to(app: FastAPI) -> None:
    """Add the pages."""
    read = ("read", "run")
    add_page(app, "/models/{model}/runs", runs, template="runs.html", needs=read, title="Runs")
    add_page(app, "/models/{model}/runs/{run_id}", run_page, template="run.html", needs=read, title="Run")
