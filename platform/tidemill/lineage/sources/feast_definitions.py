"""Reads lineage from Feast's registry: views, the services that use them, and the paths of their data."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tidemill.errors import ConfigError, FeatureError
from tidemill.features.feast_objects import FeatureService, OnDemandFeatureView
from tidemill.features.feast_session import feast_errors, open_store, repository
from tidemill.features.project_features import feature_names, features_digest
from tidemill.features.request_features import REQUEST
from tidemill.project import Project

__all__ = ["Definitions", "ServiceRecord", "ViewRecord", "read_definitions"]


@dataclass(frozen=True)
class ViewRecord:
    """A feature view as it was applied."""

    name: str
    on_demand: bool
    entities: tuple[str, ...]
    features: tuple[str, ...]
    ttl: float | None
    """Seconds; None if values never expire."""
    source: str | None
    """Path of its data, relative to the project, or its address."""
    reads: tuple[str, ...] = ()
    """Views that an on-demand view computes from."""
    request: tuple[str, ...] = ()
    """Fields that an on-demand view takes from the request."""


@dataclass(frozen=True)
class ServiceRecord:
    """A feature service as it was applied."""

    name: str
    views: tuple[str, ...]
    features: tuple[str, ...]


@dataclass(frozen=True)
class Definitions:
    """The applied feature views and services."""

    views: Mapping[str, ViewRecord]
    services: Mapping[str, ServiceRecord]
    applied_hash: str | None
    """Hash of the project's own service."""
    gap: str | None = None
    """Why something of it cannot be read."""


def read_definitions(project: Project) -> Definitions:
    """Return the applied definitions; where they or their hash cannot be read, what was said in ``gap``.

    Where features come in the request, the one service is ``request``, with the columns of ``features.yaml``.
    """
    if not project.has_store:
        return _columns_of_requests(project)
    try:
        store = open_store(project)
        with feast_errors("reading the registry"):
            batch, computed = store.list_batch_feature_views(), store.list_on_demand_feature_views()
            services = store.list_feature_services()
        views = [_view(project, each) for each in (*batch, *computed)]
    except FeatureError as error:
        return Definitions({}, {}, None, f"what Feast has applied cannot be read: {error}")
    applied, gap = None, None
    if project.feature_service in {service.name for service in services}:
        try:
            applied = features_digest(project)
        except FeatureError as error:
            gap = f"what is applied cannot be compared: {error}"
    return Definitions(
        {view.name: view for view in views},
        {service.name: _service(service) for service in services},
        applied,
        gap,
    )


def _columns_of_requests(project: Project) -> Definitions:
    try:
        service = ServiceRecord(REQUEST, (), feature_names(project))
        return Definitions({}, {REQUEST: service}, features_digest(project))
    except ConfigError as error:
        return Definitions({}, {}, None, f"features come in the request, and are not known: {error}")


def _service(service: FeatureService) -> ServiceRecord:
    projections = service.feature_view_projections
    return ServiceRecord(
        service.name,
        tuple(dict.fromkeys(projection.name for projection in projections)),
        tuple(field.name for projection in projections for field in projection.features),
    )


def _view(project: Project, view: Any) -> ViewRecord:
    features = tuple(field.name for field in view.features)
    if isinstance(view, OnDemandFeatureView):
        fields = [field.name for s in view.source_request_sources.values() for field in s.schema]
        read = tuple(projection.name for projection in view.source_feature_view_projections.values())
        return ViewRecord(view.name, True, (), features, None, None, read, tuple(fields))
    ttl = view.ttl.total_seconds() if view.ttl else None
    return ViewRecord(view.name, False, tuple(view.join_keys), features, ttl or None, _source(project, view))


def _source(project: Project, view: Any) -> str | None:
    path = getattr(view.batch_source, "path", None)
    if not path or "://" in path:
        return path or None
    return os.path.relpath(repository(project) / path, project.root.resolve())
