"""Matches the labels of alerts with patterns, as routes, silences and inhibitions do. Pure."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from tidemill.errors import UsageError

__all__ = ["LABELS", "Matchers", "labels_of", "matches", "parse_matchers"]

LABELS = ("model", "version", "monitor", "kind", "severity")
"""The labels that every alert has."""
Matchers = Mapping[str, str | Sequence[str]]
"""Label → a pattern, or several of which one must match; ``*`` and ``?`` stand for any characters."""


def labels_of(alert: Any) -> dict[str, str]:
    """Return the labels of a record of an alert."""
    return {name: getattr(alert, name) for name in LABELS}


def matches(matchers: Matchers, labels: Mapping[str, str]) -> bool:
    """Return whether every label matches; no matchers match everything.

    >>> matches({"kind": ["data_*", "quality"]}, {"kind": "data_drift"})
    True
    >>> matches({"kind": "quality", "monitor": "weekly"}, {"kind": "quality", "monitor": "daily"})
    False
    """
    return all(
        any(fnmatchcase(labels.get(name, ""), one) for one in ((given,) if isinstance(given, str) else given))
        for name, given in matchers.items()
    )


def parse_matchers(given: Sequence[str]) -> dict[str, str]:
    """Read matchers such as ``kind=data_drift`` from a command line.

    Raises:
        UsageError: one is not of that form, or names no label of alerts.

    >>> parse_matchers(["kind=data_*", "monitor=weekly"])
    {'kind': 'data_*', 'monitor': 'weekly'}
    """
    found: dict[str, str] = {}
    for each in given:
        name, equals, pattern = each.partition("=")
        if not equals or not pattern or name not in LABELS:
            raise UsageError(
                f"{each!r} matches no label of alerts",
                hint=f"write LABEL=PATTERN with one of: {', '.join(LABELS)}; as in kind=data_drift",
            )
        if name in found:
            raise UsageError(f"{name} is given twice", hint="give each label once; * stands for anything")
        found[name] = pattern
    return found
