"""A model: its quality, drift, predictions and traffic over time, on one axis with what happened to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import FastAPI, Query

from tidemill.dashboard.charts.axes import TimeScale
from tidemill.dashboard.charts.heat_map import HeatColumn, HeatRow
from tidemill.dashboard.charts.shares_over_time import Divided
from tidemill.dashboard.charts.time_series import Happened, Limit, TimePoint, TimeSeries
from tidemill.dashboard.page import PageNumber, add_page
from tidemill.dashboard.page_addresses import address_of
from tidemill.dashboard.records import watch_records
from tidemill.dashboard.records.alert_rows import ListedAlert, worst_alert
from tidemill.dashboard.visit import Here, Visit
from tidemill.dashboard.watched.answers_of_windows import class_shares, score_series, traffic
from tidemill.dashboard.watched.drift_of_windows import drift_rows
from tidemill.dashboard.watched.happenings import happenings
from tidemill.dashboard.watched.metric_words import Figure, estimated_figure, measured_figure, number_in
from tidemill.dashboard.watched.ranges import First, Last, Range, range_of
from tidemill.registry.history.outside_moves import OUTSIDE
from tidemill.state import record_queries

__all__ = ["ModelOverview", "WindowLine", "add_to", "model_overview"]

WINDOWS = 60
"""Windows on one page."""
_FEATURES = 20
_ALL_FEATURES = 500


@dataclass(frozen=True)
class WindowLine:
    """One window in a few figures."""

    id: str
    href: str
    start: datetime
    end: datetime
    version: str
    rows: int
    labelled: int
    verdict: str
    quality: Figure | None
    estimate: Figure | None
    drifted: float | None
    """Share of the features that have drifted."""


@dataclass(frozen=True)
class QualityPicture:
    """Quality over time, in one metric."""

    metric: str
    better: str
    series: Sequence[TimeSeries]
    limits: Sequence[Limit]


@dataclass(frozen=True)
class DriftPicture:
    """Drift of features over time."""

    columns: Sequence[HeatColumn]
    rows: Sequence[HeatRow]
    features: int
    """How many there are; not all are shown unless asked for."""


@dataclass(frozen=True)
class ModelOverview:
    """A model over a range of time."""

    model: str
    project: str
    version: str | None
    """The champion."""
    since: datetime | None
    """Event time of its promotion."""
    outside: str | None
    """How it came to serve, if its alias was moved past Tidemill."""
    alerts: int
    """Those that are not resolved."""
    worst: ListedAlert | None
    """The most severe of them, the latest if there are several."""
    monitor: str | None
    """The one that is shown; None while none has run."""
    monitors: Sequence[str]
    range: Range
    scale: TimeScale | None
    windows: Sequence[WindowLine]
    """The latest first."""
    total: int
    """Windows in the range."""
    number: int
    """Of the page of windows."""
    size: int
    quality: Sequence[QualityPicture]
    drift: DriftPicture
    answers: Sequence[TimeSeries]
    classes: Sequence[Divided]
    traffic: Sequence[Divided]
    events: Sequence[Happened]
    """The latest first."""


def model_overview(
    visit: Here,
    model: str,
    first: First = None,
    last: Last = None,
    monitor: Annotated[str | None, Query(description="The monitor whose windows are shown.")] = None,
    features: Annotated[str, Query(description="`all`: every feature in the heat map.")] = "",
    number: PageNumber = 1,
) -> ModelOverview:
    """Return a model over a range of time; by default its latest 60 windows.

    Raises:
        ModelNotFound: there is none.
        UsageError: the range is none.
    """
    shown, records, asked = visit.project(model), visit.records, range_of(first, last)
    latest = record_queries.last_monitor_runs(records, model)
    chosen = _chosen(latest, monitor)
    rows, total = (
        watch_records.windows(records, model, chosen, asked.start, asked.end, number, WINDOWS)
        if chosen
        else ([], 0)
    )
    runs = list({run.at: run for run in rows[::-1]}.values())  # one that was made again stands for all
    scale = TimeScale.around([run.at for run in runs]) if runs else None
    move = watch_records.champion_move(records, model)
    most = _ALL_FEATURES if features == "all" else _FEATURES
    judged = [run for run in runs if run.verdict not in ("failed", "missed", "too_few")]
    cells, many = drift_rows(judged, most)
    columns = [HeatColumn(run.at, address_of("models", model, "windows", run.id)) for run in judged]
    return ModelOverview(
        model=model,
        project=shown.name,
        version=None if move is None else move.to_version,
        since=None if move is None else move.at,
        outside=move.reason if move is not None and move.kind == OUTSIDE else None,
        alerts=sum(watch_records.severities(records, model).values()),
        worst=worst_alert(records, model),
        monitor=chosen,
        monitors=list(dict.fromkeys(run.monitor for run in latest)),
        range=asked,
        scale=scale,
        windows=[_line(model, run) for run in rows],
        total=total,
        number=number,
        size=WINDOWS,
        quality=_quality([_line(model, run) for run in runs]),
        drift=DriftPicture(columns, cells, many),
        answers=score_series(judged),
        classes=class_shares(model, judged),
        traffic=traffic(model, [run for run in runs if run.rows]),
        events=_events(visit, model, scale),
    )


def _chosen(latest: Sequence[Any], asked: str | None) -> str | None:
    """Return the monitor that was asked for, or the one that says the most about quality."""
    names = [run.monitor for run in latest]
    if asked in names:
        return asked
    ranked = sorted(latest, key=lambda run: (_says_quality(run), run.at), reverse=True)
    return ranked[0].monitor if ranked else None


def _says_quality(run: Any) -> bool:
    return "quality" in run.results or "estimated_quality" in run.results


def _line(model: str, run: Any) -> WindowLine:
    drift = run.results.get("data_drift")
    return WindowLine(
        run.id,
        address_of("models", model, "windows", run.id),
        run.window_start,
        run.window_end,
        run.version,
        run.rows,
        run.labelled,
        run.verdict,
        measured_figure(run),
        estimated_figure(run),
        number_in(drift, "share") if isinstance(drift, dict) else None,
    )


def _quality(lines: Sequence[WindowLine]) -> list[QualityPicture]:
    """Return a picture for each metric that a window was judged by, the latest first."""
    named = [figure for line in lines for figure in (line.quality, line.estimate) if figure is not None]
    found = list[QualityPicture]()
    for metric in dict.fromkeys(figure.metric for figure in named[::-1]):
        measured = [_point(line.end, line.quality, metric) for line in lines]
        estimated = [_point(line.end, line.estimate, metric) for line in lines]
        series = [TimeSeries("measured", measured), TimeSeries("estimated", estimated)]
        last = next(figure for figure in named[::-1] if figure.metric == metric)
        levels = (("hold-out", last.expected), ("alert", last.limit))
        found.append(
            QualityPicture(
                metric,
                last.better,
                [each for each in series if any(point.value is not None for point in each.points)],
                [Limit(name, value) for name, value in levels if value is not None],
            )
        )
    return found


def _point(at: datetime, figure: Figure | None, metric: str) -> TimePoint:
    return TimePoint(at, None) if figure is None or figure.metric != metric else figure.point(at)


def _events(visit: Visit, model: str, scale: TimeScale | None) -> list[Happened]:
    return [] if scale is None else happenings(visit.records, model, scale.start, scale.end)


def add_to(app: FastAPI) -> None:
    """Add the page."""
    add_page(
        app,
        "/models/{model}",
        model_overview,
        template="model.html",
        needs=("read", "model"),
        title="Model",
        shared=True,
    )
