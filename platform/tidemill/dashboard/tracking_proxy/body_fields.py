"""Reads JSON as MLflow does, but with fields that are given twice."""

import json
from collections.abc import Iterator
from typing import Any

__all__ = ["Pairs", "fields_of", "objects_in", "read_pairs"]


class Pairs(list[tuple[str, Any]]):
    """The fields of a JSON object, one that is given twice included."""


def read_pairs(body: bytes) -> Any:
    """Return the content of a request; JSON in a string, which old clients send, is opened.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is deeper than anything that MLflow's clients send.

    >>> read_pairs(b'{"key": 1, "key": 2}')
    [('key', 1), ('key', 2)]
    """
    content = json.loads(body, object_pairs_hook=Pairs)
    return json.loads(content, object_pairs_hook=Pairs) if isinstance(content, str) else content


def objects_in(content: Any) -> Iterator[Pairs]:
    """Yield all objects in a content, however deep."""
    waiting = [content]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Pairs):
            yield one
            waiting += [value for _, value in one]
        elif isinstance(one, list):
            waiting += one


def fields_of(body: bytes, *names: str) -> list[str]:
    """Return the values of fields by name; none if the content is no JSON, which MLflow refuses.

    >>> fields_of(b'{"run_id": "a", "run_id": "b", "other": 1}', "run_id")
    ['a', 'b']
    """
    try:
        content = read_pairs(body)
    except (ValueError, RecursionError):
        return []
    return [str(value) for one in objects_in(content) for name, value in one if name in names]
