"""Counts and removes one subject's keys in the online store, alone or as part of a composite key.

Feast's interface to online stores can write and read a key, and drop a whole view, but cannot delete a key,
so this module works on the stores' own tables. SQLite (Feast's own and Tidemill's) has a column
``entity_key`` in each table of a view; in Redis, each of the store's keys starts with the entity key.
"""

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tidemill.data.personal.pseudonyms import text_of
from tidemill.errors import FeatureError
from tidemill.features.feast_objects import FeatureStore, ValueType
from tidemill.features.feast_session import feast_errors
from tidemill.features.private_feast import (
    EntityKey,
    deserialize_entity_key,
    feast_value_type_to_python_type,
    python_values_to_proto_values,
    serialize_entity_key,
)
from tidemill.files.read_only_sqlite import open_to_read
from tidemill.privacy.subject import Subject

__all__ = ["count_online", "forget_online"]

_PATIENCE = 30.0  # seconds to wait for writers and readers of the file
_SPECIAL = re.compile(rb"([\\*?\[\]^-])")  # in Redis's patterns


def count_online(store: FeatureStore, subject: Subject) -> dict[str, int]:
    """Return how many keys of the subject each table (SQLite) or each kind of key (Redis) holds.

    A store of another kind gives an empty result; `forget_online` refuses it.

    Raises:
        FeatureError: the store cannot be read.
    """
    if not subject.values.keys() <= subject.types.keys() or store.config.online_store is None:
        return {}  # not a join key: the online store has no rows by it
    with feast_errors("looking into the online store"):
        path = _sqlite(store)
        if path is not None:
            if not path.exists():
                return {}
            with closing(open_to_read(path, wait_seconds=_PATIENCE)) as connection:
                return _without_zeros(
                    {table: len(_keys_in(connection, table, subject)) for table in _tables(connection)}
                )
        found: dict[str, int] = {}
        if not _is_redis(store):
            return found
        for key in _redis_keys(store, subject):
            kind = ", ".join(_entity_key(store, key).join_keys)
            found[kind] = found.get(kind, 0) + 1
        return found


def forget_online(store: FeatureStore, subject: Subject) -> dict[str, int]:
    """Remove the subject's keys, then vacuum a SQLite file; return how many keys of each table were removed.

    Raises:
        FeatureError: the store cannot be changed, or removal from this kind of store is not supported.
    """
    if not subject.values.keys() <= subject.types.keys() or store.config.online_store is None:
        return {}
    with feast_errors("removing from the online store"):
        path = _sqlite(store)
        if path is not None:
            return _forget_sqlite(path, subject) if path.exists() else {}
        found: dict[str, int] = {}
        client = _redis(store)
        for key in list(_redis_keys(store, subject)):
            kind = ", ".join(_entity_key(store, key).join_keys)
            found[kind] = found.get(kind, 0) + int(client.delete(key))
        return found


def _forget_sqlite(path: Path, subject: Subject) -> dict[str, int]:
    with _sqlite_file(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        found = {}
        for table in _tables(connection):
            keys = _keys_in(connection, table, subject)
            connection.executemany(
                f"DELETE FROM {_quoted(table)} WHERE entity_key = ?",  # noqa: S608 - a table's own name
                [(key,) for key in keys],
            )
            found[table] = len(keys)
        connection.execute("COMMIT")
        # A deleted row's bytes stay in the file's free space and in the write-ahead log: pack both.
        connection.execute("VACUUM")
        _empty_wal(connection)
    return _without_zeros(found)


@contextmanager
def _sqlite_file(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=_PATIENCE)) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        yield connection


def _empty_wal(connection: sqlite3.Connection) -> None:
    """Empty the write-ahead log, once current readers have finished."""
    end = time.monotonic() + _PATIENCE
    while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        if time.monotonic() > end:
            raise FeatureError(
                "the online store's write-ahead log is in use: it cannot be emptied",
                hint="end what reads the online store for so long, then `tidemill data erase --resume`",
            )
        time.sleep(0.1)


def _tables(connection: sqlite3.Connection) -> list[str]:
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return [
        name
        for (name,) in names
        if any(row[1] == "entity_key" for row in connection.execute(f"PRAGMA table_info({_quoted(name)})"))
    ]


def _keys_in(connection: sqlite3.Connection, table: str, subject: Subject) -> list[bytes]:
    column = next(iter(subject.values))
    rows = connection.execute(
        f"SELECT DISTINCT entity_key FROM {_quoted(table)} WHERE instr(entity_key, ?) > 0",  # noqa: S608
        (_serialized(subject, column),),
    ).fetchall()
    return [key for (key,) in rows if _is_subject(deserialize_entity_key(key), subject)]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _serialized(subject: Subject, column: str) -> bytes:
    """Return the bytes that encode the subject's value of one column in serialised keys."""
    kind, text = subject.types[column], subject.values[column]
    value: Any = int(text) if kind in (ValueType.INT32, ValueType.INT64) else text
    [message] = python_values_to_proto_values([value], kind)
    alone = bytes(serialize_entity_key(EntityKey(join_keys=[column], entity_values=[message]), 3))
    return alone[12 + len(column.encode()) :]  # after: number of names, then type, length, text of the name


def _is_subject(key: EntityKey, subject: Subject) -> bool:
    held = {
        name: text_of(feast_value_type_to_python_type(value))
        for name, value in zip(key.join_keys, key.entity_values, strict=True)
    }
    return all(held.get(column) == value for column, value in subject.values.items())


def _sqlite(store: FeatureStore) -> Path | None:
    config = store.config.online_store
    kind = str(config.type)
    if kind == "sqlite" or kind.endswith("SqliteOnlineStore"):
        return Path(store.repo_path or ".", config.path)
    return None


def _is_redis(store: FeatureStore) -> bool:
    kind = str(store.config.online_store.type)
    return kind == "redis" or kind.endswith("RedisOnlineStore")


def _redis(store: FeatureStore) -> Any:
    if not _is_redis(store):
        raise FeatureError(
            f"nothing can be removed from an online store of type {store.config.online_store.type}",
            hint="remove the subject there by the store's own means; SQLite and Redis are known here",
        )
    from tidemill.features.online.private_feast_redis import redis_client  # the Redis client is optional

    return redis_client(store.provider.online_store, store.config)


def _redis_keys(store: FeatureStore, subject: Subject) -> Iterator[bytes]:
    client, project = _redis(store), store.project.encode()
    value = _serialized(subject, next(iter(subject.values)))
    pattern = b"*" + _SPECIAL.sub(rb"\\\1", value) + b"*" + _SPECIAL.sub(rb"\\\1", project)
    for key in client.scan_iter(match=pattern, count=10_000):
        try:
            found = _entity_key(store, key)
        except ValueError:  # a key of another subject that matches the pattern
            continue
        if _is_subject(found, subject):
            yield key


def _entity_key(store: FeatureStore, key: bytes) -> Any:
    return deserialize_entity_key(key[: -len(store.project.encode())])


def _without_zeros(found: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in found.items() if count}
