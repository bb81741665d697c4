"""Matches the labels of alerts with patterns, as routes, silences and inhibitions do. Pure."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from tidemill.errors import UsageError
from tidemill.state.alert_queries import EXTERNAL

__all__ = ["LABELS", "Matchers", "labels_of", "matches", "parse_matchers"]

LABELS = ("model", "version", "monitor", "kind", "severity")
"""The labels that every alert has."""
Matchers = Mapping[str, str | Sequence[str]]
"""Label → a pattern, or several of which one must match; ``*`` and ``?`` stand for any characters."""


def labels_of(alert: Any) -> dict[str, str]:
    """Return the labels of a record of an alert; those of one from elsewhere are beside our own."""
    own = alert.details.get("labels", {}) if alert.kind == EXTERNAL else {}
    return {**own, **{name: getattr(alert, name) for name in LABELS}}


def matches(matchers: Matchers, labels: Mapping[str, str]) -> bool:
    """Return whether every label matches; no matchers match everything.

    A label that the alert does not have matches the empty pattern only.

    >>> matches({"kind": ["data_*", "quality"]}, {"kind": "data_drift"})
    True
    >>> matches({"kind": "quality", "monitor": "weekly"}, {"kind": "quality", "monitor": "daily"})
    False
    >>> matches({"team": "*"}, {"kind": "quality"}), matches({"team": ""}, {"kind": "quality"})
    (False, True)
    """
    return all(
        any(_matches(labels.get(name), one) for one in ((given,) if isinstance(given, str) else given))
        for name, given in matchers.items()
    )


def _matches(label: str | None, pattern: str) -> bool:
    return not pattern if label is None else fnmatchcase(label, pattern)


def parse_matchers(given: Sequence[str]) -> dict[str, str]:
    """Read matchers such as ``kind=data_drift`` from a command line.

    Raises:
        UsageError: one is not of that form, or a label is given twice.

    >>> parse_matchers(["kind=data_*", "monitor=weekly"])
    {'kind': 'data_*', 'monitor': 'weekly'}
    """
    found: dict[str, str] = {}
    for each in given:
        name, equals, pattern = each.partition("=")
        if not equals or not pattern or not name.strip():
            raise UsageError(
                f"{each!r} is not LABEL=PATTERN",
                hint=f"as in kind=data_drift; all alerts have {', '.join(LABELS)}, those from elsewhere more",
            )
        if name in found:
            raise UsageError(f"{name} is given twice", hint="give each label once; * stands for anything")
        found[name] = pattern
    return found
