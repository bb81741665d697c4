"""Read the fields of objects as columns, as training does: ``total`` of ``order`` is ``order_total``."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Path", "flat", "flattened", "has_objects", "nested", "value_at"]

Path: TypeAlias = tuple[str, ...]
"""Names that lead to a field: those of the objects around it, and its own."""


def has_objects(schema: pa.Schema) -> bool:
    """Return whether a column holds objects."""
    return any(map(pa.types.is_struct, schema.types))


def flattened(schema: pa.Schema, wanted: Collection[str]) -> tuple[pa.Schema, tuple[Path, ...]]:
    """Return the columns, with the fields of objects as columns, and the paths of these.

    Objects stay whole where none of the fields is wanted, or where a field's name is taken.

    >>> order = pa.struct([("total", pa.float64()), ("by", pa.struct([("age", pa.int64())]))])
    >>> columns, paths = flattened(pa.schema([("id", pa.int64()), ("order", order)]), {"order_by_age"})
    >>> columns.names, paths
    (['id', 'order_total', 'order_by_age'], (('order', 'total'), ('order', 'by', 'age')))
    """
    columns: dict[str, tuple[pa.DataType, Path]] = {
        field.name: (field.type, (field.name,)) for field in schema
    }
    if len(columns) < len(schema):
        return schema, ()
    while True:
        found: dict[str, tuple[pa.DataType, Path]] = {}
        for name, (kind, path) in columns.items():
            inner = _fields(name, kind, path)
            free = not inner.keys() & (columns.keys() | found.keys())
            if inner and free and any(_leaves(name, kind) & {*wanted}):
                found |= inner
            else:
                found[name] = kind, path
        if found.keys() == columns.keys():
            break
        columns = found
    paths = tuple(path for _, path in columns.values() if len(path) > 1)
    return pa.schema([(name, kind) for name, (kind, _) in columns.items()]), paths


def _fields(name: str, kind: pa.DataType, path: Path) -> dict[str, tuple[pa.DataType, Path]]:
    if not pa.types.is_struct(kind):
        return {}
    return {f"{name}_{field.name}": (field.type, (*path, field.name)) for field in kind}


def _leaves(name: str, kind: pa.DataType) -> set[str]:
    if not pa.types.is_struct(kind):
        return {name}
    return {name, *(leaf for field in kind for leaf in _leaves(f"{name}_{field.name}", field.type))}


def nested(columns: Sequence[tuple[Path, pa.DataType]]) -> pa.Schema:
    """Return the types of the objects that hold some fields.

    >>> nested([(("id",), pa.int64()), (("order", "total"), pa.float64())]).field("order").type
    StructType(struct<total: double>)
    """
    inner: dict[str, list[tuple[Path, pa.DataType]]] = {}
    for path, kind in columns:
        inner.setdefault(path[0], []).append((path[1:], kind))
    return pa.schema(
        [
            (name, fields[0][1] if fields[0][0] == () else pa.struct(list(nested(fields))))
            for name, fields in inner.items()
        ]
    )


def flat(table: pa.Table, paths: Mapping[str, Path]) -> pa.Table:
    """Return the columns at some paths, by name; a field of an object that is null is null.

    >>> order = pa.array([{"total": 1.5}, None])
    >>> flat(pa.table({"order": order}), {"order_total": ("order", "total")})["order_total"].to_pylist()
    [1.5, None]
    """
    found = {
        name: table[path[0]] if len(path) == 1 else pc.struct_field(table[path[0]], list(path[1:]))
        for name, path in paths.items()
    }
    return pa.table(found) if found else table.select([])


def value_at(row: Mapping[str, Any], path: Path) -> Any:
    """Return the value at a path of a parsed row; None where there is none.

    Raises:
        TypeError: there is another value where an object should be.

    >>> value_at({"order": {"total": 1.5}}, ("order", "total")), value_at({"order": None}, ("order", "total"))
    (1.5, None)
    """
    value: Any = row
    for place, name in enumerate(path):
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise TypeError(f"{'.'.join(path[:place])}: {value!r} is no object, as in the first lines")
        value = value.get(name)
    return value
