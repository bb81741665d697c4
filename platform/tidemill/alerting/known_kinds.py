"""Finds kinds of alert in matchers that no alert can have. Pure."""

from collections.abc import Sequence
from fnmatch import filter as matching
from typing import get_args

from tidemill.monitoring.findings import NO_RUN
from tidemill.monitoring.monitor_config import Kind
from tidemill.state.record_queries import EXTERNAL

__all__ = ["KINDS", "unknown_kind"]

KINDS: tuple[str, ...] = (*get_args(Kind), NO_RUN, EXTERNAL)
"""Every kind that an alert can have."""


def unknown_kind(given: str | Sequence[str]) -> str | None:
    """Return the first pattern that matches no kind of alert, or None.

    >>> unknown_kind(["data_*", "quality"]), unknown_kind("data_drfit")
    (None, 'data_drfit')
    """
    patterns = (given,) if isinstance(given, str) else given
    return next((each for each in patterns if not matching(KINDS, each)), None)
