"""Reads messages of protocol buffers field by field, without the classes that their declarations give."""

from collections.abc import Iterator

__all__ = ["BYTES", "EIGHT", "FOUR", "VARINT", "fields_of"]

VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5
"""Wire types: a number of any length, eight bytes, a length and as many bytes, four bytes."""


def fields_of(message: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield number, wire type and content of the fields of a message.

    Raises:
        ValueError, IndexError: it is no message.

    >>> list(fields_of(bytes([0x0A, 2]) + b"f1"))
    [(1, 2, b'f1')]
    """
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == VARINT:
            value, place = _varint(message, place)
            yield key >> 3, kind, value.to_bytes(10, "little")
            continue
        if kind == BYTES:
            size, place = _varint(message, place)
        elif kind in (EIGHT, FOUR):
            size = 8 if kind == EIGHT else 4
        else:
            raise ValueError(f"a field of wire type {kind}")
        if place + size > len(message):
            raise ValueError("a field ends after its message")
        yield key >> 3, kind, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        byte = message[place]
        found |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return found, place
