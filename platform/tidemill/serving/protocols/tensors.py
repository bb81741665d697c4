"""Decode tensors of the Open Inference Protocol to arrays and lists, and encode them.

As JSON, data may be flat or nested by the shape. As binary data (an extension that Triton's client uses by
default), it follows the JSON in the body: little-endian, row by row; each text has its length, four bytes,
before it.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from tidemill.plurals import counted
from tidemill.serving.protocols.given_features import Column
from tidemill.serving.protocols.json_bodies import malformed, type_given

__all__ = ["DATATYPES", "Tensor", "binary", "decode", "refuse_rest"]

_TAKES = {"f": "numbers", "i": "whole numbers", "u": "whole numbers", "b": "truth values", "text": "text"}

DATATYPES: Mapping[str, str] = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""Of fixed size: the protocol's name → numpy's. ``BYTES`` is the other one."""


@dataclass(frozen=True)
class Tensor:
    """One input."""

    name: str
    shape: tuple[int, ...]
    values: Column
    """Flat: an array for numbers (of objects, where there are nulls among integers or truth values), a list
    of text (or none) for ``BYTES``."""

    def column(self) -> Column:
        """Return the values of a tensor of shape [N] or [N, 1].

        Raises:
            Refused: it has another shape.
        """
        if len(self.shape) == 1 or (len(self.shape) == 2 and self.shape[1] == 1):
            return self.values
        raise malformed(f"input {self.name!r} has shape {list(self.shape)}, it must be [N] or [N, 1]")

    def matrix(self) -> npt.NDArray[np.float64]:
        """Return the values of a numeric tensor of shape [N, F].

        Raises:
            Refused: it has another shape, or text.
        """
        if len(self.shape) != 2:
            raise malformed(f"input {self.name!r} has shape {list(self.shape)}, it must be [N, F]")
        if not isinstance(self.values, np.ndarray):
            raise malformed(f"input {self.name!r} is BYTES, features are numbers")
        return self.values.reshape(self.shape).astype(np.float64)


def decode(declared: object, tail: memoryview, max_values: int) -> tuple[Tensor, memoryview]:
    """Return one of a request's ``inputs``, and what is left of the binary data.

    Raises:
        Refused: it is not a tensor, or has more than ``max_values`` values.
    """
    if not isinstance(declared, dict):
        raise malformed("each of inputs must be an object")
    name, datatype = declared.get("name"), declared.get("datatype")
    if not isinstance(name, str) or not name:
        raise malformed("each of inputs needs a name")
    if not isinstance(datatype, str) or (datatype != "BYTES" and datatype not in DATATYPES):
        raise malformed(f"input {name!r}: datatype must be BYTES or one of {', '.join(DATATYPES)}")
    shape = _shape(name, declared.get("shape"))
    count = prod(shape)
    if count > max_values:
        raise malformed(f"input {name!r} has {count:,} values; at most {max_values:,} are taken")
    parameters = declared.get("parameters", {})
    if not isinstance(parameters, dict):
        raise malformed(f"input {name!r}: parameters must be an object")
    if "shared_memory_region" in parameters:
        raise malformed(f"input {name!r}: shared memory is not supported")
    if "binary_data_size" in parameters:
        size = parameters["binary_data_size"]
        if type(size) is not int or not 0 <= size <= len(tail):
            raise malformed(f"input {name!r}: the body has no {str(size)[:20]} bytes of binary data for it")
        return Tensor(name, shape, _unpacked(name, datatype, count, tail[:size])), tail[size:]
    if not isinstance(declared.get("data"), list):
        raise malformed(f"input {name!r} needs data, an array")
    return Tensor(name, shape, _checked(name, datatype, shape, declared["data"])), tail


def refuse_rest(tail: memoryview) -> None:
    """Refuse binary data that no input claims.

    Raises:
        Refused: there is some.
    """
    if len(tail):
        raise malformed(f"the body ends with {counted(len(tail), 'byte')} of no input")


