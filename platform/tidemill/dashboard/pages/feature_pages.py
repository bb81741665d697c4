"""A feature: its statistics over time, its distribution, how it was served, and who uses it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import FastAPI, Query

from tidemill.dashboard.charts.histogram import Bins
from tidemill.dashboard.charts.time_series import Limit, TimePoint, TimeSeries
from tidemill.dashboard.page import PageNumber, add_page
from tidemill.dashboard.page_addresses import address_of
from tidemill.dashboard.records import watch_records
from tidemill.dashboard.visit import Here, Visit
from tidemill.dashboard.watched.drift_of_windows import columns_in
from tidemill.dashboard.watched.feature_service import Freshness, Skew, freshness_in, skew_in
from tidemill.dashboard.watched.ranges import First, Last, Range, range_of
from tidemill.dashboard.watched.run_parts import FeatureLine, bins_in, feature_line
from tidemill.errors import WindowNotFound
from tidemill.state import record_queries

__all__ = ["FeaturePage", "FeatureWindow", "User", "add_to", "feature_page"]

_WINDOWS = 60


@dataclass(frozen=True)
class FeatureWindow:
    """The feature in one window."""

    at: datetime
    href: str
    line: FeatureLine


@dataclass(frozen=True)
class PicturedBins:
    """The latest histogram on record."""

    at: datetime
    href: str
    bins: Bins


@dataclass(frozen=True)
class User:
    """A model with a feature of that name."""

    project: str
    model: str
    href: str


@dataclass(frozen=True)
class FeaturePage:
    """A feature of a model."""

    model: str
    feature: str
    monitor: str
    monitors: Sequence[str]
    """Those whose last run has it."""
    range: Range
    windows: Sequence[FeatureWindow]
    """The latest first."""
    total: int
    number: int
    size: int
    drift: Sequence[TimeSeries]
    limits: Sequence[Limit]
    means: Sequence[TimeSeries]
    missing: Sequence[TimeSeries]
    histogram: PicturedBins | None
    skew: Skew | None
    freshness: Freshness | None
    users: Sequence[User]


def feature_page(
    visit: Here,
    model: str,
    feature: str,
    first: First = None,
    last: Last = None,
    monitor: Annotated[str | None, Query(description="The monitor whose windows are shown.")] = None,
    number: PageNumber = 1,
) -> FeaturePage:
    """Return a feature over a range of time.

    Raises:
        ModelNotFound: there is no such model.
        WindowNotFound: no monitor's last run has the feature.
        UsageError: the range is none.
    """
    visit.project(model)
    records, asked = visit.records, range_of(first, last)
    latest = [run for run in record_queries.last_monitor_runs(records, model) if _has(run, feature)]
    names = list(dict.fromkeys(run.monitor for run in latest)) or _earlier(visit, model, feature)
    if not names:
        raise WindowNotFound(
            f"no monitor of {model} has measured a feature {feature!r} lately",
            hint="the model's page lists the features; `data_drift` in monitoring/monitors.yaml watches them",
        )
    chosen: str = monitor if monitor is not None and monitor in names else names[0]
    rows, total = watch_records.windows(records, model, chosen, asked.start, asked.end, number, _WINDOWS)
    windows = [
        FeatureWindow(
            run.at,
            address_of("models", model, "windows", run.id),
            feature_line(model, feature, columns_in(run.results)[feature]),
        )
        for run in rows
        if _has(run, feature)
    ]
    limit = windows[0].line.threshold if windows else None
    skew = next((found for run in rows if (found := skew_in(run, feature))), None)
    return FeaturePage(
        model=model,
        feature=feature,
        monitor=chosen,
        monitors=names,
        range=asked,
        windows=windows,
        total=total,
        number=number,
        size=_WINDOWS,
        drift=_series(windows, distance="value"),
        limits=[] if limit is None else [Limit("drifted", limit)],
        means=_series(windows, window="mean_now", reference="mean_before"),
        missing=_series(windows, window="missing_now", reference="missing_before"),
        histogram=_pictured(model, feature, rows),
        skew=skew,
        freshness=next((fresh for run in rows if (fresh := freshness_in(run, skew))), None),
        users=_users(visit, model, feature),
    )


def _has(run: Any, feature: str) -> bool:
    return feature in columns_in(run.results)


def _earlier(visit: Visit, model: str, feature: str) -> list[str]:
    """Return the monitors of which one of the latest runs has the feature, where the last one has not."""
    found = list[str]()
    for name in watch_records.monitor_names(visit.records, model):
        rows, _ = watch_records.windows(visit.records, model, name, None, None, 1, _WINDOWS)
        if any(_has(run, feature) for run in rows):
            found.append(name)
    return found


def _series(windows: Sequence[FeatureWindow], **fields: str) -> list[TimeSeries]:
    """Return fields of the lines as series, by name; those without a number are left out."""
    found = [
        TimeSeries(name, [TimePoint(one.at, getattr(one.line, field)) for one in windows[::-1]])
        for name, field in fields.items()
    ]
    return [each for each in found if any(point.value is not None for point in each.points)]


def _pictured(model: str, feature: str, rows: Sequence[Any]) -> PicturedBins | None:
    for run in rows:
        for bins in bins_in(run.results):
            if bins.name == feature:
                return PicturedBins(run.at, address_of("models", model, "windows", run.id), bins)
    return None


def _users(visit: Visit, model: str, feature: str) -> list[User]:
    """Return the other models that the visitor sees whose last runs have a feature of that name."""
    return [
        User(one.name, one.model, address_of("models", one.model, "features", feature))
        for one in visit.projects
        if one.model != model
        and visit.may("read", "monitor", one.model)
        and any(_has(run, feature) for run in record_queries.last_monitor_runs(visit.records, one.model))
    ]


def add_to(app: FastAPI) -> None:
    """Add the page; the name of a feature may hold any character, slashes too."""
    add_page(
        app,
        "/models/{model}/features/{feature:path}",
        feature_page,
        template="feature.html",
        needs=("read", "monitor"),
        title="Feature",
        shared=True,
    )
