"""Fill the online store by the column, without a Python object for each value.

Any Feast project gets it for ``feast materialize`` and `feast.FeatureStore.materialize` too, with one of
Tidemill's online stores, in its ``feature_store.yaml``::

    batch_engine:
        type: tidemill.features.online.ColumnarComputeEngine
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable

import pyarrow as pa
from feast import FeatureView
from feast.infra.common.materialization_job import MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.local.compute import LocalComputeEngineConfig
from feast.infra.offline_stores.offline_store import OfflineStore
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import RepoConfig

from tidemill.features.online.erased_subjects import without_erased_rows
from tidemill.features.online.online_rows import OnlineRows, online_rows
from tidemill.features.private_feast import DUMMY_ENTITY_ID, LocalMaterializationJob, OneViewEngine

__all__ = [
    "ColumnarComputeEngine",
    "ColumnarComputeEngineConfig",
    "WritesRows",
    "can_write_columns",
    "latest_rows",
    "write_latest",
]

_BLOCK = 1_000_000  # rows that are converted at once


@runtime_checkable
class WritesRows(Protocol):
    """An online store that takes columns."""

    def write_rows(
        self, config: RepoConfig, view: FeatureView, rows: OnlineRows, progress: Callable[[int], Any]
    ) -> None:
        """Write rows, unless it holds newer ones of their keys."""


class ColumnarComputeEngineConfig(LocalComputeEngineConfig):  # type: ignore[misc]
    """The section ``batch_engine`` of ``feature_store.yaml``."""

    type: Literal["tidemill.features.online.ColumnarComputeEngine"] = (
        "tidemill.features.online.ColumnarComputeEngine"
    )


class ColumnarComputeEngine(OneViewEngine):
    """Feast's local engine, which copies views from the offline to the online store by the column.

    Views that are computed on the way (aggregations, transformations, validation), and online stores that do
    not take columns, are left to Feast.
    """

    def materialise_view(
        self, registry: BaseRegistry, task: MaterializationTask, **kwargs: Any
    ) -> LocalMaterializationJob:
        """Copy one view from the offline to the online store, by the column where possible."""
        view = task.feature_view
        if not (task.only_latest and can_write_columns(self.online_store, view)):
            return super().materialise_view(registry, task, **kwargs)
        bars: list[Any] = []

        def progress(done: int, total: int) -> None:
            if task.tqdm_builder and not bars:
                bars.append(task.tqdm_builder(total))
            for bar in bars:
                bar.update(done - bar.n)

        job = f"{view.name}-{task.start_time}-{task.end_time}"
        try:
            write_latest(
                self.repo_config,
                self.offline_store,
                self.online_store,
                view,
                (task.start_time, task.end_time),
                progress,
            )
        except Exception as error:  # noqa: BLE001 - Feast raises what the job holds
            return LocalMaterializationJob(job, MaterializationJobStatus.ERROR, error)
        finally:
            for bar in bars:
                bar.close()
        return LocalMaterializationJob(job, MaterializationJobStatus.SUCCEEDED)


def can_write_columns(online: object, view: FeatureView) -> bool:
    """Return whether `write_latest` does for ``view`` what Feast would do."""
    computed = ("aggregations", "feature_transformation", "enable_validation", "filter", "source_views")
    return (
        isinstance(online, WritesRows)
        and isinstance(view, FeatureView)
        and view.online
        and not view.offline
        and view.batch_source is not None
        and not any(getattr(view, name, None) for name in computed)
    )


def write_latest(
    config: RepoConfig,
    offline: OfflineStore,
    online: WritesRows,
    view: FeatureView,
    span: tuple[datetime, datetime],
    progress: Callable[[int, int], None],
) -> int:
    """Write the latest row of each key within ``span`` to the online store; return how many there were.

    Subjects with a tombstone are left out (`tidemill.data.personal.tombstones`).
    Killed at any point it can be run again, over the same span or a longer one.

    Args:
        config: the repository's.
        offline: where rows come from.
        online: where they go.
        view: whose rows.
        span: first and last event time, aware, both included.
        progress: called with how many rows are written and how many there are.

    Raises:
        FeatureError: a column is missing or not of the declared type, or a store cannot be read or written.
    """
    table = latest_rows(config, offline, view, span)
    written = 0

    def count(more: int) -> None:
        nonlocal written
        written += more
        progress(written, table.num_rows)

    progress(0, table.num_rows)
    for start in range(0, table.num_rows, _BLOCK):
        online.write_rows(config, view, online_rows(view, table.slice(start, _BLOCK)), count)
    return written


def latest_rows(
    config: RepoConfig, offline: OfflineStore, view: FeatureView, span: tuple[datetime, datetime]
) -> pa.Table:
    """Return the latest row of each key within ``span``, with the source's columns, without erased subjects.

    Raises:
        FeatureError: a column is missing, or the source cannot be read.
    """
    source = view.batch_source
    original = {new: old for old, new in (source.field_mapping or {}).items()}
    created = source.created_timestamp_column
    keys = [column.name for column in view.entity_columns if column.name != DUMMY_ENTITY_ID]
    table = offline.pull_latest_from_table_or_query(
        config=config,
        data_source=source,
        join_key_columns=[original.get(key, key) for key in keys],
        feature_name_columns=[original.get(field.name, field.name) for field in view.features],
        timestamp_field=original.get(source.timestamp_field, source.timestamp_field),
        created_timestamp_column=original.get(created, created) if created else None,
        start_date=span[0],
        end_date=span[1],
    ).to_arrow()
    return without_erased_rows(config, table, source.field_mapping)
