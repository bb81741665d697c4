"""Measure how old the features in the online store are, for each view of a service."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import polars as pl
from feast import FeatureService, FeatureStore, FeatureView

from tidemill.clock import utc
from tidemill.errors import FeatureError
from tidemill.features.encoding import microseconds
from tidemill.features.feast_session import feast_errors, get_service
from tidemill.features.offline.asof import utc_moments
from tidemill.features.offline.parquet_sources import open_source

__all__ = ["ViewFreshness", "freshness", "state_of"]

State = Literal["fresh", "stale", "empty", "unknown"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ViewFreshness:
    """The age of one view's values in the online store."""

    view: str
    state: State
    """``stale``: even the newest value has expired; ``unknown``: the store cannot say."""
    keys: int | None
    newest: datetime | None
    """Event time of the newest value."""
    age_seconds: float | None
    """Of the newest value; negative if it is from after the moment asked for."""
    ttl_seconds: float | None
    """None: values do not expire."""
    expired: float | None
    """Share of the keys whose value has expired."""
    source_newest: datetime | None
    """Event time of the newest row in the offline source, up to the moment; none if not asked for."""


def freshness(
    store: FeatureStore, service: FeatureService | str, at: datetime, sources: bool = False
) -> list[ViewFreshness]:
    """Return how old the service's features are at a moment, for each view that it reads.

    Args:
        store: the feature store.
        service: whose views; those that its on-demand views read are among them.
        at: event time; naive means UTC.
        sources: whether to look into the offline sources, too.

    Raises:
        FeatureError: the service was not applied, or a store cannot be read.
    """
    service = get_service(store, service) if isinstance(service, str) else service
    with feast_errors(f"looking at the views of service {service.name!r}"):
        return [_of_view(store, view, utc(at), sources) for view in _views(store, service)]


def state_of(keys: int | None, age: timedelta | None, ttl: timedelta | None) -> State:
    """Name the state of a view.

    >>> state_of(3, timedelta(hours=2), timedelta(hours=1))
    'stale'
    """
    if keys is None:
        return "unknown"
    if age is None:
        return "empty"
    return "stale" if ttl and age > ttl else "fresh"


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


def _of_view(store: FeatureStore, view: FeatureView, at: datetime, sources: bool) -> ViewFreshness:
    online, ttl = store.provider.online_store, view.ttl or None
    keys: int | None = None
    newest: datetime | None = None
    expired: float | None = None
    if hasattr(online, "event_times"):
        after = microseconds(at - ttl) if ttl else None
        keys, latest, fresh = online.event_times(store.config, view, after)
        newest = None if latest is None else _EPOCH + timedelta(microseconds=latest)
        expired = 1 - fresh / keys if keys else None
    age = None if newest is None else at - newest
    return ViewFreshness(
        view=view.name,
        state=state_of(keys, age, ttl),
        keys=keys,
        newest=newest,
        age_seconds=None if age is None else age.total_seconds(),
        ttl_seconds=ttl.total_seconds() if ttl else None,
        expired=expired,
        source_newest=_newest_in_source(store, view, at) if sources else None,
    )


def _newest_in_source(store: FeatureStore, view: FeatureView, at: datetime) -> datetime | None:
    """Return the newest event time up to ``at``; None if this kind of source cannot be read here."""
    source = view.batch_source
    try:
        rows = open_source(source, store.repo_path).rows
    except FeatureError:
        return None  # another kind of source, or no file yet: only the online store's state is required
    original = {new: old for old, new in (source.field_mapping or {}).items()}
    name = original.get(source.timestamp_field, source.timestamp_field)
    moments = utc_moments(name, rows.collect_schema()[name], "us")
    newest = rows.select(moments.alias("at")).filter(pl.col("at") <= at).max().collect().item()
    return newest if isinstance(newest, datetime) else None
