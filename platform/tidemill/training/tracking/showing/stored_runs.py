"""Read runs from MLflow's database in a local SQLite file without importing MLflow.

MLflow's tables are no public interface. Its runs are read here because importing MLflow takes seconds, and
its client reads each of ten thousand runs with all its metrics and tags. Where the tables or files are not as
expected, or elsewhere, MLflow is asked. A test compares both answers.
"""

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tidemill.errors import RunNotFound, UsageError
from tidemill.project import ProjectFolder, load_project
from tidemill.training.tracking.killed_runs import TurnsAtRest
from tidemill.training.tracking.local_documents import AskMlflow, open_database
from tidemill.training.tracking.origins.origin_files import read_origin_of
from tidemill.training.tracking.run_values import (
    FRONT,
    ORIGIN_PREFIX,
    PARENT,
    ROLE,
    UNCOMMITTED,
    WholeRun,
    tracked_run,
)

__all__ = [
    "IS_ITS",
    "OF_PROJECT",
    "names_of",
    "read_project_front",
    "read_project_runs",
    "versions_in",
]

_LEAST = 4
"""Characters of an id that is not whole."""
_RUN_ID = 32

OF_PROJECT = """
    FROM runs AS run JOIN experiments AS experiment ON experiment.experiment_id = run.experiment_id
    LEFT JOIN tags AS origin ON origin.run_uuid = run.run_uuid AND origin.key = :origin
"""
IS_ITS = "(experiment.name = :experiment OR origin.value = :experiment)"
_FIND = f"SELECT run.run_uuid {OF_PROJECT} WHERE {IS_ITS} AND run.run_uuid BETWEEN :begin AND :end LIMIT 4"
_VERSIONS = """
    SELECT run_id, version FROM model_versions
    WHERE name = ? AND current_stage <> 'Deleted_Internal' ORDER BY version
"""


def read_project_runs(folder: ProjectFolder, names: Sequence[str]) -> list[WholeRun]:
    """Return runs of the project with what they were made from, in the order of ``names``.

    Args:
        folder: the project.
        names: ids of runs, or the first characters of them, at least four.

    Raises:
        RunNotFound: there is no such run in the project.
        UsageError: several begin like this.
        NotAnswering: MLflow's store is away, or cannot be read.
    """
    rest = TurnsAtRest(folder)
    try:
        database = open_database(folder)
        if database is None:
            raise _not_found(folder, names[0])
        with closing(database):
            versions = versions_in(database, folder.model)
            found = [_whole(folder, database, _found(folder, database, name), versions) for name in names]
            runs = rest.shown(one.run for one in found)
            return [replace(one, run=run) for one, run in zip(found, runs, strict=True)]
    except (AskMlflow, sqlite3.Error):
        from tidemill.training.tracking.whole_runs import find_run_id, read_whole_runs

        project = load_project(folder.root)
        return read_whole_runs(project, [find_run_id(project, name) for name in names])


def read_project_front(folder: ProjectFolder, run_id: str) -> list[dict[str, Any]]:
    """Return the trials of a search that no other one beats in all metrics; none if it had a single one.

    Each has ``run_id``, ``family``, ``params`` and ``metrics``, named and signed as on record.

    Raises:
        NotAnswering: MLflow's store is away, or the file cannot be read.
    """
    try:
        database = open_database(folder)
        if database is None:
            return []
        with closing(database):
            row = database.execute("SELECT * FROM runs WHERE run_uuid = ?", (run_id,)).fetchone()
        place = _place(folder, row["artifact_uri"], "lineage.json").parent / FRONT
        return [dict(one) for one in json.loads(place.read_bytes())] if place.is_file() else []
    except (AskMlflow, sqlite3.Error, ValueError):
        from tidemill.training.tracking.whole_runs import read_front

        return read_front(load_project(folder.root), run_id)


def names_of(folder: ProjectFolder) -> dict[str, str]:
    """Return what queries for runs of the project fill in."""
    section = folder.params["project"]
    return {
        "experiment": str(section.get("name") or folder.model),
        "origin": f"{ORIGIN_PREFIX}project",
        "own_commit": f"{ORIGIN_PREFIX}commit",
        "changed": UNCOMMITTED,
        "parent": PARENT,
        "role": ROLE,
    }


