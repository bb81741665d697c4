"""Tells versions that Tidemill registered from those that other clients of MLflow did."""

import re
from collections.abc import Mapping

from tidemill.training.tracking.run_values import has_summary

__all__ = ["is_ours"]

_COPIED = re.compile(r"models:/[^/]+/")


def is_ours(tags: Mapping[str, str], source: str | None) -> bool:
    """Return whether Tidemill registered a version: it puts that on record itself, before or after.

    Its versions have the tags of their training. So has a copy of one that MLflow made, whose source says of
    which.

    >>> is_ours({}, "models:/m-1")
    False
    """
    return has_summary(tags) and _COPIED.match(source or "") is None
