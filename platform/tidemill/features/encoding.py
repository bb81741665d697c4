"""Encode entity keys and feature values as the bytes in Feast's online stores, a column at a time.

Keys follow Feast's entity key serialization version 3; values are messages ``feast.types.Value`` in the wire
format of Protocol Buffers (https://protobuf.dev/programming-guides/encoding).
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from feast.value_type import ValueType

from tidemill.clock import utc
from tidemill.errors import FeatureError, WrongKey
from tidemill.features.private_feast import Value, python_values_to_proto_values

__all__ = [
    "NATIVE",
    "VALUE_FIELDS",
    "check_type",
    "entity_keys",
    "key_encoder",
    "microseconds",
    "other_messages",
    "timestamp_messages",
    "value_messages",
]

NATIVE: Mapping[ValueType, pa.DataType] = {
    ValueType.DOUBLE: pa.float64(),
    ValueType.FLOAT: pa.float32(),
    ValueType.INT32: pa.int32(),
    ValueType.INT64: pa.int64(),
    ValueType.BOOL: pa.bool_(),
    ValueType.STRING: pa.string(),
    ValueType.UNIX_TIMESTAMP: pa.int64(),
}
"""Types whose values are encoded a column at a time; Feast's own code encodes all others one by one."""

VALUE_FIELDS: Mapping[ValueType, str] = {
    ValueType.DOUBLE: "double_val",
    ValueType.FLOAT: "float_val",
    ValueType.INT32: "int32_val",
    ValueType.INT64: "int64_val",
    ValueType.BOOL: "bool_val",
    ValueType.STRING: "string_val",
    ValueType.UNIX_TIMESTAMP: "unix_timestamp_val",
}
"""The field of ``feast.types.Value`` that holds a value of such a type."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIXED_TAGS = {ValueType.DOUBLE: 0x29, ValueType.FLOAT: 0x35}  # field << 3 | wire type
_VARINT_TAGS = {
    ValueType.INT32: 0x18,
    ValueType.INT64: 0x20,
    ValueType.BOOL: 0x38,
    ValueType.UNIX_TIMESTAMP: 0x40,
}
_STRING_TAG = 0x12
_KEY_FORMATS = {ValueType.INT32: "<i", ValueType.INT64: "<q", ValueType.UNIX_TIMESTAMP: "<q"}
_NOTHING = pa.scalar(b"", pa.binary())
Bytes = npt.NDArray[np.uint8]


def microseconds(moment: datetime) -> int:
    """Return ``moment`` (naive means UTC) as whole microseconds since 1970.

    >>> microseconds(datetime(1970, 1, 1, 0, 0, 1, 5))
    1000005
    """
    gap = utc(moment) - _EPOCH
    return (gap.days * 86_400 + gap.seconds) * 1_000_000 + gap.microseconds


def key_encoder(keys: Sequence[tuple[str, ValueType]]) -> Callable[[Sequence[object]], bytes]:
    """Return a function that encodes the values of the join keys ``(name, type)``, in that order.

    Raises:
        FeatureError: a type that cannot be a key; the function raises it for a value of another type.

    >>> key_encoder([("origin", ValueType.STRING)])(["JFK"]).hex()
    '0100000002000000060000006f726967696e02000000030000004a464b'
    """
    order = sorted(range(len(keys)), key=lambda index: keys[index][0])
    head = _key_head([keys[index][0] for index in order])
    parts = [(index, _plain_encoder(*keys[index])) for index in order]
    if len(parts) == 1:
        encode = parts[0][1]
        return lambda values: head + encode(values[0])
    return lambda values: head + b"".join([encode(values[index]) for index, encode in parts])


def entity_keys(columns: Mapping[str, pa.Array], kinds: Mapping[str, ValueType]) -> pa.BinaryArray:
    """Return the bytes of the entity keys in ``columns`` (join key → values, none of them null).

    Columns hold what `NATIVE` says for their type, or binary.
    """
    names = sorted(columns)
    pieces: list[Any] = [pa.scalar(_key_head(names), pa.binary())]
    for name in names:
        kind, column = kinds[name], columns[name]
        if kind in _KEY_FORMATS:
            raw = column.to_numpy(zero_copy_only=False).astype(_KEY_FORMATS[kind][0] + f"i{_width(kind)}")
            pieces += [pa.scalar(struct.pack("<II", kind.value, _width(kind)), pa.binary())]
            pieces += [_fixed(raw.view(np.uint8).reshape(len(raw), _width(kind)))]
        elif kind in (ValueType.STRING, ValueType.BYTES):
            column = column.cast(pa.binary())
            lengths = pc.binary_length(column).to_numpy(zero_copy_only=False).astype("<u4")
            pieces += [pa.scalar(struct.pack("<I", kind.value), pa.binary())]
            pieces += [_fixed(lengths.view(np.uint8).reshape(len(lengths), 4)), column]
        else:
            raise _no_key(name, kind)
    return pc.binary_join_element_wise(*pieces, _NOTHING)


def value_messages(column: pa.Array, kind: ValueType) -> pa.BinaryArray:
    """Encode each value of ``column`` as a ``feast.types.Value``; null and NaN become empty bytes.

    A column of a type in `NATIVE` holds what that says; of any other type, messages already.
    """
    if kind not in NATIVE:
        return column.cast(pa.binary()).fill_null(b"")
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    if kind is ValueType.STRING:
        text = column.cast(pa.binary()).fill_null(b"")
        lengths = pc.binary_length(text).to_numpy(zero_copy_only=False)
        heads = _variable(*_varints(lengths, _STRING_TAG, valid))
        return pc.binary_join_element_wise(heads, text, _NOTHING)
    values = column.fill_null(False if kind is ValueType.BOOL else 0).to_numpy(zero_copy_only=False)
    if kind in _FIXED_TAGS:
        valid &= ~np.isnan(values)
        matrix = np.empty((len(values), values.itemsize + 1), np.uint8)
        matrix[:, 0] = _FIXED_TAGS[kind]
        matrix[:, 1:] = np.ascontiguousarray(values).view(np.uint8).reshape(-1, values.itemsize)
        return _variable(matrix, valid * matrix.shape[1])
    return _variable(*_varints(values, _VARINT_TAGS[kind], valid))


def timestamp_messages(moments: npt.NDArray[np.int64]) -> pa.BinaryArray:
    """Encode microseconds since 1970 as ``google.protobuf.Timestamp``."""
    seconds, rest = np.divmod(moments, 1_000_000)
    parts = [
        _variable(*_varints(values, tag, values != 0))
        for values, tag in ((seconds, 0x08), (rest * 1000, 0x10))
    ]
    return pc.binary_join_element_wise(*parts, _NOTHING)


def other_messages(column: pa.Array, kind: ValueType) -> pa.BinaryArray:
    """Encode values of a type that is not in `NATIVE` with Feast's own code."""
    messages = python_values_to_proto_values(column.to_numpy(zero_copy_only=False), kind)
    return pa.array([message.SerializeToString() or None for message in messages], pa.binary())


