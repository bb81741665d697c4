"""Read a registry in a local SQLite file without importing MLflow.

MLflow's tables are no public interface. They are read in few places, because importing MLflow takes
seconds, and its registry alone knows what was registered or moved there by hand. Where the tables or files
are not as expected, or elsewhere, MLflow is asked. A test compares both answers.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tidemill.errors import ModelNotFound
from tidemill.project import Project, ProjectFolder, load_project
from tidemill.registry.versions.alias_names import ARCHIVED, CHAMPION
from tidemill.training.tracking.local_documents import (
    AskMlflow,
    local_compiled,
    local_lineage,
    local_summary,
    open_database,
)

if TYPE_CHECKING:
    from tidemill.registry.versions.version_record import ModelVersion

__all__ = [
    "ShownVersion",
    "put_away",
    "read_alias_names",
    "read_champion",
    "read_registered",
    "read_registered_part",
    "read_version",
]

_VERSIONS = """
    SELECT version, creation_time, source, storage_location, run_id FROM model_versions
    WHERE name = ? AND current_stage <> 'Deleted_Internal' ORDER BY version DESC
"""
_ARCHIVED = "SELECT version FROM model_version_tags WHERE name = ? AND key = ?"


@dataclass(frozen=True)
class ShownVersion:
    """One version of a model, as the command line shows it."""

    model: str
    version: str
    aliases: tuple[str, ...]
    run_id: str
    registered_at: datetime
    metrics: Mapping[str, float]
    lineage: Mapping[str, Any]
    """Empty for a model that Tidemill did not train."""
    compiled: Mapping[str, Any] | None = None
    """What came of compiling it; none if it was registered without, and in a list of versions."""
    tags: Mapping[str, str] = field(default_factory=dict, repr=False)
    params: Mapping[str, Any] = field(default_factory=dict)
    """The family and its hyperparameters."""

    @property
    def archived(self) -> bool:
        """Whether somebody has put it away."""
        return ARCHIVED in self.tags

    @property
    def data_revision(self) -> str | None:
        """The project's commit when it was trained."""
        return self.lineage.get("git_commit")


def read_registered(folder: ProjectFolder, model: str | None = None) -> list[ShownVersion]:
    """Return the versions of a model, the latest first, without the results of compiling them.

    Raises:
        ModelNotFound: there is no such model (the project's own may be without a version yet).
        RegistryError: the registry does not answer.
    """
    name = model or folder.model
    try:
        database = open_database(folder)
        if database is None and name == folder.model:
            return []
        if database is None:
            raise _nothing_registered(folder, name)
        with closing(database):
            return [_shown(folder, database, name, row) for row in _versions(database, name, folder.model)]
    except (AskMlflow, sqlite3.Error):
        from tidemill.registry.versions.model_versions import list_versions

        return [_as_shown(version) for version in list_versions(load_project(folder.root), name)]


def read_registered_part(folder: ProjectFolder, begin: int, size: int) -> tuple[list[ShownVersion], int]:
    """Return some versions of the project's model, the latest first, and how many there are.

    Args:
        folder: the project.
        begin: how many of the latest are left out.
        size: how many are returned at most; the documents of no others are read.

    Raises:
        RegistryError: the registry does not answer.
    """
    try:
        database = open_database(folder)
        if database is None:
            return [], 0
        with closing(database):
            rows = _versions(database, folder.model, folder.model)
            part = rows[begin : begin + size]
            return [_shown(folder, database, folder.model, row) for row in part], len(rows)
    except (AskMlflow, sqlite3.Error):
        from tidemill.registry.versions.model_versions import list_versions

        found = list_versions(load_project(folder.root), folder.model)
        return [_as_shown(version) for version in found[begin : begin + size]], len(found)


def read_version(folder: ProjectFolder, version: str, model: str | None = None) -> ShownVersion:
    """Return a version by its number or by an alias.

    Raises:
        ModelNotFound: there is no such model, version or alias; the message names those there are.
        RegistryError: the registry does not answer.
    """
    name = model or folder.model
    try:
        database = open_database(folder)
        if database is None:
            raise _nothing_registered(folder, name)
        with closing(database):
            number = version if version.isdecimal() else _aliases(database, name).get(version)
            for row in _versions(database, name, folder.model):
                if str(row["version"]) == number:
                    return _shown(folder, database, name, row, compiled=True)
        raise AskMlflow  # raises, listing what exists
    except (AskMlflow, sqlite3.Error):
        from tidemill.registry.versions.model_versions import compiled_record, get_version

        project = load_project(folder.root)
        found = get_version(project, version, model)
        record = compiled_record(project, found)
        return replace(_as_shown(found), compiled=record.facts() if record else None)


