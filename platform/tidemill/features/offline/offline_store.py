"""A Feast offline store on Polars, with point-in-time joins over parquet files.

Any Feast project switches over in its ``feature_store.yaml``::

    offline_store:
        type: tidemill.features.offline.PolarsOfflineStore
"""

from collections.abc import Callable, Iterable
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
from feast import FeatureView
from feast.data_source import DataSource
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel, RepoConfig

from tidemill.clock import utc
from tidemill.errors import FeatureError
from tidemill.features.offline import statistics
from tidemill.features.offline.asof import JoinResources
from tidemill.features.offline.entities import EntityRows, entity_rows
from tidemill.features.offline.histories import join_keys, source_of
from tidemill.features.offline.logged_features import write_logs
from tidemill.features.offline.parquet_writing import append
from tidemill.features.offline.pulling import SourceSelection, column_types, pull
from tidemill.features.offline.querying import FeatureRequest, Span, answer
from tidemill.features.offline.retrieval import (
    PolarsRetrievalJob,
    Staging,
    on_demand_views,
    require_request_data,
)
from tidemill.features.private_feast import compute_non_entity_date_range

__all__ = ["PolarsOfflineStore", "PolarsOfflineStoreConfig", "PolarsRetrievalJob"]


class PolarsOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """The section ``offline_store`` of ``feature_store.yaml``."""

    type: Literal["tidemill.features.offline.PolarsOfflineStore"] = (
        "tidemill.features.offline.PolarsOfflineStore"
    )
    staging_location: str | None = None
    """Folder or address that `RetrievalJob.to_remote_storage` exports to."""
    staging_location_endpoint_override: str | None = None
    """Endpoint of the S3 service there, if it is not Amazon's."""
    join_memory_mb: int = 1024
    """Rough limit of a join's memory beyond its rows and result; larger joins use temporary files."""
    join_folder: str | None = None
    """An existing folder for these files, with space for a copy of the largest source; None: ``TMPDIR``."""


