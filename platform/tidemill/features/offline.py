"""A Feast offline store on Polars: point-in-time joins over parquet files.

Any Feast project switches over in its ``feature_store.yaml``::

    offline_store:
        type: tidemill.features.offline.PolarsOfflineStore
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal

import pandas as pd
import polars as pl
import pyarrow as pa
from feast import FeatureView
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel, RepoConfig

from tidemill.clock import utc
from tidemill.errors import FeatureError
from tidemill.features.asof import History, point_in_time_join, utc_moments
from tidemill.features.retrieval import PolarsRetrievalJob, on_demand_views
from tidemill.features.sources import append, scan

__all__ = ["PolarsOfflineStore", "PolarsOfflineStoreConfig", "PolarsRetrievalJob"]


class PolarsOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """The section ``offline_store`` of ``feature_store.yaml``."""

    type: Literal["tidemill.features.offline.PolarsOfflineStore"] = (
        "tidemill.features.offline.PolarsOfflineStore"
    )


class PolarsOfflineStore(OfflineStore):  # type: ignore[misc]
    """Feast's interface to the history of features, over `feast.FileSource` parquet."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> PolarsRetrievalJob:
        """Join the views' values to the entity rows: each once, in order, nulls where nothing was known."""
        if not isinstance(entity_df, pd.DataFrame):
            raise FeatureError(
                f"the entity frame must be a pandas DataFrame, not {type(entity_df).__name__}",
                hint="this store has neither SQL nor retrieval without an entity frame",
            )
        at = infer_event_timestamp_from_entity_df(dict(entity_df.dtypes))
        moments = _moments(entity_df[at])

        def evaluate() -> pa.Table:
            table = pa.Table.from_pandas(entity_df.assign(**{at: moments}), preserve_index=False)
            histories = [_history(config, view, feature_refs, full_feature_names) for view in feature_views]
            _reject_collisions(table.column_names, histories)
            rows = pl.from_arrow(table.select(_needed(table.column_names, at, histories)))
            features = point_in_time_join(rows, at, histories).to_arrow(  # type: ignore[arg-type]
                compat_level=pl.CompatLevel.oldest()
            )
            for name in features.column_names:
                table = table.append_column(name, features[name])
            return table

        return PolarsRetrievalJob(
            evaluate,
            config.repo_path,
            full_feature_names,
            on_demand_views(feature_refs, project, registry),
            RetrievalMetadata(
                features=feature_refs,
                keys=[column for column in entity_df.columns if column != at],
                min_event_timestamp=_python(moments.min()),
                max_event_timestamp=_python(moments.max()),
            ),
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> PolarsRetrievalJob:
        """Give the latest row per key within the span, both ends included; rows without key do not count."""

        def evaluate() -> pa.Table:
            span = _span(config, data_source, timestamp_field, start_date, end_date)
            columns = _columns(
                join_key_columns, feature_name_columns, timestamp_field, created_timestamp_column
            )
            order = [timestamp_field, *([created_timestamp_column] if created_timestamp_column else [])]
            latest = _select(span, data_source, columns).drop_nulls(join_key_columns or None)
            latest = latest.sort(order, nulls_last=False, maintain_order=True)
            if join_key_columns:
                latest = latest.unique(join_key_columns, keep="last", maintain_order=True)
            else:
                latest = latest.tail(1).with_columns(pl.lit(DUMMY_ENTITY_VAL).alias(DUMMY_ENTITY_ID))
            return latest.collect().to_arrow(compat_level=pl.CompatLevel.oldest())

        return PolarsRetrievalJob(evaluate, config.repo_path)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> PolarsRetrievalJob:
        """Give all rows within the span, both ends included, in the order of the source."""

        def evaluate() -> pa.Table:
            span = _span(config, data_source, timestamp_field, start_date, end_date)
            columns = _columns(
                join_key_columns, feature_name_columns, timestamp_field, created_timestamp_column
            )
            rows = _select(span, data_source, columns)
            if not join_key_columns:
                rows = rows.with_columns(pl.lit(DUMMY_ENTITY_VAL).alias(DUMMY_ENTITY_ID))
            return rows.collect().to_arrow(compat_level=pl.CompatLevel.oldest())

        return PolarsRetrievalJob(evaluate, config.repo_path)

    @staticmethod
    def offline_write_batch(
        config: RepoConfig,
        feature_view: FeatureView,
        table: pa.Table,
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Append rows to the view's source, which is replaced as a whole or not at all."""
        append(table, feature_view.batch_source, config.repo_path)
        if progress:
            progress(table.num_rows)


def _history(config: RepoConfig, view: FeatureView, refs: Sequence[str], full_feature_names: bool) -> History:
    """Translate one Feast view, and what is asked of it, to the terms of the join."""
    name = view.projection.name_to_use()
    asked = dict.fromkeys(
        feature for owner, _, feature in (ref.partition(":") for ref in refs) if owner == name
    )
    source = view.batch_source
    values = scan(source, config.repo_path)
    mapping = source.field_mapping or {}
    present = values.collect_schema()
    values = values.rename({old: new for old, new in mapping.items() if old in present})
    return History(
        name=name,
        values=values,
        keys={
            column.name: view.projection.join_key_map.get(column.name, column.name)
            for column in view.entity_columns
            if column.name != DUMMY_ENTITY_ID
        },
        features={feature: f"{name}__{feature}" if full_feature_names else feature for feature in asked},
        timestamp=mapping.get(source.timestamp_field, source.timestamp_field),
        created=mapping.get(source.created_timestamp_column, source.created_timestamp_column) or None,
        ttl=view.ttl or None,
    )


def _reject_collisions(columns: Sequence[str], histories: Sequence[History]) -> None:
    taken = dict.fromkeys(columns, "the entity frame")
    for history in histories:
        for feature in history.features.values():
            if feature in taken:
                raise FeatureError(
                    f"feature {feature!r} of view {history.name!r} is also a column of {taken[feature]}",
                    hint="rename one of them, or ask for full feature names",
                )
            taken[feature] = f"view {history.name!r}"


def _needed(columns: Sequence[str], at: str, histories: Sequence[History]) -> list[str]:
    wanted = {at} | {column for history in histories for column in history.keys.values()}
    return [column for column in columns if column in wanted]


def _moments(column: "pd.Series[Any]") -> "pd.Series[Any]":
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        moments: pd.Series[Any] = column.dt.tz_convert("UTC")
        return moments
    try:
        return pd.to_datetime(column, utc=True)
    except (ValueError, TypeError, OverflowError) as error:
        raise FeatureError(
            f"column {column.name!r} of the entity frame does not hold points in time: {error}"
        ) from error


def _python(moment: Any) -> datetime | None:
    return None if pd.isna(moment) else moment.to_pydatetime(warn=False)


def _columns(keys: Sequence[str], features: Sequence[str], timestamp: str, created: str | None) -> list[str]:
    return list(dict.fromkeys([*keys, *features, timestamp, *([created] if created else [])]))


def _span(
    config: RepoConfig, source: DataSource, timestamp: str, start: datetime | None, end: datetime | None
) -> pl.LazyFrame:
    rows = scan(source, config.repo_path)
    schema = rows.collect_schema()
    if timestamp not in schema:
        raise FeatureError(f"{source.path}: there is no column {timestamp!r} with the timestamp")
    moment = utc_moments(timestamp, schema[timestamp], "us")
    rows = rows.filter(pl.col(timestamp).is_not_null())
    if start is not None:
        rows = rows.filter(moment >= utc(start))
    if end is not None:
        rows = rows.filter(moment <= utc(end))
    return rows


def _select(rows: pl.LazyFrame, source: DataSource, columns: Sequence[str]) -> pl.LazyFrame:
    absent = [column for column in columns if column not in rows.collect_schema()]
    if absent:
        raise FeatureError(
            f"{source.path}: there is no column {', '.join(map(repr, absent))}",
            hint=f"there are: {', '.join(rows.collect_schema())}",
        )
    return rows.select(columns)
