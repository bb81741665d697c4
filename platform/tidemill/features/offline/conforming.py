"""Check the columns of tables, and convert them to the expected types."""

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from tidemill.errors import FeatureError

__all__ = ["conform", "plain", "refuse_missing"]


def refuse_missing(view: str, where: str, needed: Iterable[str], columns: Iterable[str]) -> None:
    """Raise if ``columns`` lacks a column that a feature view needs.

    Args:
        view: name of the feature view.
        where: whose columns they are, such as ``the entity frame``.
        needed: names of columns.
        columns: names of all the columns that there are.

    Raises:
        FeatureError: some are missing; the hint names the existing ones.

    >>> refuse_missing("weather", "the entity frame", ["station"], ["statoin", "event_timestamp"])
    Traceback (most recent call last):
    tidemill.errors.FeatureError: feature view 'weather': the entity frame has no column 'station'
    """
    there = list(columns)
    absent = [column for column in needed if column not in there]
    if absent:
        raise FeatureError(
            f"feature view {view!r}: {where} has no column {', '.join(map(repr, absent))}",
            hint=f"there are: {', '.join(there)}",
        )


def conform(
    table: pa.Table, fields: Mapping[str, pa.Field], partitions: Sequence[str], what: str
) -> pa.Table:
    """Return ``table`` with the columns, order and types of ``fields``, and the ``partitions`` columns last.

    Timestamps are cut to the source's resolution; naive ones are UTC. Dictionaries become maps.

    Args:
        table: Rows to add.
        fields: The columns of the source's files.
        partitions: Its columns that are names of folders.
        what: The source, for messages.

    Raises:
        FeatureError: there are other columns, or values that the source's types cannot hold.
    """
    names = list(dict.fromkeys([*fields, *partitions])) or table.column_names
    if set(table.column_names) != set(names):
        raise FeatureError(
            f"rows for {what} have the columns {', '.join(table.column_names)}",
            hint=f"it has {', '.join(names)}",
        )
    columns = []
    for name in names:
        try:
            columns.append(_cast(table[name], fields[name].type) if name in fields else table[name])
        except pa.ArrowException as error:
            raise FeatureError(
                f"rows for {what} have another type: column {name!r} is {table[name].type}, "
                f"there {fields[name].type}: {error}",
                hint="convert the column, or declare the type it has",
            ) from error
    return pa.table(dict(zip(names, columns, strict=True)))


def plain(table: pa.Table) -> pa.Table:
    """Return ``table`` with plain types in place of engine-specific variants, such as large strings.

    >>> plain(pa.table({"tail": pa.array(["N1"], pa.large_string())})).schema.field("tail").type
    DataType(string)
    """
    columns = []
    for name in table.column_names:
        column, dtype = table[name], _plain(table[name].type)
        try:
            columns.append(column if dtype == column.type else column.cast(dtype))
        except pa.ArrowInvalid:  # over 2 GiB in one piece: only the large variant can hold it
            columns.append(column)
    return pa.table(columns, names=table.column_names)


def _cast(column: pa.ChunkedArray, dtype: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_map(dtype) and pa.types.is_struct(column.type):
        pairs = [
            None if value is None else [pair for pair in value.items() if pair[1] is not None]
            for value in column.to_pylist()
        ]
        return pa.chunked_array([pa.array(pairs, dtype)])
    return column.cast(dtype, safe=not pa.types.is_timestamp(dtype))


def _plain(dtype: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(dtype):
        return _plain(dtype.value_type)
    if pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype):
        return pa.string()
    if pa.types.is_large_binary(dtype) or pa.types.is_binary_view(dtype):
        return pa.binary()
    if pa.types.is_large_list(dtype):
        return pa.list_(_plain(dtype.value_type))
    if pa.types.is_fixed_size_list(dtype):
        return pa.list_(_plain(dtype.value_type), dtype.list_size)
    if pa.types.is_map(dtype):
        return pa.map_(_plain(dtype.key_type), _plain(dtype.item_type))
    if pa.types.is_struct(dtype):
        fields = [dtype.field(index) for index in range(dtype.num_fields)]
        return pa.struct([pa.field(field.name, _plain(field.type)) for field in fields])
    return dtype
