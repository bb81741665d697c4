"""Says whether MLflow's runs, logged models and experiments hold files of registered versions.

As in `tidemill.registry.versions.registry_reader`, MLflow is not imported where its database is a local file.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing

from tidemill.project import ProjectFolder, load_project
from tidemill.training.tracking.local_documents import AskMlflow, open_database

__all__ = ["holds_experiment", "holds_version"]

_MADE_OF = """
    SELECT 1 FROM model_versions AS version WHERE current_stage <> 'Deleted_Internal' AND (
        instr(source, :id) OR instr(coalesce(storage_location, ''), :id) OR (run_id = :id AND EXISTS (
            SELECT 1 FROM model_version_tags AS tag WHERE tag.name = version.name
            AND tag.version = version.version AND substr(key, 1, 9) = 'tidemill.'
        ))
    ) LIMIT 1
"""
_IN_EXPERIMENT = """
    SELECT 1 FROM model_versions AS version JOIN runs ON runs.run_uuid = version.run_id
    WHERE current_stage <> 'Deleted_Internal' AND CAST(runs.experiment_id AS TEXT) = :id LIMIT 1
"""


def holds_version(folder: ProjectFolder, name: str) -> bool:
    """Return whether the files of a run or a logged model, by its id, belong to a registered version.

    Those of a run do if Tidemill made the version: it reads what the version was judged on from there.

    Raises:
        RegistryError: the registry does not answer.
    """
    found = _read(folder, _MADE_OF, {"id": name})
    if found is not None:
        return found
    from tidemill.registry.versions.model_versions import list_versions

    versions = list_versions(load_project(folder.root))
    return any(name in one.source or (name == one.run_id and one.trained) for one in versions)


def holds_experiment(folder: ProjectFolder, experiment: str) -> bool:
    """Return whether a registered version was made in an experiment, by its id.

    Raises:
        RegistryError: the registry does not answer.
    """
    found = _read(folder, _IN_EXPERIMENT, {"id": experiment})
    if found is not None:
        return found
    from tidemill.registry.versions.model_versions import experiments_of

    return experiment in experiments_of(load_project(folder.root))


def _read(folder: ProjectFolder, query: str, values: Mapping[str, str]) -> bool | None:
    """Return whether a query of MLflow's local database finds something; None: MLflow must be asked."""
    try:
        database = open_database(folder)
        if database is None:
            return False
        with closing(database):
            return database.execute(query, values).fetchone() is not None
    except (AskMlflow, sqlite3.Error):
        return None
