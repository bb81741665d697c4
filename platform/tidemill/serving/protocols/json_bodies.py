"""Parse the JSON bodies of requests, and refuse invalid or deeply nested ones."""

import re
from typing import Any

import orjson

from tidemill.data.tables.repeated_keys import repeated_key
from tidemill.serving.inference.calls import Failure, Headers, Refused

__all__ = [
    "MAX_DEPTH",
    "malformed",
    "nesting",
    "not_json",
    "other_media_type",
    "parse_json",
    "refuse_repeated",
    "type_given",
]

MAX_DEPTH = 64
"""Lists and objects inside each other; what we write ourselves must stay far below what parsers bear."""

_LONGEST_NAME = 200
_KINDS = {
    type(None): "null",
    bool: "a truth value",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def malformed(message: str) -> Refused:
    """Return the refusal of a request that does not fit."""
    return Refused(Failure("malformed", message))


def parse_json(body: bytes, headers: Headers) -> Any:
    """Return the parsed body.

    NaN, Infinity, numbers beyond float64 and bytes that are not UTF-8 are not JSON. A content type that is
    not given is taken for JSON.

    Raises:
        Refused: the content type is another one, the body is not JSON, it is nested deeper than 64, or an
            object in it has a field twice.

    >>> parse_json(b'{"instances": []}', {})
    {'instances': []}
    """
    kind = headers.get(b"content-type", b"application/json")
    if not kind.startswith(b"application/json") and not _is_json(kind):
        raise Refused(other_media_type(kind))
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and nesting(body) > MAX_DEPTH:
        raise Refused(not_json(None, f"it is nested deeper than {MAX_DEPTH}"))
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(not_json(error.pos, error.msg)) from None
    refuse_repeated(body, content)
    return content


def refuse_repeated(body: bytes, content: Any) -> None:
    """Refuse a body with a field that is given twice: it is not known which one is meant.

    Raises:
        Refused: it is one.
    """
    if (name := repeated_key(body, content)) is not None:
        shown = name[:_LONGEST_NAME]
        problem = {"loc": ["body", shown], "msg": f"{shown!r} is given twice: leave one of them out"}
        raise Refused(Failure("malformed", [{**problem, "type": "repeated_field"}]))


def other_media_type(given: bytes) -> Failure:
    """Return the failure of a body of another content type.

    >>> other_media_type(b"text/plain").detail
    'the body must be application/json, and the content type is text/plain'
    """
    shown = given[:100].decode("latin-1") or "empty"
    return Failure("media_type", f"the body must be application/json, and the content type is {shown}")


def type_given(value: object) -> str:
    """Return what a value is, for messages.

    >>> type_given(True), type_given("x")
    ('a truth value', 'text')
    """
    return _KINDS.get(type(value), f"a {type(value).__name__}")


def nesting(body: bytes) -> int:
    """Return how deep lists and objects are inside each other.

    >>> nesting(b'{"a": [1, [2]], "b": "[[[["}')
    3
    """
    deepest = depth = 0
    for match in _STRING_OR_BRACKET.finditer(body):
        character = body[match.start()]
        if character in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in b"]}":
            depth -= 1
    return deepest


def _is_json(kind: bytes) -> bool:
    name = kind.partition(b";")[0].strip().lower()
    return name == b"application/json" or (name.startswith(b"application/") and name.endswith(b"+json"))


def not_json(position: int | None, what: str) -> Failure:
    """Return the failure of a body that is not JSON; ``position`` is where it stops being JSON, in bytes."""
    where: list[str | int] = ["body"] if position is None else ["body", position]
    problem = {"loc": where, "msg": f"the body is not JSON: {what}", "type": "json_invalid"}
    return Failure("malformed", [problem])
