"""Reads the objects of a JSON file one by one, and lists their fields."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Fields", "fields_of", "is_task", "objects"]

_CHUNK = 1 << 20  # characters
_GAP = re.compile(r"[\s,]*")


@dataclass
class Fields:
    """The names that occur in a file of JSON, in their order: not every object has all of them."""

    rows: dict[str, None] = field(default_factory=dict)
    in_tasks: dict[str, None] = field(default_factory=dict)
    empty_row: int | None = None
    """Number of the first object without any field."""


def fields_of(path: Path) -> Fields:
    """Return the names of all fields that occur in a file.

    Raises:
        ValueError: it is cut off, or holds something that is not an object.
    """
    found = Fields()
    for number, item in enumerate(objects(path), 1):
        if not item and found.empty_row is None:
            found.empty_row = number
        if is_task(item):
            found.in_tasks |= dict.fromkeys(("id", *(item.get("data") or {})))
        else:
            found.rows |= dict.fromkeys(item)
    return found


def is_task(item: Mapping[str, Any]) -> bool:
    """Return whether an object is a Label Studio task with annotations, not a row."""
    return "data" in item and ("annotations" in item or "completions" in item)


def objects(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON array, or of lines, one at a time: an export may be larger than memory.

    Raises:
        ValueError: it is cut off, is not in UTF-8, has a field twice, or holds something that is not an
            object; the message names the row.
    """
    decoder, row = json.JSONDecoder(object_pairs_hook=_object), 0
    with path.open(encoding="utf-8-sig") as file:
        buffer = file.read(_CHUNK).lstrip()
        in_list = buffer.startswith("[")
        position = 1 if in_list else 0
        while True:
            gap = _GAP.match(buffer, position)
            position = gap.end() if gap else position
            if in_list and buffer[position : position + 1] == "]":
                if buffer[position + 1 :].strip() or file.read(_CHUNK).strip():
                    raise ValueError(f"there is text after the end of its list, after row {row}")
                return
            try:
                item, position = decoder.raw_decode(buffer, position)
            except _DuplicateField as error:
                raise ValueError(f"row {row + 1} has two fields {str(error)!r}") from error
            except json.JSONDecodeError as error:
                more = file.read(max(_CHUNK, len(buffer) - position))
                if not more:
                    if buffer[position:].strip():
                        raise ValueError(f"row {row + 1} is cut off or no JSON: {error.msg}") from error
                    if in_list:
                        raise ValueError(f"its list does not end: ] is missing after row {row}") from error
                    return
                buffer, position = buffer[position:] + more, 0
                continue
            row += 1
            if not isinstance(item, dict):
                raise ValueError(f"row {row} is not an object")
            yield item


class _DuplicateField(Exception):
    """A JSON object has two fields of the same name."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _DuplicateField(next(name for name in names if names.count(name) > 1))
    return found