def versions_in(database: sqlite3.Connection, model: str) -> dict[str, tuple[str, ...]]:
    """Return run → the versions of a model that were registered from it."""
    found: dict[str, tuple[str, ...]] = {}
    for row in database.execute(_VERSIONS, (model,)):
        found[row["run_id"]] = (*found.get(row["run_id"], ()), str(row["version"]))
    return found


def _found(folder: ProjectFolder, database: sqlite3.Connection, name: str) -> str:
    """Return the id of the run that a name means."""
    if not _LEAST <= len(name) <= _RUN_ID:
        raise _not_found(folder, name)
    ends = {"begin": name.lower(), "end": name.lower().ljust(_RUN_ID, "g")}
    found = [row["run_uuid"] for row in database.execute(_FIND, {**names_of(folder), **ends})]
    if len(found) > 1:
        raise UsageError(
            f"several runs of {folder.model} begin with {name!r}: {', '.join(found[:3])}",
            hint="write more characters of the id",
        )
    if not found:
        # A version may be registered from a run of another experiment: MLflow's own code looks for that.
        if len(name) == _RUN_ID:
            raise AskMlflow
        raise _not_found(folder, name)
    return str(found[0])


def _not_found(folder: ProjectFolder, name: str) -> RunNotFound:
    return RunNotFound(
        f"there is no run {name!r} of {folder.model}",
        hint=f"`tidemill runs list --show all` shows them; write at least {_LEAST} characters of an id",
    )


def _whole(
    folder: ProjectFolder, database: sqlite3.Connection, run_id: str, versions: Mapping[str, tuple[str, ...]]
) -> WholeRun:
    from tidemill.training.tracking.run_lineage import PATCH, Lineage
    from tidemill.training.tracking.training_result import TrainedModel

    row = database.execute("SELECT * FROM runs WHERE run_uuid = ?", (run_id,)).fetchone()
    tags = _pairs(database, "tags", run_id)
    metrics = "SELECT key, value FROM latest_metrics WHERE run_uuid = ? AND NOT is_nan"
    values = {each["key"]: each["value"] for each in database.execute(metrics, (run_id,))}
    lineage = _document(folder, row["artifact_uri"], "lineage.json", tags.get("tidemill.lineage.sha256"))
    summary = _document(folder, row["artifact_uri"], "summary.json", tags.get("tidemill.summary.sha256"))
    if lineage is None and any(key.startswith("tidemill.lineage.") for key in tags):
        raise AskMlflow  # a record of an earlier release
    run = tracked_run(row, tags, values, _pairs(database, "params", run_id))
    origin, patch, trouble = read_origin_of(folder.home, run.origin.get("record"))
    made_of = None if lineage is None else Lineage.from_dict(lineage)
    if made_of is not None and made_of.has_patch:
        patch = _place(folder, row["artifact_uri"], PATCH).read_bytes()
    return WholeRun(
        run=run,
        lineage=made_of,
        trained=None if summary is None else TrainedModel.from_json(run_id, json.dumps(summary)),
        origin=origin,
        patch=patch,
        versions=versions.get(run_id, ()),
        trouble=trouble,
    )


def _pairs(database: sqlite3.Connection, table: str, run_id: str) -> dict[str, str]:
    rows = database.execute(f"SELECT key, value FROM {table} WHERE run_uuid = ?", (run_id,))  # noqa: S608
    return {row["key"]: row["value"] for row in rows}


def _document(folder: ProjectFolder, address: str, path: str, sha256: str | None) -> dict[str, Any] | None:
    """Return a JSON file of a run; None if no digest of it is recorded."""
    if sha256 is None:
        return None
    content = _place(folder, address, path).read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise AskMlflow  # says what is wrong with it
    found: dict[str, Any] = json.loads(content)
    return found


def _place(folder: ProjectFolder, address: str, path: str) -> Path:
    """Return where a file of a run is; of a project that was moved or copied, in its present folder."""
    parts = urlsplit(address)
    place = Path(unquote(parts.path) if parts.scheme else address)
    _, inside, rest = str(place).rpartition("/.tidemill/artifacts/")
    if inside and not place.is_relative_to(folder.root):
        place = folder.home / "artifacts" / rest
    if parts.scheme not in ("", "file") or not (place / path).is_file():
        raise AskMlflow
    return place / path
