"""The feature store of a project: definitions, training frames, and filling the online store."""

from datetime import UTC, datetime
from typing import Any

import pandas as pd
import polars as pl
from feast import FeatureService, FeatureStore, FeatureView, OnDemandFeatureView
from tqdm import tqdm

from tidemill.clock import utc
from tidemill.errors import FeatureError
from tidemill.features.definitions import fingerprint
from tidemill.features.engine import feast_errors, get_service, open_store, repository
from tidemill.features.registration import apply
from tidemill.project import Project

__all__ = [
    "apply",
    "definition_hash",
    "get_service",
    "materialise",
    "open_store",
    "push",
    "service_features",
    "training_frame",
]

_ROW = "__tidemill_row"
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def training_frame(project: Project, entity_frame: pl.DataFrame) -> pl.DataFrame:
    """Return ``entity_frame`` with the service's features as they were known at each row's moment.

    Args:
        project: Its service says which features.
        entity_frame: The join keys, ``event_timestamp`` (the moment; naive means UTC), and what on-demand
            views read from a request. Other columns are allowed.

    Returns:
        The same rows in the same order and with the same columns, then the features in the service's order;
        null where nothing was known.

    Raises:
        FeatureError: a key is missing, a feature has the name of a column, a source cannot be read.
    """
    store = open_store(project)
    service = get_service(store, project.config.features.service)
    names = _feature_names(service)
    _check_entity_frame(entity_frame, names)
    asked = entity_frame.with_row_index(_ROW).to_pandas()
    with feast_errors(f"joining the features of {service.name!r}"):
        joined = pl.from_arrow(store.get_historical_features(entity_df=asked, features=service).to_arrow())
    if not isinstance(joined, pl.DataFrame) or joined.height != entity_frame.height:
        raise FeatureError(
            f"the offline store did not give each of {entity_frame.height} rows back exactly once",
            hint="use the offline store tidemill.features.offline.PolarsOfflineStore in feature_store.yaml",
        )
    return entity_frame.hstack(joined.select(_ROW, *names).sort(_ROW).drop(_ROW))


def materialise(project: Project, until: datetime) -> None:
    """Write the latest values known at ``until`` (naive means UTC) to the online store, of every key.

    It reads each source from its beginning, so late rows are never missed, and overwrites whatever the online
    store holds for a key, pushed values too. Keys that have no value yet at ``until`` are left as they are.

    Raises:
        FeatureError: definitions were not applied, or a source cannot be read.
    """
    store = open_store(project)
    with feast_errors("materialising", hint="were the definitions applied?"):
        for view in store.list_batch_feature_views():
            if view.online:
                store.provider.materialize_single_feature_view(
                    config=store.config,
                    feature_view=view,
                    start_date=_BEGINNING,
                    end_date=utc(until),
                    registry=store.registry,
                    project=store.project,
                    tqdm_builder=_silent,
                )


def push(store: FeatureStore, view: str, rows: pd.DataFrame) -> None:
    """Write ``rows`` (keys, features, timestamp) of one view to the online store.

    The last row of a key wins, and replaces what the online store held for it, nulls included.

    Raises:
        FeatureError: no such view, or a column is missing.
    """
    if rows.empty:
        return
    with feast_errors(f"writing {len(rows)} rows of {view!r} to the online store"):
        # not write_to_online_store: that leaves the old values in place when all new ones are null
        store.provider.ingest_df(store.get_feature_view(view), rows)


def service_features(project: Project) -> tuple[str, ...]:
    """Return the plain names of the service's features, in the service's order.

    Raises:
        FeatureError: the service was not applied.
    """
    return _feature_names(get_service(open_store(project), project.config.features.service))


def definition_hash(project: Project) -> str:
    """Return a hash of the applied service: of its views, their sources and transformations.

    Raises:
        FeatureError: the service was not applied.
    """
    store = open_store(project)
    service = get_service(store, project.config.features.service)
    with feast_errors(f"reading the definition of {service.name!r}"):
        return fingerprint(service, _views(store, service), repository(project), project.root.resolve())


def _feature_names(service: FeatureService) -> tuple[str, ...]:
    names = [field.name for projection in service.feature_view_projections for field in projection.features]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FeatureError(
            f"service {service.name!r} has two features called {', '.join(twice)}",
            hint="rename one of them with the field mapping of its source",
        )
    return tuple(names)


def _check_entity_frame(frame: pl.DataFrame, names: tuple[str, ...]) -> None:
    if "event_timestamp" not in frame.columns:
        raise FeatureError(
            "the entity frame has no column 'event_timestamp'", hint="it holds the moment of each prediction"
        )
    clash = sorted(set(frame.columns) & set(names))
    if clash:
        raise FeatureError(f"the entity frame has columns named like features: {', '.join(clash)}")


def _views(store: FeatureStore, service: FeatureService) -> list[FeatureView | OnDemandFeatureView]:
    """Return the service's views and those that its on-demand views read."""
    on_demand = {view.name: view for view in store.list_on_demand_feature_views()}
    names = dict.fromkeys(projection.name for projection in service.feature_view_projections)
    for name in list(names):
        if name in on_demand:
            projections = on_demand[name].source_feature_view_projections.values()
            names |= dict.fromkeys(projection.name for projection in projections)
    return [on_demand[name] if name in on_demand else store.get_feature_view(name) for name in names]


def _silent(length: int) -> Any:
    return tqdm(total=length, disable=True)