def binary(datatype: str, values: Sequence[Any]) -> bytes:
    """Return an output as binary data.

    >>> binary("BYTES", ["ab", ""]).hex(" ")
    '02 00 00 00 61 62 00 00 00 00'
    """
    if datatype == "BYTES":
        texts = (value.encode() for value in values)
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return np.array(values, dtype=DATATYPES[datatype]).tobytes()


def _shape(name: str, shape: object) -> tuple[int, ...]:
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise malformed(f"input {name!r}: shape must be an array of sizes")
    if not 1 <= len(shape) <= 2:
        raise malformed(f"input {name!r} has {len(shape)} dimensions, it must have 1 or 2")
    return tuple(shape)


def _checked(name: str, datatype: str, shape: tuple[int, ...], data: list[Any]) -> Column:
    flat = data if not data or not isinstance(data[0], list) else list(_flat(data, len(shape)))
    if len(flat) != prod(shape):
        raise malformed(
            f"input {name!r} has {counted(len(flat), 'value')}, its shape {list(shape)} says {prod(shape)}"
        )
    if datatype == "BYTES":
        _only(name, datatype, flat, {str, type(None)})
        return flat
    code = np.dtype(DATATYPES[datatype])
    if code.kind == "f":
        _only(name, datatype, flat, {float, int, type(None)})
        # A float keeps its digits: it would be wrong to round 0.1 to FP32 before a model that reads FP64.
        return np.array([np.nan if value is None else value for value in flat], dtype=np.float64)
    _only(name, datatype, flat, {bool if code.kind == "b" else int, type(None)})
    if code.kind != "b":
        limits, known = np.iinfo(code), [value for value in flat if value is not None]
        if known and not limits.min <= min(known) <= max(known) <= limits.max:
            raise malformed(f"input {name!r} has values that no {datatype} can hold")
    # As floats, integers with nulls among them would lose digits.
    return np.array(flat, dtype=object if None in flat else code)


def _flat(data: list[Any], depth: int) -> Iterator[Any]:
    for item in data:
        if isinstance(item, list) and depth > 1:
            yield from _flat(item, depth - 1)
        else:
            yield item


def _only(name: str, datatype: str, values: list[Any], allowed: set[type]) -> None:
    if set(map(type, values)) <= allowed:
        return
    wrong = next(value for value in values if type(value) not in allowed)
    given = type_given(wrong)
    if int in allowed and isinstance(wrong, float):
        given += " beyond 64 bits, or with an exponent" if wrong.is_integer() else " with a fraction"
    raise malformed(
        f"input {name!r} is {datatype}, which takes {_TAKES[_kind(datatype)]}, and {given} was given"
    )


def _kind(datatype: str) -> str:
    return "text" if datatype == "BYTES" else np.dtype(DATATYPES[datatype]).kind


def _unpacked(name: str, datatype: str, count: int, data: memoryview) -> Column:
    if datatype == "BYTES":
        return _texts(name, count, data)
    code = np.dtype(DATATYPES[datatype])
    if len(data) != count * code.itemsize:
        raise malformed(
            f"input {name!r} has {counted(len(data), 'byte')} of binary data, not the "
            f"{count * code.itemsize:,} of {counted(count, 'value')} of {datatype}"
        )
    return np.frombuffer(data, code)


def _texts(name: str, count: int, data: memoryview) -> list[str]:
    texts: list[str] = []
    place = 0
    while place + 4 <= len(data) and len(texts) < count:
        (length,) = struct.unpack_from("<I", data, place)
        place += 4
        if place + length > len(data):
            break
        try:
            texts.append(str(data[place : place + length], "utf-8"))
        except UnicodeDecodeError:
            raise malformed(f"input {name!r} has text that is not UTF-8") from None
        place += length
    if place != len(data) or len(texts) != count:
        raise malformed(f"input {name!r}: its binary data is not {count} texts with their lengths")
    return texts
