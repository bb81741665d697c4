"""Look up features as known at each row's moment, where the rows bring those of some views themselves."""

from collections.abc import Set

import polars as pl
from feast import FeatureService
from feast.types import UnixTimestamp

from tidemill.errors import FeatureError
from tidemill.features.defaults import declared_defaults
from tidemill.features.feast_session import feast_errors, get_service, open_store
from tidemill.features.lookups import lookups
from tidemill.features.offline.asof import point_in_time_join
from tidemill.features.offline.histories import open_history
from tidemill.features.offline.offline_store import PolarsOfflineStore
from tidemill.features.on_demand import transform_table
from tidemill.project import Project
from tidemill.project.feature_columns import FeatureValue

__all__ = ["known_by_view"]

_AT = "event_timestamp"


def known_by_view(
    project: Project, frame: pl.DataFrame, brought: pl.DataFrame, requested: Set[str]
) -> tuple[pl.DataFrame, dict[str, FeatureValue]]:
    """Return the features of the service as of each row, before defaults, and those defaults.

    Args:
        project: its service says which features.
        frame: keys, moments, and what on-demand views read from a request.
        brought: what on-demand views read of the ``requested`` views.
        requested: the views that are neither looked up nor computed; their features are null.

    Raises:
        FeatureError: a source or the registry cannot be read, or an on-demand view failed.
    """
    store = open_store(project)
    if not isinstance(store.provider.offline_store, PolarsOfflineStore):
        raise FeatureError(
            "features.from by view needs the offline store tidemill.features.offline.PolarsOfflineStore to "
            "look up tables as of their rows' moments",
            hint="name it in feature_store.yaml, or score with --online or --columns",
        )
    service = get_service(store, project.feature_service)
    with feast_errors(f"resolving the views of service {service.name!r}"):
        on_demand = {view.name: view for view in store.list_on_demand_feature_views()}
        computed = [
            on_demand[p.name].with_projection(p)
            for p in service.feature_view_projections
            if p.name in on_demand and p.name_to_use() not in requested
        ]
        histories = [
            open_history(
                one.view, [f"{one.name}:{name}" for name in one.features], False, store.config.repo_path
            ).history
            for one in lookups(store, service.feature_view_projections, computed, requested)
        ]
    known = frame.hstack(point_in_time_join(frame, _AT, histories)) if histories else frame
    whole = known.hstack(brought) if brought.width else known
    table = whole.to_arrow(compat_level=pl.CompatLevel.oldest())
    for view in computed:
        result = transform_table(view, table)
        for feature in view.features:
            table = table.append_column(feature.name, result[feature.name])
    return _in_order(service, pl.DataFrame(table), requested), declared_defaults(
        service, list(on_demand.values())
    )


def _in_order(service: FeatureService, features: pl.DataFrame, requested: Set[str]) -> pl.DataFrame:
    """Return the features in the service's order; null are those of the ``requested`` views."""
    columns = []
    for projection in service.feature_view_projections:
        for field in projection.features:
            if projection.name_to_use() in requested:
                columns.append(pl.Series(field.name, [None] * features.height))
                continue
            column = features[field.name]
            if field.dtype == UnixTimestamp and column.dtype.is_temporal():
                column = column.dt.truncate("1s")  # the online store holds no smaller unit
            columns.append(column)
    return pl.DataFrame(columns)
