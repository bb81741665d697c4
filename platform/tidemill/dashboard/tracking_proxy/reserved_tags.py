"""Keeps the tags that Tidemill itself writes from being forged through MLflow's API.

A version's lineage, the digests of its files and the gate's decision stand in tags that begin with
``tidemill.``. Who may promote a version may change them, too; who may only write runs or register may not.
"""

from typing import Final
from urllib.parse import unquote

from tidemill.dashboard.tracking_proxy.body_fields import objects_in, read_pairs

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
        content = read_pairs(body)
    except ValueError:
        return False
    except RecursionError:  # deeper than anything that its clients send
        return True
    return any(
        name == "key" and isinstance(value, str) and value.startswith(RESERVED)
        for one in objects_in(content)
        for name, value in one
    )
