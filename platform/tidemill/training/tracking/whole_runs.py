"""Reads runs from MLflow with all that is on record of what they were made from."""

import json
from collections.abc import Sequence
from typing import Any

from mlflow import MlflowException

from tidemill.errors import NotAnswering, UsageError
from tidemill.project import Project
from tidemill.training.tracking.mlflow_tracking import connect
from tidemill.training.tracking.origins.origin_files import read_origin_of
from tidemill.training.tracking.run_files import read_file
from tidemill.training.tracking.run_lineage import PATCH
from tidemill.training.tracking.run_reading import (
    answering_store,
    read_documents,
    read_runs,
    run_not_found,
    versions_by_run,
)
from tidemill.training.tracking.run_values import FRONT, TrackedRun, WholeRun

__all__ = ["find_run_id", "read_front", "read_whole_runs"]

_WHOLE = 32
_SHORTEST = 4
"""Characters of an id that is not whole, at least."""


def find_run_id(project: Project, name: str) -> str:
    """Return the id of the run that a name means: an id, or the first characters of one.

    Raises:
        RunNotFound: there is none, or the name is too short.
        UsageError: several begin like this.
        NotAnswering: MLflow's store is away, or cannot be read.
    """
    if len(name) == _WHOLE:
        return name
    if len(name) < _SHORTEST or not name.isalnum():
        raise run_not_found(project, name)
    with answering_store(project) as client:
        experiments = [each.experiment_id for each in client.search_experiments()]
        like = f"attributes.run_id LIKE '{name.lower()}%'"
        found = [run.info.run_id for run in client.search_runs(experiments, like, max_results=4)]
    if not found:
        raise run_not_found(project, name)
    if len(found) > 1:
        raise UsageError(
            f"several runs begin with {name!r}: {', '.join(found[:3])}",
            hint="write more characters of the id",
        )
    return str(found[0])


def read_whole_runs(project: Project, run_ids: Sequence[str]) -> list[WholeRun]:
    """Return runs with all that is on record of what they were made from, each once.

    Raises:
        RunNotFound: there is no such run in the project.
        NotAnswering: MLflow's store is away, or cannot be read.
    """
    runs = read_runs(project, run_ids)
    versions = versions_by_run(project, [run.run_id for run in runs])
    return [_whole(project, run, tuple(versions.get(run.run_id, ()))) for run in runs]


def read_front(project: Project, run_id: str) -> list[dict[str, Any]]:
    """Return the trials of a search that no other one beats in all metrics; none if it had a single one.

    Each has ``run_id``, ``params`` and ``metrics``, named and signed as on record.

    Raises:
        NotAnswering: MLflow's store is away, or the file cannot be read.
    """
    with answering_store(project) as client:
        if not any(one.path == FRONT for one in client.list_artifacts(run_id, FRONT.partition("/")[0])):
            return []
        try:
            found = json.loads(read_file(client, run_id, FRONT))
        except ValueError as error:
            raise NotAnswering(
                f"{FRONT} of run {run_id} cannot be read: {error}", hint="the run's files in MLflow have it"
            ) from error
        return [dict(one) for one in found]


def _whole(project: Project, run: TrackedRun, versions: tuple[str, ...]) -> WholeRun:
    lineage, trained, trouble = read_documents(project, run)
    origin, patch, missing = read_origin_of(project.home, run.origin.get("record"))
    if lineage is not None and lineage.has_patch:
        try:
            patch = read_file(connect(project), run.run_id, PATCH)
        except (MlflowException, OSError) as error:
            missing = f"{PATCH} of run {run.run_id} cannot be read: {error}"
    return WholeRun(run, lineage, trained, origin, patch, versions, trouble or missing)
