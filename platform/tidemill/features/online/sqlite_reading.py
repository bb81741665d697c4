"""Read the same features of several views repeatedly from SQLite, with prepared statements."""

import functools
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from feast.value_type import ValueType

from tidemill.features.lookups import Found, Read
from tidemill.features.online.sqlite_connections import Connections
from tidemill.features.online.sqlite_tables import decoder_of, select_many, select_row

__all__ = ["View", "sqlite_reader"]

View = tuple[str, Mapping[str, ValueType], Sequence[str]]
"""A table's quoted name, the types of all its features, and which of them are wanted."""

_SIZES = (4, 16, 64, 256)
"""Keys a statement takes: few sizes, so that statements are prepared once; nulls fill what is left."""
_JOINS = 64
"""Statements for one key of some of the views; which are asked for depends on what is cached."""
Decoders = Sequence[tuple[int, Callable[[Any], Any]]]


def sqlite_reader(connections: Connections, path: Path, wanted: Sequence[View]) -> Read:
    """Return a function that reads some features of some views.

    One key of each view is one statement; more are some statements for each view, in one transaction.

    Args:
        connections: lends the connection.
        path: the file.
        wanted: what to read.

    Raises:
        FeatureError: more views than SQLite joins.
    """
    joined = functools.lru_cache(maxsize=_JOINS)(functools.partial(_joined, wanted))
    joined(tuple(range(len(wanted))))  # too many views are refused now
    statements = [
        {size: select_many(table, names, size) for size in (1, *_SIZES)} for table, _, names in wanted
    ]
    decoders: list[Decoders] = [
        [(n + 1, decode) for n, name in enumerate(names) if (decode := decoder_of(kinds[name]))]
        for _, kinds, names in wanted
    ]

    def read(keys: Sequence[Sequence[bytes]]) -> Sequence[Found]:
        with connections.reading(path) as connection:
            if max(map(len, keys), default=0) <= 1:
                found = _one(connection, joined, keys)
            else:
                connection.execute("BEGIN")
                try:
                    found = [_many(connection, *pair) for pair in zip(statements, keys, strict=True)]
                finally:
                    connection.execute("COMMIT")
        for rows, of_view in zip(found, decoders, strict=True):
            if of_view:
                rows.update({key: _decoded(row, of_view) for key, row in rows.items()})
        return found

    return read


def _joined(wanted: Sequence[View], asked: tuple[int, ...]) -> tuple[str, Sequence[slice]]:
    """Return the statement for a row of each of the views ``asked`` for, and where each one's part is."""
    parts, end = [], 0
    for place in asked:
        width = 1 + len(wanted[place][2])
        parts.append(slice(end, end + width))
        end += width
    return select_row([(wanted[place][0], wanted[place][2]) for place in asked]), parts


def _one(
    connection: sqlite3.Connection,
    joined: Callable[[tuple[int, ...]], tuple[str, Sequence[slice]]],
    keys: Sequence[Sequence[bytes]],
) -> list[dict[bytes, Sequence[Any]]]:
    found: list[dict[bytes, Sequence[Any]]] = [{} for _ in keys]
    asked = tuple([place for place, of_view in enumerate(keys) if of_view])
    if not asked:
        return found
    query, parts = joined(asked)
    (row,) = connection.execute(query, [keys[place][0] for place in asked]).fetchall()
    for place, part in zip(asked, parts, strict=True):
        if row[part.start] is not None:
            found[place][keys[place][0]] = row[part]
    return found


def _many(
    connection: sqlite3.Connection, statements: Mapping[int, str], keys: Sequence[bytes]
) -> dict[bytes, Sequence[Any]]:
    found: dict[bytes, Sequence[Any]] = {}
    largest = _SIZES[-1]
    for start in range(0, len(keys), largest):
        part: Sequence[bytes | None] = keys[start : start + largest]
        if len(part) > 1:
            size = next(size for size in _SIZES if size >= len(part))
            part = [*part, *(None,) * (size - len(part))]
        for key, *row in connection.execute(statements[len(part)], part):
            found[key] = row
    return found


def _decoded(row: Sequence[Any], decoders: Decoders) -> Sequence[Any]:
    values = list(row)
    for place, decode in decoders:
        if values[place] is not None:
            values[place] = decode(values[place])
    return values
