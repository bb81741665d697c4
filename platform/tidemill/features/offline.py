"""A Feast offline store on Polars: point-in-time joins over parquet files.

Any Feast project switches over in its ``feature_store.yaml``::

    offline_store:
        type: tidemill.features.offline.PolarsOfflineStore
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import polars as pl
import pyarrow as pa
from feast import FeatureView, OnDemandFeatureView
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.saved_dataset import SavedDatasetStorage

from tidemill.clock import utc
from tidemill.errors import FeatureError
from tidemill.features.asof import History, point_in_time_join, utc_moments
from tidemill.features.sources import append, scan, source_path, write

__all__ = ["PolarsOfflineStore", "PolarsOfflineStoreConfig", "PolarsRetrievalJob"]


class PolarsOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """The section ``offline_store`` of ``feature_store.yaml``."""

    type: Literal["tidemill.features.offline.PolarsOfflineStore"] = (
        "tidemill.features.offline.PolarsOfflineStore"
    )


class PolarsRetrievalJob(RetrievalJob):  # type: ignore[misc]
    """A query that runs when its result is asked for; Feast applies on-demand views to what it gives."""

    def __init__(
        self,
        evaluate: Callable[[], pa.Table],
        repo_path: Path | None,
        full_feature_names: bool = False,
        on_demand_feature_views: Sequence[OnDemandFeatureView] = (),
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        self._evaluate = evaluate
        self._repo_path = repo_path
        self._full_feature_names = full_feature_names
        self._on_demand_feature_views = list(on_demand_feature_views)
        self._metadata = metadata

    @property
    def full_feature_names(self) -> bool:
        """Whether features are named ``view__feature``."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """The views that Feast computes on top."""
        return self._on_demand_feature_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """What was asked for: features, keys, span of time."""
        return self._metadata

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        try:
            return self._evaluate()
        except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
            raise FeatureError(f"the offline store cannot answer: {error}") from error

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._to_arrow_internal(timeout).to_pandas()
        return frame

    def persist(
        self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None
    ) -> None:
        """Write the result, on-demand features included, to a parquet file that appears whole or not at all.

        Raises:
            FeatureError: ``storage`` is no file, or is taken and ``allow_overwrite`` is off.
        """
        if not isinstance(storage, SavedDatasetFileStorage):
            raise FeatureError(
                f"a saved dataset of this store is a parquet file, not {type(storage).__name__}"
            )
        path = source_path(storage.to_data_source(), self._repo_path)
        if path.exists() and not allow_overwrite:
            raise FeatureError(
                f"{path} exists already", hint="choose another path or pass allow_overwrite=True"
            )
        write(self.to_arrow(timeout=timeout), path)


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
            OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
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
        """Give the latest row per key within the span, both ends included; rows without a key do not count."""

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
        rows = rows.filter(moment >= max(utc(start), datetime(1, 1, 2, tzinfo=UTC)))
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
