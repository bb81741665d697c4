"""The feature store of a project: definitions, training frames, and filling the online store."""

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import pandas as pd
import polars as pl
import pyarrow as pa
from feast import FeatureService, FeatureStore, FeatureView, OnDemandFeatureView, PushSource
from feast.errors import FeastObjectNotFoundException
from feast.types import UnixTimestamp
from tqdm import tqdm

from tidemill.clock import utc
from tidemill.data.tables.column_names import literal_name
from tidemill.data.tables.time_zones import in_utc
from tidemill.errors import FeatureError
from tidemill.features.by_view.view_sources import requested_views
from tidemill.features.defaults import declared_defaults, filled
from tidemill.features.feast_session import feast_errors, get_service, open_store, repository
from tidemill.features.feature_definitions import fingerprint
from tidemill.features.offline.offline_store import PolarsOfflineStore
from tidemill.features.online.erased_subjects import concerns_erased, without_erased_rows
from tidemill.features.online.freshness import record_views
from tidemill.features.online.materialise import WritesRows, can_write_columns, latest_rows, write_latest
from tidemill.features.online.online_rows import OnlineRows, online_rows
from tidemill.features.registration import apply
from tidemill.project import Project
from tidemill.project.feature_columns import FeatureValue

__all__ = [
    "apply",
    "definition_hash",
    "get_service",
    "known_features",
    "materialise",
    "open_store",
    "push",
    "service_features",
    "training_frame",
]

