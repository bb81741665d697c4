"""Trace each feature of a service back to its view and source, by the applied definitions."""

from datetime import datetime

import polars as pl
from feast import FeatureService, FeatureStore, OnDemandFeatureView

from tidemill.features.feast_session import feast_errors
from tidemill.features.lookups import KEY_TYPES
from tidemill.features.offline.asof import History, utc_moments
from tidemill.features.offline.histories import open_history
from tidemill.features.private_feast import FeatureViewProjection
from tidemill.features.skew.provenance import OnDemandSource, Provenance, Source

__all__ = ["trace_origins"]


def trace_origins(store: FeatureStore, service: FeatureService) -> Provenance:
    """Return the views and sources of the features of ``service``, by the applied definitions.

    Raises:
        FeatureError: a view or its source cannot be read.
    """
    with feast_errors(f"resolving the views of service {service.name!r}"):
        on_demand = {view.name: view for view in store.list_on_demand_feature_views()}
        own = [p for p in service.feature_view_projections if p.name not in on_demand]
        computing = [on_demand[p.name] for p in service.feature_view_projections if p.name in on_demand]
        read = [p for view in computing for p in view.source_feature_view_projections.values()]
        served = {p.name_to_use(): tuple(f.name for f in p.features) for p in own}
        projections = {p.name_to_use(): p for p in (*read, *own)}
        types: dict[str, pl.DataType] = {}
        sources = tuple(_source(store, p, served.get(name, ()), types) for name, p in projections.items())
        computed = tuple(
            _computed(view, p, types)
            for view, p in zip(
                computing, (p for p in service.feature_view_projections if p.name in on_demand), strict=True
            )
        )
    return Provenance(sources, computed, types)


def _source(
    store: FeatureStore,
    projection: FeatureViewProjection,
    features: tuple[str, ...],
    types: dict[str, pl.DataType],
) -> Source:
    view = store.get_feature_view(projection.name).with_projection(projection)
    name = projection.name_to_use()
    refs = [f"{name}:{feature}" for feature in features]
    history = open_history(view, refs, False, store.config.repo_path).history
    for column in view.entity_columns:
        if column.name in history.keys:
            types[history.keys[column.name]] = KEY_TYPES.get(column.dtype.to_value_type(), pl.String())
    return Source(name, features, history, _newest(history))


def _computed(
    view: OnDemandFeatureView, projection: FeatureViewProjection, types: dict[str, pl.DataType]
) -> OnDemandSource:
    request = view.get_request_data_schema()
    for name, kind in request.items():
        types.setdefault(name, KEY_TYPES.get(kind, pl.String()))
    return OnDemandSource(
        name=projection.name_to_use(),
        features=tuple(field.name for field in projection.features),
        reads=tuple(p.name_to_use() for p in view.source_feature_view_projections.values()),
        request=tuple(request),
    )


def _newest(history: History) -> datetime | None:
    schema = history.values.collect_schema()
    moment = utc_moments(history.timestamp, schema[history.timestamp], "us")
    newest = history.values.select(moment.max().alias("newest")).collect().item()
    assert newest is None or isinstance(newest, datetime)
    return newest
