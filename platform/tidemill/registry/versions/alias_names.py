"""The names of a model's aliases and their meanings."""

from collections.abc import Mapping, Sequence
from typing import Protocol

__all__ = ["ARCHIVED", "CHAMPION", "EXPERIMENT", "DeploymentRecord", "alias_of", "differs", "kind_of"]

CHAMPION = "champion"
"""The alias of the version that serves."""
ARCHIVED = "tidemill.archived"
"""Tag of a version that somebody has put away: who, when and why, as JSON."""
EXPERIMENT = "ab-"
"""Prefix of an experiment's alias."""
_KINDS = ("canary", "shadow", "challenger")


class DeploymentRecord(Protocol):
    """A record of a version beside the champion."""

    kind: str
    name: str
    version: str


def alias_of(kind: str, name: str) -> str:
    """Return the alias in the registry of a deployment by `tidemill deploy`.

    >>> alias_of("canary", "canary"), alias_of("ab", "late-fee")
    ('canary', 'ab-late-fee')
    """
    return f"{EXPERIMENT}{name}" if kind == "ab" else kind


def kind_of(alias: str) -> str | None:
    """Return the kind of deployment of an alias; None for an alias that is not Tidemill's.

    >>> kind_of("shadow"), kind_of("ab-late-fee"), kind_of("mine")
    ('shadow', 'ab', None)
    """
    if alias in _KINDS:
        return alias
    name = alias.removeprefix(EXPERIMENT)
    # Names are unique across kinds: no experiment may be called canary.
    return "ab" if alias.startswith(EXPERIMENT) and name not in ("", *_KINDS) else None


def differs(aliases: Mapping[str, str], rows: Sequence[DeploymentRecord]) -> bool:
    """Return whether the registry and the records differ and need reconciliation.

    Args:
        aliases: alias → version, as the registry has them.
        rows: what is beside the champion by the records.
    """
    champion = aliases.get(CHAMPION)
    if any(row.version == champion for row in rows):
        return True
    wanted = {alias_of(row.kind, row.name): row.version for row in rows}
    there = {
        alias: version
        for alias, version in aliases.items()
        if version != champion and kind_of(alias) is not None
    }
    return wanted != there