_Stores = Literal["online", "offline", "online_and_offline"]
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
        where nothing was known, what the view declares as default, or null.

    Raises:
        FeatureError: a key is missing, a feature has the name of a column, a source cannot be read.
    """
    features, defaults = known_features(project, entity_frame)
    return entity_frame.hstack(filled(features, defaults))


def known_features(
    project: Project, entity_frame: pl.DataFrame
) -> tuple[pl.DataFrame, dict[str, FeatureValue]]:
    """Return the features of the service as of each row, before defaults are filled in, and those defaults.

    Args:
        project: Its service says which features.
        entity_frame: As for `training_frame`.

    Returns:
        The features only, null where nothing was known; and feature → declared default.

    Raises:
        FeatureError: as `training_frame`.
    """
    store = open_store(project)
    service = get_service(store, project.feature_service)
    names = _feature_names(service)
    _check_entity_frame(entity_frame, names)
    asked: Any = entity_frame.with_row_index(_ROW).to_arrow(compat_level=pl.CompatLevel.oldest())
    if not isinstance(store.provider.offline_store, PolarsOfflineStore):
        asked = asked.to_pandas()  # pandas turns whole numbers with gaps into floats, as callers expect
    with feast_errors(f"joining the features of {service.name!r}"):
        answered = store.get_historical_features(entity_df=asked, features=service).to_arrow()
        joined = pl.DataFrame(answered.select([_ROW, *names]))  # other columns would be copied for nothing
    if joined.height != entity_frame.height:
        raise FeatureError(
            f"the offline store did not return each of {entity_frame.height} rows exactly once",
            hint="use the offline store tidemill.features.offline.PolarsOfflineStore in feature_store.yaml",
        )
    features = (joined if joined[_ROW].is_sorted() else joined.sort(_ROW)).drop(_ROW)
    features = features.with_columns(_whole_seconds(service, features.schema))
    return features, declared_defaults(service, store.list_on_demand_feature_views())


def materialise(
    project: Project, until: datetime, progress: Callable[[str, int, int], None] | None = None
) -> dict[str, int]:
    """Write the latest value of every key known at ``until`` (naive means UTC) to the online store.

    It reads each source from its beginning, so late rows are always included. Online values of a
    later event time stay, as do keys without a value at ``until``. After a kill it can be run again.
    Views that come in the request by ``features.from`` are left out: nothing looks them up.

    Args:
        project: its feature repository names the sources and the online store.
        until: the last event time.
        progress: called with the view, the number of rows written so far, and the total.

    Returns:
        View → number of rows.

    Raises:
        ConfigError: ``features.from`` does not fit the service.
        FeatureError: definitions were not applied, a source cannot be read, or has a column of another type
            than its view declares.
    """
    store = open_store(project)
    get_service(store, project.feature_service)  # raises if nothing was applied yet
    unread = requested_views(project, store).unread
    offline, online = store.provider.offline_store, store.provider.online_store
    done: dict[str, int] = {}
    for view in _online_views(store, unread):
        with feast_errors(
            f"materialising {view.name!r}",
            hint="apply the definitions: `tidemill run`, or `feast apply`",
        ):

            def tell(rows: int, total: int, name: str = view.name) -> None:
                done[name] = total
                if progress:
                    progress(name, rows, total)

            if can_write_columns(online, view):
                write_latest(store.config, offline, online, view, (_BEGINNING, utc(until)), tell)
            else:
                _as_feast_does(store, view, utc(until))
    record_views(project, store, unread)
    return done


def push(
    store: FeatureStore,
    name: str,
    rows: pd.DataFrame,
    to: _Stores = "online",
) -> None:
    """Write ``rows`` (keys, features, timestamp) of a view, or of all views of a push source.

    In the online store they replace what it holds for their keys, nulls included, unless that is newer; in
    the offline store they are added to the view's source. Rows of erased subjects are left out.

    Raises:
        FeatureError: no such view, push source or store; a column is missing or not of the declared type.
    """
    if to not in get_args(_Stores):
        raise FeatureError(f"there is no store {to!r}", hint=f"one of: {', '.join(get_args(_Stores))}")
    if rows.empty:
        return
    with feast_errors(f"writing {len(rows)} rows of {name!r}"):
        views = _views_pushed_to(store, name)
        given = in_utc(pa.Table.from_pandas(rows, preserve_index=False))
        table = without_erased_rows(store.config, given)
        if table.num_rows < given.num_rows:
            rows = table.to_pandas()
        checked = [(view, online_rows(view, table)) for view in views]
        for view, typed in checked:
            if to != "online":
                store.provider.ingest_df_to_offline_store(view, table)
            if to != "offline":
                _write(store, view, typed, rows)


def service_features(project: Project) -> tuple[str, ...]:
    """Return the plain names of the service's features, in the service's order.

    Raises:
        FeatureError: the service was not applied.
    """
    return _feature_names(get_service(open_store(project), project.feature_service))


def definition_hash(project: Project) -> str:
    """Return a hash of the applied service: of its views, their sources and transformations.

    Raises:
        FeatureError: the service was not applied.
    """
    store = open_store(project)
    service = get_service(store, project.feature_service)
    with feast_errors(f"reading the definition of {service.name!r}"):
        return fingerprint(service, _views(store, service), repository(project), project.root.resolve())


def _online_views(store: FeatureStore, unread: Collection[str]) -> list[FeatureView]:
    with feast_errors("reading the registry", hint="apply the definitions: `tidemill run`, or `feast apply`"):
        views = store.list_batch_feature_views()
    return [view for view in views if view.online and view.name not in unread]


def _as_feast_does(store: FeatureStore, view: FeatureView, until: datetime) -> None:
    if concerns_erased(store.config, view):  # Feast's own push cannot leave rows out
        rows = latest_rows(store.config, store.provider.offline_store, view, (_BEGINNING, until))
        store.provider.ingest_df(view, rows.to_pandas())
        return
    store.provider.materialize_single_feature_view(
        config=store.config,
        feature_view=view,
        start_date=_BEGINNING,
        end_date=until,
        registry=store.registry,
        project=store.project,
        tqdm_builder=_silent,
    )


def _views_pushed_to(store: FeatureStore, name: str) -> list[FeatureView]:
    """Return the view of that name, or the views of that push source."""
    try:
        return [store.get_feature_view(name)]
    except FeastObjectNotFoundException:
        # The registry's own lists: the store's change the views that Feast keeps in its cache.
        views = [
            *store.registry.list_feature_views(store.project),
            *store.registry.list_stream_feature_views(store.project),
        ]
        pushed = [view for view in views if isinstance(view.stream_source, PushSource)]
        if found := [view for view in pushed if view.stream_source.name == name]:
            return found
        raise


def _write(store: FeatureStore, view: FeatureView, typed: OnlineRows, rows: pd.DataFrame) -> None:
    online = store.provider.online_store
    if isinstance(online, WritesRows):
        online.write_rows(store.config, view, typed, lambda _: None)
    else:
        # not write_to_online_store: that leaves the old values in place when all new ones are null
        store.provider.ingest_df(view, rows)


def _feature_names(service: FeatureService) -> tuple[str, ...]:
    names = [field.name for projection in service.feature_view_projections for field in projection.features]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FeatureError(
            f"service {service.name!r} has two features called {', '.join(twice)}",
            hint="names must differ: declare a second view whose source maps the fields to others",
        )
    return tuple(names)


def _whole_seconds(service: FeatureService, schema: pl.Schema) -> list[pl.Expr]:
    """Cut moments to whole seconds: the online store holds no smaller unit."""
    fields = [field for projection in service.feature_view_projections for field in projection.features]
    moments = [field.name for field in fields if field.dtype == UnixTimestamp]
    return [pl.col(literal_name(name)).dt.truncate("1s") for name in moments if schema[name].is_temporal()]


def _check_entity_frame(frame: pl.DataFrame, names: tuple[str, ...]) -> None:
    if "event_timestamp" not in frame.columns:
        raise FeatureError(
            "the entity frame has no column 'event_timestamp'",
            hint="add it: it holds the moment of each prediction",
        )
    clash = sorted(set(frame.columns) & set(names))
    if clash:
        raise FeatureError(
            f"the entity frame has columns named like features: {', '.join(clash)}",
            hint="rename these columns of the entity frame",
        )


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
