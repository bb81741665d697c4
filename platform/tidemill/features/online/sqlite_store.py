"""A Feast online store in one SQLite file: a row per entity key and view, read in microseconds.

Any Feast project switches over in its ``feature_store.yaml``::

    online_store:
        type: tidemill.features.online.SqliteOnlineStore
        path: data/online.db
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pyarrow as pa
from feast import Entity, FeatureView
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.repo_config import FeastConfigBaseModel, RepoConfig

from tidemill.features.encoding import microseconds
from tidemill.features.lookups import Read
from tidemill.features.online import sqlite_tables as tables
from tidemill.features.online.online_rows import OnlineRows, kinds_of
from tidemill.features.online.sqlite_connections import Connections
from tidemill.features.online.sqlite_reading import sqlite_reader
from tidemill.features.online.view_freshness import summary
from tidemill.features.private_feast import EntityKey, Value, serialize_entity_key

__all__ = ["SqliteOnlineStore", "SqliteOnlineStoreConfig"]

Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
Answer = tuple[datetime | None, dict[str, Value] | None]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TRANSACTION = 100_000  # rows; limits what a kill undoes, and other writers' wait (half a second)
_KEYS_A_QUERY = 500


class SqliteOnlineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """The section ``online_store`` of ``feature_store.yaml``."""

    type: Literal["tidemill.features.online.SqliteOnlineStore"] = "tidemill.features.online.SqliteOnlineStore"
    path: str = "data/online.db"
    """The file; relative to the feature repository."""


class SqliteOnlineStore(OnlineStore):  # type: ignore[misc]
    """Feast's interface to the latest features, in SQLite.

    Of two rows of one key that with the later event time stays, whichever is written last; of equal ones that
    with the later created timestamp; of equal ones again that which is written last. Times are microseconds
    in UTC. Any number of processes may read while one writes; further writers wait. A killed writer leaves
    whole rows only. Threads may share a store; a forked child opens its own connections.
    """

    _versioned_read_supported = True  # tables are named by version, as in Feast's own store

    def __init__(self) -> None:
        super().__init__()
        self._connections = Connections()
        self._ready: dict[tuple[Path, str], dict[str, Any]] = {}

    def limit_waiting(self, seconds: float) -> None:
        """Limit the time of a read in seconds, so that a prediction is answered or refused soon."""
        self._connections.limit_waiting(seconds)

    @property
    def async_supported(self) -> SupportedAsyncMethods:
        """Reads and writes may be awaited; they run in a thread."""
        return SupportedAsyncMethods(read=True, write=True)

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[Row],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write rows as Feast gives them.

        Raises:
            FeatureError: a value is not of the declared type, or the file cannot be written.
        """
        kinds = kinds_of(table)
        version = config.entity_key_serialization_version
        names = list(dict.fromkeys(name for _, values, _, _ in data for name in values if name in kinds))
        rows = [
            (
                serialize_entity_key(key, version),
                microseconds(at),
                None if created is None else microseconds(created),
                *(tables.stored(table.name, name, kinds[name], values.get(name)) for name in names),
            )
            for key, values, at, created in data
        ]
        for start in range(0, len(rows), _TRANSACTION):
            part = rows[start : start + _TRANSACTION]
            self._upsert(config, table, names, part)
            if progress:
                progress(len(part))

    def write_rows(
        self, config: RepoConfig, view: FeatureView, rows: OnlineRows, progress: Callable[[int], Any]
    ) -> None:
        """Write rows by the column: what `tidemill.features.online.materialise` calls.

        Raises:
            FeatureError: the file cannot be written; what was written until then stays.
        """
        # Sort by key, so that neighbours are written together: else the B-tree takes half of the time.
        order = pl.Series(pl.from_arrow(rows.keys)).arg_sort()
        for part in rows.take(order.to_arrow()).slices(_TRANSACTION):
            columns = [part.keys, part.events, part.created, *part.values.values()]
            lists = [
                pl.Series(pl.from_arrow(column)).fill_nan(None).to_list()
                if pa.types.is_floating(column.type)
                else pl.Series(pl.from_arrow(column)).to_list()
                for column in columns
            ]
            self._upsert(config, view, list(part.values), zip(*lists, strict=True))
            progress(len(part))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[Answer]:
        """Return event time and values of each key; Nones for a missing key.

        Raises:
            sqlite3.Error: the definitions were not applied, or the file cannot be read.
        """
        kinds = kinds_of(table)
        names = [name for name in requested_features or kinds if name in kinds]
        version = config.entity_key_serialization_version
        keys = [serialize_entity_key(key, version) for key in entity_keys]
        found: dict[bytes, Answer] = {}
        with self._connections.reading(_path(config)) as connection:
            for start in range(0, len(keys), _KEYS_A_QUERY):
                part = keys[start : start + _KEYS_A_QUERY]
                query = tables.select_many(tables.name_of(config, table), names, len(part))
                for key, at, *values in connection.execute(query, part).fetchall():
                    messages = {
                        name: tables.message(kinds[name], value)
                        for name, value in zip(names, values, strict=True)
                    }
                    found[key] = (_EPOCH + timedelta(microseconds=at), messages)
        return [found.get(key, (None, None)) for key in keys]

    def reader(self, config: RepoConfig, wanted: Sequence[tuple[FeatureView, Sequence[str]]]) -> Read:
        """Return a function that reads the same features of several views repeatedly.

        Args:
            config: the repository's.
            wanted: views, and which of their features.

        Returns:
            Reads all it is asked for in one transaction.
        """
        return sqlite_reader(
            self._connections,
            _path(config),
            [(tables.name_of(config, view), kinds_of(view), names) for view, names in wanted],
        )

    def event_times(
        self, config: RepoConfig, view: FeatureView, after: int | None
    ) -> tuple[int, int | None, int]:
        """Return how many keys there are, the latest event time, and how many are not before ``after``.

        Raises:
            sqlite3.Error: the definitions were not applied, or the file cannot be read.
        """
        with self._connections.reading(_path(config)) as connection:
            query = summary(tables.name_of(config, view))
            [(count, newest, fresh)] = connection.execute(query, (after,)).fetchall()
        return count, newest, count if after is None else fresh or 0

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Update the tables to the views' declarations: a feature that is new or of a new type has no values.

        Raises:
            FeatureError: two features differ by case only, there are too many, or the file cannot be written.
        """
        with self._connections.writing(_path(config)) as connection:
            for view in tables_to_keep:
                tables.bring_up(
                    connection, tables.name_of(config, view), view.name, kinds_of(view), replace=True
                )
            for view in tables_to_delete:
                tables.drop(connection, tables.name_of(config, view))
        self._ready = {}

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Remove the tables of the views, and the file with the last table in it."""
        path = _path(config)
        if not path.exists():
            return
        self.update(config, tables, [], entities, [], partial=True)
        with self._connections.reading(_path(config)) as connection:
            empty = not connection.execute("SELECT 1 FROM sqlite_master").fetchall()
        self._connections.close()
        for suffix in ("", "-wal", "-shm"):
            if empty:
                Path(f"{path}{suffix}").unlink(missing_ok=True)

    async def online_write_batch_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[Row],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write rows in a thread."""
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[Answer]:
        """Read in a thread."""
        return await asyncio.to_thread(self.online_read, config, table, entity_keys, requested_features)

    async def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def _upsert(
        self, config: RepoConfig, view: FeatureView, names: Sequence[str], rows: Iterable[Any]
    ) -> None:
        with self._connections.writing(_path(config)) as connection:
            self._prepare(connection, config, view)
            connection.executemany(tables.upsert(tables.name_of(config, view), names), rows)

    def _prepare(self, connection: sqlite3.Connection, config: RepoConfig, view: FeatureView) -> None:
        """Make the table if `update` was never called for it, as for Feast's precomputed vectors."""
        name, kinds = tables.name_of(config, view), kinds_of(view)
        if self._ready.get((_path(config), name)) != kinds:
            tables.bring_up(connection, name, view.name, kinds, replace=False)
            self._ready[_path(config), name] = kinds


def _path(config: RepoConfig) -> Path:
    return Path(config.repo_path or ".", config.online_store.path)
