"""Feast's own code, one value at a time, is the yardstick for ours, a column at a time."""

import numpy as np
import pyarrow as pa
import pytest
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.value_type import ValueType
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from tidemill.errors import FeatureError, WrongKey
from tidemill.features.encoding import (
    NATIVE,
    VALUE_FIELDS,
    entity_keys,
    key_encoder,
    timestamp_messages,
    value_messages,
)

INT64 = st.integers(-(2**63), 2**63 - 1)
VALUES = {
    ValueType.DOUBLE: st.floats(allow_nan=False),
    ValueType.FLOAT: st.floats(width=32, allow_nan=False),
    ValueType.INT32: st.integers(-(2**31), 2**31 - 1),
    ValueType.INT64: INT64,
    ValueType.BOOL: st.booleans(),
    ValueType.STRING: st.text(max_size=200),
    ValueType.UNIX_TIMESTAMP: INT64,
}
KEYS = {
    ValueType.STRING: (pa.string(), "string_val", st.text(max_size=9)),
    ValueType.BYTES: (pa.binary(), "bytes_val", st.binary(max_size=9)),
    ValueType.INT64: (pa.int64(), "int64_val", INT64),
    ValueType.INT32: (pa.int32(), "int32_val", VALUES[ValueType.INT32]),
}


def test_every_native_type_is_tried():
    assert set(VALUES) == set(NATIVE)


@given(
    st.sampled_from(list(VALUES)).flatmap(lambda k: st.tuples(st.just(k), st.lists(VALUES[k] | st.none())))
)
def test_values_are_the_messages_that_protobuf_writes(case):
    kind, values = case
    expected = [
        Value(**({} if value is None else {VALUE_FIELDS[kind]: value})).SerializeToString()
        for value in values
    ]
    column = pa.array([None, *values, None], NATIVE[kind])
    assert value_messages(column.slice(1, len(values)), kind).to_pylist() == expected


def test_nan_is_null():
    assert value_messages(pa.array([float("nan")]), ValueType.DOUBLE).to_pylist() == [b""]


@given(st.lists(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)))
def test_timestamps_are_the_messages_that_protobuf_writes(moments):
    expected = []
    for moment in moments:
        stamp = Timestamp()
        stamp.FromMicroseconds(moment)
        expected.append(stamp.SerializeToString())
    assert timestamp_messages(np.array(moments, np.int64)).to_pylist() == expected


@given(st.data())
def test_entity_keys_are_those_of_feast(data):
    names = data.draw(st.lists(st.text("abé_", min_size=1), min_size=1, max_size=3, unique=True))
    kinds = {name: data.draw(st.sampled_from(list(KEYS))) for name in names}
    rows = data.draw(st.lists(st.tuples(*(KEYS[kinds[name]][2] for name in names)), max_size=5))
    expected = [
        serialize_entity_key(
            EntityKey(
                join_keys=names,
                entity_values=[Value(**{KEYS[kinds[n]][1]: v}) for n, v in zip(names, row, strict=True)],
            )
        )
        for row in rows
    ]
    columns = {name: pa.array([row[i] for row in rows], KEYS[kinds[name]][0]) for i, name in enumerate(names)}
    assert entity_keys(columns, kinds).to_pylist() == expected
    encode = key_encoder(list(kinds.items()))
    assert [encode(row) for row in rows] == expected


@pytest.mark.parametrize(
    ("kind", "value"),
    [(ValueType.STRING, 1.5), (ValueType.STRING, True), (ValueType.INT64, "7"), (ValueType.INT32, 2**31)],
)
def test_a_key_of_another_type_is_named(kind, value):
    with pytest.raises(WrongKey, match=rf"key 'origin' is {kind.name}, and \w+ .* is not"):
        key_encoder([("origin", kind)])([value])


def test_no_feast_store_takes_a_float_as_key():
    with pytest.raises(FeatureError, match="join key 'x' is DOUBLE"):
        key_encoder([("x", ValueType.DOUBLE)])
