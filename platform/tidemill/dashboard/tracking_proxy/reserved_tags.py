"""Keeps the tags that Tidemill itself writes from being forged through MLflow's API.

A version's lineage, the digests of its files and the gate's decision stand in tags that begin with
``tidemill.``. Who may promote a version may change them, too; who may only write runs or register may not.
"""

import json
from typing import Any, Final
from urllib.parse import unquote

__all__ = ["RESERVED", "names_reserved_tag"]

RESERVED: Final = "tidemill."
"""How the keys of such tags begin."""


def names_reserved_tag(path: str, body: bytes) -> bool:
    """Return whether a request to MLflow's API would set or delete a tag of ours.

    The body is read as MLflow reads it: a field that is given twice is looked at twice, and JSON in a string,
    which its old clients send, is opened.

    Args:
        path: below the prefix of MLflow's pages.
        body: the content as it was sent; what is no JSON sets nothing.

    >>> names_reserved_tag("/api/2.0/mlflow/runs/set-tag", b'{"key": "tidemill.gate", "value": "{}"}')
    True
    >>> names_reserved_tag("/api/2.0/mlflow/runs/set-tag", b'{"key": "team", "value": "tidemill.gate"}')
    False
    >>> names_reserved_tag("/api/2.0/mlflow/logged-models/m-1/tags/tidemill.lineage", b"")
    True
    """
    if any(unquote(part).startswith(RESERVED) for part in path.split("/")):
        return True
    try:
        content = json.loads(body, object_pairs_hook=_Pairs)
        if isinstance(content, str):
            content = json.loads(content, object_pairs_hook=_Pairs)
    except ValueError:
        return False
    except RecursionError:  # deeper than anything that its clients send
        return True
    return _holds(content)


class _Pairs(list[tuple[str, Any]]):
    """The fields of a JSON object, one that is given twice included."""


def _holds(content: Any) -> bool:
    waiting = [content]
    while waiting:
        one = waiting.pop()
        if isinstance(one, _Pairs):
            if any(name == "key" and isinstance(v, str) and v.startswith(RESERVED) for name, v in one):
                return True
            waiting += [value for _, value in one]
        elif isinstance(one, list):
            waiting += one
    return False
