"""What a backup says about itself: in ``backup.json``, its first member, and ``manifest.json``, its last."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from tidemill.errors import DataError
from tidemill.state.database_snapshots import DatabaseCopy

__all__ = [
    "FACTS",
    "MANIFEST",
    "BackupFacts",
    "DatabaseFacts",
    "StoredLog",
    "VersionFiles",
    "facts_from",
    "facts_of_copy",
]

FACTS = "backup.json"
MANIFEST = "manifest.json"
_FORMAT = 1


@dataclass(frozen=True)
class DatabaseFacts:
    """A database in a backup."""

    kind: str
    """``sqlite`` or ``postgresql``."""
    revision: str
    rows: dict[str, int]
    columns: dict[str, list[str]]


@dataclass(frozen=True)
class VersionFiles:
    """A registered version, and where its files are below the artifacts."""

    model: str
    version: str
    folder: str | None
    """None where the backup has no files of it, because they are elsewhere."""


@dataclass(frozen=True)
class StoredLog:
    """An object store with parts of the prediction log."""

    address: str
    endpoint: str | None = None
    """Of an S3-compatible store; None: Amazon's."""


@dataclass(frozen=True)
class BackupFacts:
    """What a backup holds, and of what."""

    made_at: str
    release: str
    """Of Tidemill."""
    mlflow: str
    """Version of MLflow, whose own schema its database has; empty if there is no database of it."""
    project: str
    model: str
    commit: str | None
    """Of the project's repository, which has its files and DVC's pointers."""
    uncommitted: tuple[str, ...]
    """Files that no commit had: they are not in the backup, nor in git."""
    holds: tuple[str, ...]
    """The choices: ``log``, ``runs``, ``reports``, ``data``, ``keys``."""
    records: DatabaseFacts
    tracking: DatabaseFacts | None
    versions: tuple[VersionFiles, ...]
    stores: tuple[StoredLog, ...] = ()
    """Whose parts of the prediction log it has; none in backups of earlier releases."""

    def encoded(self) -> bytes:
        """Return it as JSON."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1).encode()


def facts_of_copy(copy: DatabaseCopy) -> DatabaseFacts:
    """Return what a backup says of a database."""
    return DatabaseFacts(copy.kind, copy.revision, copy.rows, copy.columns)


def facts_from(content: bytes) -> BackupFacts:
    """Read what a backup says about itself.

    Raises:
        DataError: it is no backup that this release can read.
    """
    try:
        given: dict[str, Any] = json.loads(content)
        written = given.pop("format")
        if written != _FORMAT:
            raise DataError(
                f"the backup is of format {written}, this release reads {_FORMAT}",
                hint="restore it with the release that made it, or a later one",
            )
        return BackupFacts(
            **{
                **given,
                "uncommitted": tuple(given["uncommitted"]),
                "holds": tuple(given["holds"]),
                "records": DatabaseFacts(**given["records"]),
                "tracking": given["tracking"] and DatabaseFacts(**given["tracking"]),
                "versions": tuple(VersionFiles(**each) for each in given["versions"]),
                "stores": tuple(StoredLog(**each) for each in given.get("stores", ())),
            }
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{FACTS} in the backup cannot be read: {error}", hint="use another backup"
        ) from error