def read_alias_names(folder: ProjectFolder) -> dict[str, str]:
    """Return alias → version of the project's model; nothing if there is no such model.

    Raises:
        RegistryError: the registry does not answer.
    """
    try:
        database = open_database(folder)
        if database is None:
            return {}
        with closing(database):
            return _aliases(database, folder.model)
    except (AskMlflow, sqlite3.Error):
        from tidemill.registry.versions.aliases import read_aliases

        return read_aliases(folder if isinstance(folder, Project) else load_project(folder.root))


def put_away(folder: ProjectFolder) -> dict[str, bool]:
    """Return version → whether it is archived, of all versions of the project's model that are not deleted.

    Raises:
        RegistryError: the registry does not answer.
    """
    try:
        database = open_database(folder)
        if database is None:
            return {}
        with closing(database):
            archived = {row["version"] for row in database.execute(_ARCHIVED, (folder.model, ARCHIVED))}
            known = [row["version"] for row in _versions(database, folder.model, folder.model)]
            return {str(version): version in archived for version in known}
    except (AskMlflow, sqlite3.Error):
        from tidemill.registry.versions.model_versions import list_versions

        return {one.version: ARCHIVED in one.tags for one in list_versions(load_project(folder.root))}


def read_champion(folder: ProjectFolder) -> str | None:
    """Return the number of the champion, or None if there is none.

    Raises:
        RegistryError: the registry does not answer.
    """
    return read_alias_names(folder).get(CHAMPION)


def _nothing_registered(folder: ProjectFolder, model: str) -> ModelNotFound:
    return ModelNotFound(
        f"there is no model {model!r}: nothing is registered in {folder.root} yet",
        hint="`tidemill run` trains a model, and registers it as a version",
    )


def _versions(database: sqlite3.Connection, model: str, own: str) -> list[sqlite3.Row]:
    known = database.execute("SELECT 1 FROM registered_models WHERE name = ?", (model,)).fetchone()
    if known is None and model != own:
        raise AskMlflow  # raises, listing the models
    return database.execute(_VERSIONS, (model,)).fetchall()


def _aliases(database: sqlite3.Connection, model: str) -> dict[str, str]:
    rows = database.execute("SELECT alias, version FROM registered_model_aliases WHERE name = ?", (model,))
    return {row["alias"]: str(row["version"]) for row in rows}


def _shown(
    folder: ProjectFolder, database: sqlite3.Connection, model: str, row: sqlite3.Row, compiled: bool = False
) -> ShownVersion:
    version = str(row["version"])
    found = database.execute(
        "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?", (model, row["version"])
    )
    tags = {tag["key"]: tag["value"] for tag in found}
    aliases = sorted(alias for alias, named in _aliases(database, model).items() if named == version)
    run = database.execute("SELECT artifact_uri FROM runs WHERE run_uuid = ?", (row["run_id"],)).fetchone()
    files = run["artifact_uri"] if run else ""
    summary = local_summary(folder.root, files, tags)
    return ShownVersion(
        model=model,
        version=version,
        aliases=tuple(aliases),
        run_id=row["run_id"] or "",
        registered_at=datetime.fromtimestamp(row["creation_time"] / 1000, UTC),
        metrics=summary.get("metrics", {}),
        lineage=local_lineage(folder.root, files, tags),
        compiled=local_compiled(folder.root, row["storage_location"] or row["source"], tags)
        if compiled
        else None,
        tags=tags,
        params=_params(summary.get("family"), summary.get("params", {})),
    )


def _params(family: str | None, params: Mapping[str, Any]) -> dict[str, Any]:
    return {} if family is None else {"family": family, **params}


def _as_shown(version: "ModelVersion") -> ShownVersion:
    return ShownVersion(
        model=version.model,
        version=version.version,
        aliases=version.aliases,
        run_id=version.run_id,
        registered_at=version.registered_at,
        metrics=version.metrics,
        lineage=version.lineage.as_dict() if version.lineage else {},
        tags=version.tags,
        params=_params(version.trained.family, version.trained.params) if version.trained else {},
    )
