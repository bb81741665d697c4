"""Convert rows of a feature view for an online store, and check them against the declared types."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureView, Field
from feast.types import String
from feast.value_type import ValueType

from tidemill.errors import FeatureError
from tidemill.features.encoding import NATIVE, entity_keys, other_messages
from tidemill.features.private_feast import DUMMY_ENTITY_ID, DUMMY_ENTITY_NAME

__all__ = ["OnlineRows", "key_columns", "kinds_of", "online_rows"]

_KEYS = {ValueType.STRING: pa.string(), ValueType.BYTES: pa.binary()}
_KEYS |= {kind: NATIVE[kind] for kind in (ValueType.INT32, ValueType.INT64, ValueType.UNIX_TIMESTAMP)}


@dataclass(frozen=True)
class OnlineRows:
    """Rows in the form that the online stores of Tidemill write, all arrays of the same length."""

    keys: pa.BinaryArray
    """Entity keys, serialised."""
    events: pa.Int64Array
    """Event times, microseconds since 1970."""
    created: pa.Int64Array
    """When each row was written, likewise; null where the source does not say."""
    values: Mapping[str, pa.Array]
    """Feature → values, of the type `NATIVE` has for it, or messages where it has none."""

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.keys)

    def take(self, order: pa.Array) -> "OnlineRows":
        """Return the rows at the given positions."""
        return OnlineRows(
            self.keys.take(order),
            self.events.take(order),
            self.created.take(order),
            {name: column.take(order) for name, column in self.values.items()},
        )

    def slices(self, size: int) -> Iterator["OnlineRows"]:
        """Yield the rows in pieces of at most ``size``."""
        for start in range(0, len(self), size):
            yield OnlineRows(
                self.keys.slice(start, size),
                self.events.slice(start, size),
                self.created.slice(start, size),
                {name: column.slice(start, size) for name, column in self.values.items()},
            )


def key_columns(view: FeatureView) -> list[Field]:
    """Return the key columns of ``view``; a view without entities has Feast's own constant column.

    Feast takes that column away from its cached views when it lists them, and may hand such a view out again
    where its stores need the column.

    Raises:
        FeatureError: the view has entities, but no columns for them.
    """
    if view.entity_columns:
        return list(view.entity_columns)
    if view.entities and view.entities != [DUMMY_ENTITY_NAME]:
        raise FeatureError(
            f"view {view.name!r} has no join keys: its definition was not applied, or only in part",
            hint="apply the definitions again: `tidemill run`, or `feast apply`",
        )
    return [Field(name=DUMMY_ENTITY_ID, dtype=String)]


def kinds_of(view: FeatureView) -> dict[str, ValueType]:
    """Return the type of each feature of ``view``, in its order."""
    return {field.name: field.dtype.to_value_type() for field in view.features}


def online_rows(view: FeatureView, table: pa.Table) -> OnlineRows:
    """Return ``table`` (keys, features and timestamps, named as in the view or in its source) as rows.

    Whole numbers are taken for floats, floats without a fraction for whole numbers, and whole numbers for
    text, as Feast does; nothing else is converted.

    Raises:
        FeatureError: a column is missing or not of the declared type, or a key or timestamp is null; it names
            the view and the column.
    """
    source = view.batch_source
    mapping = dict(source.field_mapping or {})
    table = table.rename_columns([mapping.get(name, name) for name in table.column_names])
    keys: dict[str, ValueType] = {}
    columns: dict[str, pa.Array] = {}
    for column in key_columns(view):
        kind = column.dtype.to_value_type()
        if kind not in _KEYS:
            raise FeatureError(
                f"view {view.name!r}: join key {column.name!r} is {kind.name}",
                hint="Feast's online stores take text, bytes and whole numbers as keys",
            )
        keys[column.name] = kind
        columns[column.name] = _typed(view, table, column.name, kind, _KEYS[kind])
        _require_values(view, column.name, columns[column.name])
    stamp = mapping.get(source.timestamp_field, source.timestamp_field)
    events = _moments(view, table, stamp)
    _require_values(view, stamp, events)
    created = mapping.get(source.created_timestamp_column, source.created_timestamp_column)
    return OnlineRows(
        entity_keys(columns, keys),
        events,
        _moments(view, table, created) if created else pa.nulls(len(events), pa.int64()),
        {name: _feature(view, table, name, kind) for name, kind in kinds_of(view).items()},
    )


def _feature(view: FeatureView, table: pa.Table, name: str, kind: ValueType) -> pa.Array:
    if kind in NATIVE:
        return _typed(view, table, name, kind, NATIVE[kind])
    column = _column(view, table, name)
    try:
        return other_messages(column, kind)
    except (TypeError, ValueError, AssertionError, pa.ArrowException) as error:
        raise _surprise(view, name, kind, column.type, str(error)) from error


def _typed(view: FeatureView, table: pa.Table, name: str, kind: ValueType, wanted: pa.DataType) -> pa.Array:
    column = _column(view, table, name)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if kind is ValueType.UNIX_TIMESTAMP and pa.types.is_temporal(column.type):
        return pc.floor_temporal(_in_utc(column), unit="second").cast(pa.timestamp("s", "UTC")).cast(wanted)
    if not _convertible(column, kind):
        raise _surprise(view, name, kind, column.type)
    try:
        if pa.types.is_floating(column.type) and not pa.types.is_floating(wanted):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        return column.cast(wanted, safe=not pa.types.is_floating(wanted))
    except pa.ArrowException as error:
        raise _surprise(view, name, kind, column.type, str(error)) from error


def _convertible(column: pa.Array, kind: ValueType) -> bool:
    given, types = column.type, pa.types
    whole = types.is_integer(given)
    number = whole or types.is_floating(given) or types.is_decimal(given)
    if kind in (ValueType.DOUBLE, ValueType.FLOAT, ValueType.INT32, ValueType.INT64):
        fits = number or types.is_boolean(given)
    elif kind is ValueType.BOOL:
        fits = types.is_boolean(given) or (number and _only_bits(column))
    elif kind is ValueType.STRING:
        fits = whole or types.is_string(given) or types.is_large_string(given) or types.is_string_view(given)
    elif kind is ValueType.BYTES:
        fits = types.is_binary(given) or types.is_large_binary(given)
    else:
        fits = whole
    return bool(fits or types.is_null(given))


def _only_bits(column: pa.Array) -> bool:
    bits = pc.is_in(column, value_set=pa.array([0, 1, None], column.type))
    return bool(pc.all(pc.or_(bits, pc.is_nan(column))).as_py() in (True, None))


def _column(view: FeatureView, table: pa.Table, name: str) -> pa.Array:
    if name == DUMMY_ENTITY_ID and name not in table.column_names:
        return pa.repeat("", table.num_rows)
    if name not in table.column_names:
        raise FeatureError(
            f"rows for view {view.name!r} have no column {name!r}",
            hint=f"there are: {', '.join(table.column_names)}",
        )
    column = table.column(name)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _moments(view: FeatureView, table: pa.Table, name: str) -> pa.Int64Array:
    column = _column(view, table, name)
    if pa.types.is_null(column.type):
        return column.cast(pa.int64())
    if not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
        raise FeatureError(
            f"view {view.name!r}: column {name!r} holds {column.type}, not points in time",
            hint="give it timestamps; naive ones mean UTC",
        )
    return _in_utc(column).cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64())


def _in_utc(column: pa.Array) -> pa.Array:
    unit = column.type.unit if pa.types.is_timestamp(column.type) else "us"
    return column.cast(pa.timestamp(unit, "UTC"))


def _require_values(view: FeatureView, name: str, column: pa.Array) -> None:
    if column.null_count:
        raise FeatureError(
            f"view {view.name!r}: column {name!r} is null in {column.null_count} of {len(column)} rows",
            hint="remove the rows without a key or a time",
        )


def _surprise(
    view: FeatureView, name: str, kind: ValueType, given: Any, detail: str | None = None
) -> FeatureError:
    reason = f": {detail}" if detail else ""
    return FeatureError(
        f"view {view.name!r}: column {name!r} is declared {kind.name} and holds {given}{reason}",
        hint="convert the column, or declare the type it has",
    )
