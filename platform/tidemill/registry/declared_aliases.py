"""Compares the registry's aliases with ``deployments.yaml``, where a team says in Git what serves.

The file is an option: it moves nothing. Where both differ, `tidemill status` says so.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tidemill.errors import ConfigError
from tidemill.files.declaration_files import read_declaration

__all__ = ["DEPLOYMENTS_FILE", "Drift", "alias_drift", "read_declared"]

DEPLOYMENTS_FILE = "deployments.yaml"


class Drift(NamedTuple):
    """An alias that is not where Git says it is."""

    alias: str
    declared: str | None
    """Version by the file; None: the file has the alias at no version."""
    found: str | None
    """Version by the registry; None: it has no such alias."""


def read_declared(root: Path) -> dict[str, str | None] | None:
    """Return alias → version as the file has them; None if there is no file.

    Raises:
        ConfigError: the file is not readable, or no mapping of aliases to versions.
    """
    file = read_declaration(root / DEPLOYMENTS_FILE)
    if file is None:
        return None
    content = file.content if file.content is not None else {}
    if not isinstance(content, dict) or not all(
        isinstance(alias, str) and (version is None or (type(version) is int and version > 0))
        for alias, version in content.items()
    ):
        raise ConfigError(
            f"{root / DEPLOYMENTS_FILE} does not say which version has which alias",
            hint="write such as `champion: 3`, a line for each alias; null where there shall be none",
        )
    return {alias: None if version is None else str(version) for alias, version in content.items()}


def alias_drift(declared: Mapping[str, str | None], found: Mapping[str, str]) -> list[Drift]:
    """Return the declared aliases that are elsewhere. Others are nobody's business here.

    >>> alias_drift({"champion": "3", "canary": None}, {"champion": "4", "shadow": "5"})
    [Drift(alias='champion', declared='3', found='4')]
    """
    return [
        Drift(alias, version, found.get(alias))
        for alias, version in declared.items()
        if found.get(alias) != version
    ]
