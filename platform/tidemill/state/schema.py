"""Tells what the schema of this release's records is, and which migrations lead to it."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

from alembic.config import Config
from alembic.script import ScriptDirectory

__all__ = ["Migration", "alembic_config", "is_known", "migrations_after", "newest_heads"]

_MIGRATIONS = Path(__file__).parent / "migrations"


class Migration(NamedTuple):
    """One step from a schema to the next one."""

    revision: str
    title: str


@cache
def newest_heads() -> tuple[str, ...]:
    """Return what records of this release have as their revision; reading all migrations takes a while."""
    return tuple(_scripts().get_heads())


def alembic_config() -> Config:
    """Return Alembic's configuration of our migrations."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config


def is_known(revision: str) -> bool:
    """Return whether this release can read records of a schema, or bring them to its own.

    >>> is_known("0001"), is_known("9999")
    (True, False)
    """
    return any(script.revision == revision for script in _scripts().walk_revisions())


def migrations_after(revision: str | None) -> list[Migration]:
    """Return the migrations that records of a schema still need, in order.

    >>> migrations_after("0001")[0]
    Migration(revision='0002', title='Erasures of one subject')
    """
    steps = _scripts().walk_revisions("base", "heads")
    found = [Migration(step.revision, step.doc.partition("\n")[0].rstrip(".")) for step in steps]
    return [step for step in reversed(found) if revision is None or step.revision > revision]


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(alembic_config())
