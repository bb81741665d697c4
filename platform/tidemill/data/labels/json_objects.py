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
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


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
            begin = position
            try:
                item, position = decoder.raw_decode(buffer, position)
            except _DuplicateField as error:
                raise ValueError(f"row {row + 1} has two fields {str(error)!r}") from error
            except RecursionError as error:
                raise ValueError(f"row {row + 1} is nested too deeply") from error
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
            if problem := _task_problem(item) or _text_problem(item, buffer[begin:position]):
                raise ValueError(f"row {row} {problem}")
            yield item


def _task_problem(item: Mapping[str, Any]) -> str | None:
    """Return where a task of Label Studio has another shape than its exports have; None if nowhere.

    >>> _task_problem({"data": {"flight": 7}, "annotations": [{"result": "late"}]})
    'is no task of Label Studio: result of annotation 1 is not a list of objects'
    """
    if not is_task(item):
        return None
    wrong: str | None = None
    if not isinstance(item["data"] or {}, dict):
        wrong = "data is not an object"
    annotations = item.get("annotations") or item.get("completions") or []
    if not _are_objects(annotations):
        wrong = "annotations is not a list of objects"
    for number, annotation in enumerate(annotations if wrong is None else (), 1):
        results = annotation.get("result") or []
        if not _are_objects(results):
            wrong = f"result of annotation {number} is not a list of objects"
        elif not all(map(_is_result, results)):
            wrong = f"a result of annotation {number} has no from_name of text, or no value that is an object"
    return None if wrong is None else f"is no task of Label Studio: {wrong}"


def _are_objects(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(one, dict) for one in found)


def _is_result(found: Mapping[str, Any]) -> bool:
    """Return whether a result has a value by its control's name, or neither of them, as relations have."""
    if "from_name" not in found or "value" not in found:
        return True
    return isinstance(found["from_name"], str) and isinstance(found["value"], dict)


def _text_problem(item: Mapping[str, Any], text: str) -> str | None:
    """Return what is wrong with the text in an object; None if all of it can be written as UTF-8."""
    if _SURROGATE.search(text) is None:
        return None
    try:
        json.dumps(item, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "has text with half of a character, such as \\ud83d alone"
    return None


class _DuplicateField(Exception):
    """A JSON object has two fields of the same name."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _DuplicateField(next(name for name in names if names.count(name) > 1))
    return found
