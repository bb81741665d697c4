"""The tables of `tidemill.features.online.sqlite_store`: their SQL, and the conversion of values.

A view is a table, a feature a column. A column's declared type is ``BLOB(n)``, n being the number of Feast's
value type: that leaves values as they are and tells when the type of a feature has changed.
"""

import math
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from feast import FeatureView
from feast.repo_config import RepoConfig
from feast.value_type import ValueType

from tidemill.errors import FeatureError
from tidemill.features.encoding import NATIVE, VALUE_FIELDS, check_type
from tidemill.features.private_feast import Value, compute_table_id, feast_value_type_to_python_type

__all__ = [
    "bring_up",
    "decoder_of",
    "drop",
    "message",
    "name_of",
    "select_many",
    "select_row",
    "stored",
    "upsert",
]

_KEY, _EVENT, _CREATED = '"entity_key"', '"event_us"', '"created_us"'
_OWN = ("entity_key", "event_us", "created_us")
_MOST_COLUMNS = 1990  # SQLite's own limit is 2,000
_MOST_VIEWS = 60  # SQLite joins 64 tables
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def name_of(config: RepoConfig, view: FeatureView) -> str:
    """Return the table of a view, quoted."""
    versioning = config.registry.enable_online_feature_view_versioning
    return quoted(compute_table_id(config.project, view, versioning))


def quoted(name: str) -> str:
    """Return ``name`` as SQL.

    >>> quoted('a"b')
    '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def bring_up(
    connection: sqlite3.Connection, table: str, view: str, kinds: Mapping[str, ValueType], replace: bool
) -> None:
    """Create the table, or add its missing columns and replace those of another type.

    Args:
        connection: within a transaction.
        table: its quoted name.
        view: the view's name, for messages.
        kinds: feature → type.
        replace: whether features no longer declared are emptied, and another store's table is removed.

    Raises:
        FeatureError: two features differ by case only, there are too many, or another store has the table.
    """
    _check_features(view, kinds)
    present = {name: kind for _, name, kind, *_ in connection.execute(f"PRAGMA table_info({table})")}
    if present and "event_us" not in present:
        if not replace:
            raise FeatureError(
                f"the table of view {view!r} was made by another online store", hint="apply the definitions"
            )
        drop(connection, table)
        present = {}
    if not present:
        columns = "".join(f", {quoted(name)} BLOB({kind.value})" for name, kind in kinds.items())
        connection.execute(
            f"CREATE TABLE {table} ({_KEY} BLOB PRIMARY KEY, {_EVENT} INTEGER NOT NULL,"
            f" {_CREATED} INTEGER{columns}) WITHOUT ROWID"
        )
        return
    wanted = {name: f"BLOB({kind.value})" for name, kind in kinds.items()}
    for name, kind in present.items():
        if name in wanted and wanted[name] != kind:
            connection.execute(f"ALTER TABLE {table} DROP COLUMN {quoted(name)}")
        elif replace and name not in wanted and name not in _OWN:
            # Emptied, not removed: replicas that still serve the previous definitions read it.
            connection.execute(f"UPDATE {table} SET {quoted(name)} = NULL")  # noqa: S608
    for name, kind in wanted.items():
        if present.get(name) != kind:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {quoted(name)} {kind}")


def _check_features(view: str, kinds: Mapping[str, ValueType]) -> None:
    names = [*_OWN, *(name.lower() for name in kinds)]
    if len(set(names)) < len(names):
        raise FeatureError(
            f"view {view!r} has features that differ by case only, or one of {', '.join(_OWN)}",
            hint="rename it: SQLite takes such columns for the same",
        )
    if len(kinds) > _MOST_COLUMNS:
        raise FeatureError(
            f"view {view!r} has {len(kinds)} features, and SQLite takes {_MOST_COLUMNS}",
            hint="split the view",
        )


def drop(connection: sqlite3.Connection, table: str) -> None:
    """Remove a table, if there is one."""
    connection.execute(f"DROP TABLE IF EXISTS {table}")


def upsert(table: str, names: Sequence[str]) -> str:
    """Return the statement that writes key, event time, created time and features, unless older ones."""
    columns = [_KEY, _EVENT, _CREATED, *map(quoted, names)]
    changes = ", ".join(f"{column} = excluded.{column}" for column in columns[1:])
    lowest = -(2**63)
    newer = (
        f"excluded.{_EVENT} > {table}.{_EVENT} OR (excluded.{_EVENT} = {table}.{_EVENT} AND"
        f" coalesce(excluded.{_CREATED}, {lowest}) >= coalesce({table}.{_CREATED}, {lowest}))"
    )
    marks = ", ".join("?" * len(columns))
    insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608
    return f"{insert} ON CONFLICT ({_KEY}) DO UPDATE SET {changes} WHERE {newer}"


def select_many(table: str, names: Sequence[str], keys: int) -> str:
    """Return the query for key, event time and features of several keys."""
    columns = ", ".join([_KEY, _EVENT, *map(quoted, names)])
    return f"SELECT {columns} FROM {table} WHERE {_KEY} IN ({', '.join('?' * keys)})"  # noqa: S608


def select_row(wanted: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Return one query for one row of each of several tables: event time and features, nulls for no row.

    Args:
        wanted: tables, and which of their features.

    Raises:
        FeatureError: more views than SQLite joins.
    """
    if len(wanted) > _MOST_VIEWS:
        raise FeatureError(
            f"a service of {len(wanted)} views; SQLite reads at most {_MOST_VIEWS} at once",
            hint="join some views into one",
        )
    columns, joins = ["NULL"] if not wanted else [], []
    for index, (table, names) in enumerate(wanted):
        columns += [f"v{index}.{column}" for column in (_EVENT, *map(quoted, names))]
        joins.append(f"LEFT JOIN {table} v{index} ON v{index}.{_KEY} = ?")
    return f"SELECT {', '.join(columns)} FROM (SELECT 1) {' '.join(joins)}"  # noqa: S608


def stored(view: str, name: str, kind: ValueType, value: Value | None) -> Any:
    """Convert a value to SQLite's form; NaN becomes null, as in Feast.

    Raises:
        FeatureError: the value is not of the declared type.
    """
    field = check_type(view, name, kind, value) if value is not None else None
    if value is None or field is None:
        return None
    if kind not in NATIVE:
        return value.SerializeToString()
    plain = getattr(value, field)
    return None if isinstance(plain, float) and math.isnan(plain) else plain


def message(kind: ValueType, value: Any) -> Value:
    """Convert SQLite's form of a value to Feast's message.

    >>> message(ValueType.BOOL, 1)
    bool_val: true
    <BLANKLINE>
    """
    if value is None:
        return Value()
    if kind not in NATIVE:
        parsed: Value = Value.FromString(value)
        return parsed
    fields: dict[str, Any] = {VALUE_FIELDS[kind]: bool(value) if kind is ValueType.BOOL else value}
    return Value(**fields)


def decoder_of(kind: ValueType) -> Callable[[Any], Any] | None:
    """Return the function that decodes a stored value, or None if the value needs no decoding."""
    if kind is ValueType.BOOL:
        return bool
    if kind is ValueType.UNIX_TIMESTAMP:
        return lambda seconds: _EPOCH + timedelta(seconds=seconds)
    if kind in NATIVE:
        return None
    return lambda blob: feast_value_type_to_python_type(Value.FromString(blob))