class PolarsOfflineStore(OfflineStore):  # type: ignore[misc]
    """Feast's interface to the history of features, over `feast.FileSource` parquet."""

    supports_filter_by_created_timestamp = True

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
        filter_by_created_timestamp: bool = False,
    ) -> PolarsRetrievalJob:
        """Join the views' values to the entity rows: each once, in order, nulls where nothing was known.

        Without ``entity_df``, the rows are the keys and timestamps that the views' sources have from
        ``start_date`` to ``end_date`` (defaults: the longest TTL or 30 days before the end; now).
        """
        on_demand = on_demand_views(feature_refs, project, registry)
        asked = FeatureRequest(
            feature_views,
            feature_refs,
            full_feature_names,
            config.repo_path,
            filter_by_created_timestamp,
            _room(config),
        )
        rows: EntityRows | Span
        if entity_df is None:
            first, last = compute_non_entity_date_range(feature_views, start_date, end_date)
            rows = (utc(first), utc(last))
            span: tuple[datetime | None, datetime | None] = rows
            keys = list(dict.fromkeys(key for view in feature_views for key in join_keys(view)))
        else:
            rows = entity_rows(entity_df)
            keys, span = [name for name in rows.table.column_names if name != rows.at], rows.span
        require_request_data(on_demand, keys)
        return PolarsRetrievalJob(
            partial(answer, asked, rows),
            config.repo_path,
            full_feature_names,
            on_demand,
            RetrievalMetadata(feature_refs, keys, *span),
            _staging(config),
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
        """Pull the latest row of each key within the span, both ends included; skip rows without a key."""
        wanted = SourceSelection(
            data_source,
            join_key_columns,
            feature_name_columns,
            timestamp_field,
            created_timestamp_column,
            start_date,
            end_date,
            latest=True,
        )
        return _pulled(config, wanted)

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
        """Pull all rows within the span, both ends included, in the order of the source."""
        wanted = SourceSelection(
            data_source,
            join_key_columns,
            feature_name_columns,
            timestamp_field,
            created_timestamp_column,
            start_date,
            end_date,
            latest=False,
        )
        return _pulled(config, wanted)

    @staticmethod
    def offline_write_batch(
        config: RepoConfig,
        feature_view: FeatureView,
        table: pa.Table,
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Add rows to the view's source: to its one file, or as further files of its folder."""
        try:
            append(table, source_of(feature_view), config.repo_path)
        except FeatureError as error:
            raise FeatureError(f"feature view {feature_view.name!r}: {error}", hint=error.hint) from error
        if progress:
            progress(table.num_rows)

    @staticmethod
    def write_logged_features(
        config: RepoConfig,
        data: pa.Table | Path,
        source: LoggingSource,
        logging_config: LoggingConfig,
        registry: BaseRegistry,
    ) -> None:
        """Add logged features to the folder of their `feast.infra…FileLoggingDestination`."""
        write_logs(data, source, logging_config, config.repo_path)

    def validate_data_source(self, config: RepoConfig, data_source: DataSource) -> None:
        """Fail if the source cannot be read or lacks its timestamp column."""
        columns = [name for name, _ in column_types(data_source, config.repo_path)]
        for name in (data_source.timestamp_field, data_source.created_timestamp_column):
            if name and name not in columns and name not in (data_source.field_mapping or {}).values():
                raise FeatureError(
                    f"source {data_source.name!r} ({data_source.path}): there is no column {name!r}",
                    hint=f"there are: {', '.join(columns)}",
                )

    def get_table_column_names_and_types_from_data_source(
        self, config: RepoConfig, data_source: DataSource
    ) -> Iterable[tuple[str, str]]:
        """Return the columns of the source, those that folders name included, and their Arrow types."""
        return column_types(data_source, config.repo_path)

    @staticmethod
    def compute_monitoring_metrics(
        config: RepoConfig,
        data_source: DataSource,
        feature_columns: list[tuple[str, str]],
        timestamp_field: str,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        histogram_bins: int = 20,
        top_n: int = 10,
    ) -> list[dict[str, Any]]:
        """Return the statistics that Feast's feature monitoring shows."""
        names = [name for name, _ in feature_columns]
        wanted = SourceSelection(
            data_source, (), names, timestamp_field, None, start_date, end_date, latest=False
        )
        return statistics.statistics(wanted, feature_columns, config.repo_path, histogram_bins, top_n)

    @staticmethod
    def get_monitoring_max_timestamp(
        config: RepoConfig, data_source: DataSource, timestamp_field: str
    ) -> datetime | None:
        """Return the latest timestamp of a source."""
        return statistics.latest_moment(data_source, timestamp_field, config.repo_path)

    @staticmethod
    def ensure_monitoring_tables(config: RepoConfig) -> None:
        """Make the tables of Feast's feature monitoring: ``feast_monitoring/*.parquet`` in the repository."""
        statistics.make_tables(config.repo_path)

    @staticmethod
    def save_monitoring_metrics(config: RepoConfig, metric_type: str, metrics: list[dict[str, Any]]) -> None:
        """Add or replace rows of a table of Feast's feature monitoring."""
        statistics.put_rows(metric_type, metrics, config.repo_path)

    @staticmethod
    def query_monitoring_metrics(
        config: RepoConfig,
        project: str,
        metric_type: str,
        filters: dict[str, Any] | None = None,
        start_date: date | None = None,
        end_date: date | None = None,
    ) -> list[dict[str, Any]]:
        """Return rows of a table of Feast's feature monitoring, by date."""
        where = {"project_id": project or None, **(filters or {})}
        return statistics.find_rows(metric_type, config.repo_path, where, start_date, end_date)

    @staticmethod
    def clear_monitoring_baseline(
        config: RepoConfig,
        project: str,
        feature_view_name: str | None = None,
        feature_name: str | None = None,
        data_source_type: str | None = None,
    ) -> None:
        """Remove the baselines of the named features."""
        where = {
            "project_id": project,
            "feature_view_name": feature_view_name,
            "feature_name": feature_name,
            "data_source_type": data_source_type,
        }
        statistics.change_rows("feature", config.repo_path, where, {"is_baseline": False})


def _pulled(config: RepoConfig, wanted: SourceSelection) -> PolarsRetrievalJob:
    return PolarsRetrievalJob(
        partial(pull, wanted, config.repo_path), config.repo_path, staging=_staging(config)
    )


def _room(config: RepoConfig) -> JoinResources:
    folder = config.offline_store.join_folder
    return JoinResources(
        config.offline_store.join_memory_mb * 2**20, Path(config.repo_path or ".", folder) if folder else None
    )


def _staging(config: RepoConfig) -> Staging | None:
    location = config.offline_store.staging_location
    return Staging(location, config.offline_store.staging_location_endpoint_override) if location else None
