"""The retrieval job that the offline store returns to Feast: a query that runs when its result is read."""

import copy
import functools
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
from feast import FileSource, OnDemandFeatureView
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.saved_dataset import SavedDatasetStorage

from tidemill.errors import FeatureError
from tidemill.features.offline.addresses import locate
from tidemill.features.offline.parquet_writing import save
from tidemill.features.on_demand import transform_table
from tidemill.threads import BackgroundThread

__all__ = ["BATCH_ROWS", "PolarsRetrievalJob", "Query", "Staging", "on_demand_views", "require_request_data"]

BATCH_ROWS = 1_000_000

Query = Callable[[int | None], Iterator[pa.Table]]
"""Takes the batch size (None: all at once) and yields the batches: at least one, which may be empty."""


@dataclass(frozen=True)
class Staging:
    """The place that results are exported to."""

    location: str
    endpoint: str | None = None


class PolarsRetrievalJob(RetrievalJob):  # type: ignore[misc]
    """A query that runs when its result is read; Feast applies on-demand views to its result."""

    def __init__(
        self,
        query: Query,
        repo_path: Path | None,
        full_feature_names: bool = False,
        on_demand_feature_views: Sequence[OnDemandFeatureView] = (),
        metadata: RetrievalMetadata | None = None,
        staging: Staging | None = None,
    ) -> None:
        self._query = query
        self._repo_path = repo_path
        self._full_feature_names = full_feature_names
        self._on_demand_feature_views = list(on_demand_feature_views)
        self._metadata = metadata
        self._staging = staging

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
        """The request: features, keys, span of time."""
        return self._metadata

    def to_arrow_batches(self, rows: int = BATCH_ROWS) -> Iterator[pa.Table]:
        """Yield the result in tables of ``rows`` rows, for results larger than memory.

        With on-demand views, which may see all rows, it is computed as a whole first.
        """
        if self._on_demand_feature_views:
            table = self.to_arrow()
            yield from (table.slice(start, rows) for start in range(0, max(table.num_rows, 1), rows))
        else:
            yield from _translated(self._query(rows))

    def to_polars(self) -> pl.DataFrame:
        """Return the result as a Polars frame."""
        return pl.DataFrame(self.to_arrow())

    def to_sql(self) -> str:
        """Raise an error: the query is not SQL.

        Raises:
            FeatureError: always.
        """
        raise FeatureError(
            "this offline store runs no SQL", hint="to_arrow, to_df and to_polars give the result itself"
        )

    def persist(
        self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None
    ) -> None:
        """Write the result, with on-demand features, atomically to a file or folder.

        Raises:
            FeatureError: ``storage`` is not parquet, or is taken and ``allow_overwrite`` is off.
        """
        if not isinstance(storage, SavedDatasetFileStorage):
            raise FeatureError(
                f"a saved dataset of this store is parquet, not {type(storage).__name__}",
                hint="use SavedDatasetFileStorage",
            )
        address = locate(storage.to_data_source(), self._repo_path)
        batches = self.to_arrow_batches() if timeout is None else iter([self.to_arrow(timeout=timeout)])
        save(batches, address, overwrite=allow_overwrite)

    def supports_remote_storage_export(self) -> bool:
        """Whether ``staging_location`` is set in ``feature_store.yaml``."""
        return self._staging is not None

    def to_remote_storage(self) -> list[str]:
        """Write the result to a new folder of the staging location, and return the addresses of its files.

        Raises:
            FeatureError: there is no staging location, or it cannot be written to.
        """
        if self._staging is None:
            raise FeatureError(
                "no folder is set to export results to",
                hint="set staging_location in the section offline_store of feature_store.yaml",
            )
        path = f"{self._staging.location.rstrip('/')}/{uuid.uuid4().hex}"
        source = FileSource(path=path, s3_endpoint_override=self._staging.endpoint)
        return save(self.to_arrow_batches(), locate(source, self._repo_path), overwrite=False)

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return _within(timeout, lambda: pa.concat_tables(_translated(self._query(None))))

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._to_arrow_internal(timeout).to_pandas()
        return frame


def on_demand_views(refs: Sequence[str], project: str, registry: BaseRegistry) -> list[OnDemandFeatureView]:
    """Return the on-demand views among ``refs``, each given only the columns that it also gets in serving.

    Feast hands the whole table to a transformation; turning its every value into a Python object took two
    thirds of the time of a training frame.
    """
    views = []
    for registered in OnDemandFeatureView.get_requested_odfvs(refs, project, registry):
        view = copy.copy(registered)  # the registry hands out its cached one
        view.transform_arrow = functools.partial(transform_table, registered)
        views.append(view)
    return views


def require_request_data(views: Sequence[OnDemandFeatureView], columns: Sequence[str]) -> None:
    """Raise if the entity rows lack a request field that an on-demand view reads.

    Raises:
        FeatureError: names the view and the field.
    """
    for view in views:
        absent = [name for name in view.get_request_data_schema() if name not in columns]
        if absent:
            raise FeatureError(
                f"on-demand feature view {view.name!r} needs {', '.join(map(repr, absent))} "
                "from the request, and the rows have no such column",
                hint="add the column to the entity frame; a span of time cannot give it",
            )


def _translated(batches: Iterator[pa.Table]) -> Iterator[pa.Table]:
    try:
        yield from batches
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
        raise FeatureError(f"the offline store cannot answer: {error}") from error


def _within(seconds: int | None, work: Callable[[], pa.Table]) -> pa.Table:
    """Return the result of ``work`` if it ends in time; discard a later result.

    Raises:
        FeatureError: it took longer.
    """
    if seconds is None:
        return work()
    done: list[Any] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # noqa: BLE001 -- belongs to the thread that waits
            done.append(error)

    thread = BackgroundThread("tidemill-query", run)
    thread.start()
    thread.join(seconds)
    if not done:
        raise FeatureError(
            f"the offline store did not answer within {seconds} s",
            hint="ask for fewer rows, or allow more time",
        ) from TimeoutError(seconds)
    if isinstance(done[0], BaseException):
        raise done[0]
    return done[0]