def check_type(view: str, name: str, kind: ValueType | None, value: Value) -> str | None:
    """Return the name of the field that is set in ``value``, or None if it is null.

    Raises:
        FeatureError: it is not of the declared type.
    """
    field: str | None = value.WhichOneof("val")
    if field is None or field == "null_val":
        return None
    if kind is not None and field != VALUE_FIELDS.get(kind, field):
        raise FeatureError(
            f"view {view!r}: column {name!r} is declared {kind.name} and gets a {field}",
            hint="convert the column, or declare the type it has",
        )
    return field


def _key_head(names: Sequence[str]) -> bytes:
    encoded = [name.encode() for name in names]
    parts = [struct.pack("<II", ValueType.STRING.value, len(name)) + name for name in encoded]
    return struct.pack("<I", len(names)) + b"".join(parts)


def _plain_encoder(name: str, kind: ValueType) -> Callable[[Any], bytes]:
    number, is_text = (
        kind.value,
        kind is ValueType.STRING,
    )  # reading the enumeration costs more than the rest
    if kind in _KEY_FORMATS:
        pack = struct.Struct("<II" + _KEY_FORMATS[kind][1]).pack
        width = _width(kind)

        def whole(value: Any) -> bytes:
            if isinstance(value, datetime) and kind is ValueType.UNIX_TIMESTAMP:
                value = microseconds(value) // 1_000_000
            try:
                return pack(number, width, value)
            except struct.error as error:
                raise _wrong(name, kind, value) from error

        return whole
    if kind not in (ValueType.STRING, ValueType.BYTES):
        raise _no_key(name, kind)
    head = struct.Struct("<II").pack

    def text(value: Any) -> bytes:
        if is_text and type(value) is str:  # the usual case
            encoded = value.encode()
            return head(number, len(encoded)) + encoded
        if is_text and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        raw = value.encode() if is_text and isinstance(value, str) else value
        if not isinstance(raw, bytes):
            raise _wrong(name, kind, value)
        return head(number, len(raw)) + raw

    return text


def _width(kind: ValueType) -> int:
    return struct.calcsize(_KEY_FORMATS[kind])


def _wrong(name: str, kind: ValueType, value: object) -> WrongKey:
    return WrongKey(
        f"key {name!r} is {kind.name}, and {type(value).__name__} {value!r} is not",
        hint=f"give a value of type {kind.name}",
    )


def _no_key(name: str, kind: ValueType) -> FeatureError:
    return FeatureError(
        f"join key {name!r} is {kind.name}", hint="Feast's online stores take text, bytes and whole numbers"
    )


def _varints(values: npt.NDArray[Any], tag: int, valid: npt.NDArray[Any]) -> tuple[Bytes, npt.NDArray[Any]]:
    """Return a matrix with ``tag`` and a varint in each row, and how many of its bytes count."""
    rest = values.astype(np.int64).view(np.uint64)
    width = max(1, -(-int(rest.max(initial=0)).bit_length() // 7))
    matrix = np.empty((len(values), width + 1), np.uint8)
    matrix[:, 0] = tag
    lengths = np.ones(len(values), np.int64)
    for index in range(width):
        septet, rest = (rest & np.uint64(0x7F)).astype(np.uint8), rest >> np.uint64(7)
        more = rest > 0
        matrix[:, index + 1] = septet | (more.view(np.uint8) << 7)
        lengths += more
    return matrix, (lengths + 1) * valid


def _fixed(matrix: Bytes) -> pa.BinaryArray:
    return _variable(matrix, np.full(len(matrix), matrix.shape[1]))


def _variable(matrix: Bytes, lengths: npt.NDArray[Any]) -> pa.BinaryArray:
    """Return the first ``lengths`` bytes of each row."""
    offsets = np.zeros(len(matrix) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    full = bool((lengths == matrix.shape[1]).all())
    data = matrix if full else matrix[np.arange(matrix.shape[1]) < lengths[:, None]]
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(data))]
    return pa.Array.from_buffers(pa.large_binary(), len(matrix), buffers).cast(pa.binary())
