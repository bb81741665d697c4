"""Measure how old the features in the online store are, for each view of a service."""

from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

import polars as pl
from feast import FeatureService, FeatureStore, FeatureView

from tidemill.clock import utc
from tidemill.errors import FeatureError
from tidemill.features.encoding import microseconds
from tidemill.features.feast_session import feast_errors, get_service, repository
from tidemill.features.offline.addresses import locate
from tidemill.features.offline.asof import utc_moments
from tidemill.features.offline.parquet_sources import open_source
from tidemill.features.online.sqlite_tables import name_of
from tidemill.features.online.view_freshness import (
    RecordedView,
    ViewFreshness,
    marks_of,
    measured,
    of_request,
    write_views,
)
from tidemill.project import Project

__all__ = ["freshness", "record_views"]


def freshness(
    store: FeatureStore,
    service: FeatureService | str,
    at: datetime,
    sources: bool = False,
    unread: Collection[str] = (),
) -> list[ViewFreshness]:
    """Return how old the service's features are at a moment, for each view that it reads.

    Args:
        store: the feature store.
        service: whose views; those that its on-demand views read are among them.
        at: event time; naive means UTC.
        sources: whether to look into the offline sources, too.
        unread: the views that come in the request, of which neither store is asked.

    Raises:
        FeatureError: the service was not applied, or a store cannot be read.
    """
    service = get_service(store, service) if isinstance(service, str) else service
    with feast_errors(f"looking at the views of service {service.name!r}"):
        return [
            of_request(view.name)
            if view.name in unread
            else _measured(store, view, utc(at), _newest_in_source(store, view, utc(at)) if sources else None)
            for view in _views(store, service)
        ]


def record_views(project: Project, store: FeatureStore, unread: Collection[str] = ()) -> None:
    """Put the views of the project's service on record, with how far their sources reach.

    Those of ``unread`` come in the request: their sources are not looked into.

    The record is made for a registry file, our SQLite store and sources on this machine;
    `tidemill.features.online.view_freshness` reads it.

    Raises:
        FeatureError: the service was not applied, or a source cannot be read.
    """
    name, repo = project.feature_service, repository(project)
    service = get_service(store, name)
    with feast_errors(f"looking at the sources of service {name!r}"):
        views = _views(store, service)
        files = _files_behind(store, [view for view in views if view.name not in unread])
        if files is None:
            return
        marks = marks_of(files)
        recorded = []
        for view in views:
            if view.name in unread:
                recorded.append(RecordedView(view.name, None, None, None))
                continue
            newest = _newest_in_source(store, view, None)
            ttl = view.ttl.total_seconds() if view.ttl else None
            table = name_of(store.config, view)
            recorded.append(RecordedView(view.name, table, ttl, newest.isoformat() if newest else None))
        online = Path(store.repo_path, store.config.online_store.path)
        write_views(project, repo, name, online, marks, recorded, project.config.features.given)


def _views(store: FeatureStore, service: FeatureService) -> list[FeatureView]:
    on_demand = {view.name: view for view in store.list_on_demand_feature_views()}
    names: dict[str, None] = {}
    for projection in service.feature_view_projections:
        if projection.name in on_demand:
            sources = on_demand[projection.name].source_feature_view_projections.values()
            names |= dict.fromkeys(source.name for source in sources)
        else:
            names[projection.name] = None
    return [store.get_feature_view(name) for name in names]


def _measured(
    store: FeatureStore, view: FeatureView, at: datetime, source_newest: datetime | None
) -> ViewFreshness:
    online, ttl = store.provider.online_store, view.ttl or None
    found = None
    if hasattr(online, "event_times"):
        found = online.event_times(store.config, view, microseconds(at - ttl) if ttl else None)
    return measured(view.name, at, ttl, found, source_newest)


def _files_behind(store: FeatureStore, views: Sequence[FeatureView]) -> list[str] | None:
    """Return the files that the views and the reach of their sources depend on; None if not all are files."""
    declared, registry = Path(store.repo_path, "feature_store.yaml"), store.config.registry
    ours = store.config.online_store.type == "tidemill.features.online.SqliteOnlineStore"
    if not ours or registry.registry_type != "file" or "://" in registry.path:
        return None
    if "$" in declared.read_text():
        return None  # variables of the environment are filled in
    try:
        places = [locate(view.batch_source, store.repo_path) for view in views]
    except FeatureError:
        return None  # another kind of source
    if any(not place.is_local or place.is_pattern for place in places):
        return None
    return [str(declared), str(Path(store.repo_path, registry.path)), *(place.path for place in places)]


def _newest_in_source(store: FeatureStore, view: FeatureView, at: datetime | None) -> datetime | None:
    """Return the newest event time up to ``at``; None if this kind of source cannot be read here."""
    source = view.batch_source
    try:
        rows = open_source(source, store.repo_path).rows
    except FeatureError:
        return None  # another kind of source, or no file yet: only the online store's state is required
    original = {new: old for old, new in (source.field_mapping or {}).items()}
    name = original.get(source.timestamp_field, source.timestamp_field)
    moments = utc_moments(name, rows.collect_schema()[name], "us")
    times = rows.select(moments.alias("at"))
    newest = (times if at is None else times.filter(pl.col("at") <= at)).max().collect().item()
    return newest if isinstance(newest, datetime) else None
