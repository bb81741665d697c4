"""Find the views whose features come in the request, where ``features.from`` says so by view."""

from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

from feast import FeatureStore

from tidemill.errors import ConfigError
from tidemill.features.feast_session import feast_errors, get_service, open_store
from tidemill.project import Project
from tidemill.project.feature_columns import COLUMNS_FILE, read_columns
from tidemill.project.features_config import Source

__all__ = ["RequestedViews", "requested_views"]


class RequestedViews(NamedTuple):
    """The views that are neither looked up nor computed."""

    views: frozenset[str] = frozenset()
    """Their names in the service."""
    columns: frozenset[str] = frozenset()
    """The columns of ``features.yaml`` that have their features."""
    unread: frozenset[str] = frozenset()
    """Names, in the feature repository, of the views of the service that nothing looks up."""


def requested_views(project: Project, store: FeatureStore | None = None) -> RequestedViews:
    """Return the views whose features come in the request; none where one word says it for all views.

    Args:
        project: ``features.from`` in its ``params.yaml`` says which.
        store: the project's feature store; default: it is opened.

    Raises:
        ConfigError: it names a view that the service does not have, or ``features.yaml`` does not list what
            requests bring by it.
        FeatureError: the service was not applied.
    """
    config = project.config.features
    if not config.by_view:
        return RequestedViews()
    store = store or open_store(project)
    views = _features(project, store)
    if unknown := [view for view in config.views if view not in views]:
        raise ConfigError(
            f"features.from in {project.root / 'params.yaml'} names {', '.join(map(repr, unknown))}, and "
            f"service {project.feature_service!r} has no such view",
            hint=f"its views: {', '.join(views)}; default is for those that are not named",
        )
    if config.source == "store":
        return RequestedViews()
    listed = [column.name for column in read_columns(project)]
    sources = {view: config.source_of(view) for view in views}
    _check_listed(project, views, sources, listed)
    requested = frozenset(view for view, source in sources.items() if source == "request")
    columns = frozenset(name for view in requested for name in views[view])
    return RequestedViews(requested, columns, _unread(project, store, requested))


def _check_listed(
    project: Project,
    views: Mapping[str, Sequence[str]],
    sources: Mapping[str, Source],
    listed: Sequence[str],
) -> None:
    """Check that ``features.yaml`` lists all features that requests bring, and none that they do not."""
    place, brought = project.root / COLUMNS_FILE, set(listed)
    for view, names in views.items():
        missing = [name for name in names if name not in brought]
        if sources[view] == "request" and missing:
            raise ConfigError(
                f"the features of view {view!r} come in the request by features.from, but {place} does not "
                f"list {', '.join(missing)}",
                hint=f"add an entry for each, such as `- {{name: {missing[0]}, type: number}}`",
            )
        if sources[view] == "store" and (stored := [name for name in names if name in brought]):
            raise ConfigError(
                f"{place} lists {', '.join(stored)}, but the features of view {view!r} come from the store "
                "by features.from",
                hint=f"remove the entry, or set features.from of {view} to request or both",
            )


def _features(project: Project, store: FeatureStore) -> dict[str, list[str]]:
    """Return the features of each view: those of the service, and those that its on-demand views read."""
    service = get_service(store, project.feature_service)
    config = project.config.features
    found: dict[str, dict[str, None]] = {}
    with feast_errors(f"resolving the views of service {service.name!r}"):
        on_demand = {view.name: view for view in store.list_on_demand_feature_views()}
        for projection in service.feature_view_projections:
            read = [projection]
            name = projection.name_to_use()
            if projection.name in on_demand and config.source_of(name) != "request":
                read += on_demand[projection.name].source_feature_view_projections.values()
            for each in read:
                names = dict.fromkeys(feature.name for feature in each.features)
                found.setdefault(each.name_to_use(), {}).update(names)
    return {view: list(names) for view, names in found.items()}


def _unread(project: Project, store: FeatureStore, requested: Set[str]) -> frozenset[str]:
    """Return the views that the service names, itself or by an on-demand view, and never looks up."""
    service = get_service(store, project.feature_service)
    named, read = set[str](), set[str]()
    with feast_errors(f"resolving the views of service {service.name!r}"):
        on_demand = {view.name: view for view in store.list_on_demand_feature_views()}
        for projection in service.feature_view_projections:
            sources = [projection]
            if projection.name in on_demand:
                sources = list(on_demand[projection.name].source_feature_view_projections.values())
            named |= {each.name for each in sources}
            if projection.name_to_use() not in requested:
                read |= {each.name for each in sources if each.name_to_use() not in requested}
    return frozenset(named - read)
