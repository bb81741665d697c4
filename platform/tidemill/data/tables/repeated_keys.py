"""Finds names that an object of JSON has twice, of which parsers keep the last and say nothing."""

import json
from codecs import BOM_UTF8
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from tidemill.data.tables.csv_headers import opened
from tidemill.errors import DataError

__all__ = ["refuse_repeated_fields", "repeated_key"]

_LONG = 500
"""Bytes an object, from which on looking for the objects takes less time than writing all of it."""
_CHUNK = 1 << 20


def repeated_key(text: bytes, content: Any) -> str | None:
    """Return a name that an object in a text has several times; None if there is none.

    Args:
        text: JSON.
        content: what it was parsed to.

    >>> repeated_key(b'{"a": {"b": 1, "b": 2}}', {"a": {"b": 2}})
    'b'
    >>> repeated_key(b'{"a": ["b:", "b:"]}', {"a": ["b:", "b:"]})
    """
    if _has_all_names(text, content):
        return None
    try:
        json.loads(text, object_pairs_hook=_once)
    except _RepeatedKey as error:
        return str(error)
    return None


def refuse_repeated_fields(file: Path) -> None:
    """Refuse a file of newline-delimited JSON with a line that has a field twice.

    Raises:
        DataError: it is one; the message names the line.
        OSError: it cannot be read.
        EOFError: it is packed, and not complete.
        zlib.error: it is packed, and broken.
    """
    before = 0
    with opened(file) as stream:
        while lines := stream.readlines(_CHUNK):
            lines[0] = lines[0] if before else lines[0].removeprefix(BOM_UTF8)
            _refuse_in(file, before, lines)
            before += len(lines)


def _refuse_in(file: Path, before: int, lines: Sequence[bytes]) -> None:
    try:
        if _has_all_names(b"".join(lines), [orjson.loads(line) for line in lines]):
            return
    except orjson.JSONDecodeError:  # an empty line, or none of JSON, which the reader of the table says
        pass
    for number, line in enumerate(lines, before + 1):
        try:
            name = repeated_key(line, orjson.loads(line))
        except orjson.JSONDecodeError:
            continue
        if name is not None:
            raise DataError(
                f"{file} cannot be read: line {number:,} has two fields {name!r}", hint="remove one of them"
            )


def _has_all_names(text: bytes, content: Any) -> bool:
    """Return whether no name of a text was lost when it was parsed; False if that is not sure.

    A text has a colon for each name and each one inside of text. It has no more of them than its content
    when that is written again, if no name was lost.
    """
    colons, objects = text.count(b":"), text.count(b"{")
    if len(text) > _LONG * objects and colons == _names(content, objects):
        return True
    return colons == orjson.dumps(content).count(b":") and b"\\u003" not in text  # a colon may be \u003a


def _names(content: Any, objects: int) -> int:
    """Return how many names the objects in a content have; of ``objects`` objects or more there are none."""
    names, level = 0, [content]
    while level:
        found = [each for each in level if type(each) is dict]
        names += sum(map(len, found))
        objects -= len(found)
        if objects <= 0:  # lists of numbers, which are long, are not looked at
            break
        level = [
            inner
            for each in level
            if type(each) in (dict, list)
            for inner in (each.values() if type(each) is dict else each)
            if type(inner) in (dict, list)
        ]
    return names


class _RepeatedKey(Exception):
    """An object has two values of the same name."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _RepeatedKey(next(name for name in names if names.count(name) > 1))
    return found
