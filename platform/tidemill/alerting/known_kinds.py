"""Finds kinds and severities of alert in matchers that no alert can have. Pure."""

from collections.abc import Sequence
from fnmatch import filter as matching
from typing import get_args

from tidemill.monitoring.findings import NO_RUN
from tidemill.monitoring.monitor_config import Kind
from tidemill.state.alert_queries import EXTERNAL

__all__ = ["KINDS", "SEVERITIES", "unknown_kind", "unknown_severity"]

KINDS: tuple[str, ...] = (*get_args(Kind), NO_RUN, EXTERNAL)
"""Every kind that an alert can have."""
SEVERITIES = ("info", "warning", "critical")
"""Every severity that an alert can have; one from elsewhere with another severity is a warning."""


def unknown_kind(given: str | Sequence[str]) -> str | None:
    """Return the first pattern that matches no kind of alert, or None.

    >>> unknown_kind(["data_*", "quality"]), unknown_kind("data_drfit")
    (None, 'data_drfit')
    """
    return _matches_none(given, KINDS)


def unknown_severity(given: str | Sequence[str]) -> str | None:
    """Return the first pattern that matches no severity of an alert, or None.

    >>> unknown_severity(["crit*", "warning"]), unknown_severity("page")
    (None, 'page')
    """
    return _matches_none(given, SEVERITIES)


def _matches_none(given: str | Sequence[str], known: Sequence[str]) -> str | None:
    patterns = (given,) if isinstance(given, str) else given
    return next((each for each in patterns if not matching(known, each)), None)
