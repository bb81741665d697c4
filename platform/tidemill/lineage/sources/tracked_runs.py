"""Reads lineage from MLflow: runs, and the versions that were registered from them.

For what MLflow does not have, functions return None or nothing, and the chain shows a gap. If MLflow does not
answer, they raise an error.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mlflow import MlflowClient, MlflowException

from tidemill.errors import RegistryError
from tidemill.project import Project
from tidemill.registry.versions.artifacts import open_version
from tidemill.registry.versions.version_record import ModelVersion
from tidemill.training.tracking.mlflow_tracking import PARENT, TURN, connect, store_words
from tidemill.training.tracking.run_lineage import Lineage
from tidemill.training.tracking.training_record import open_documents, read_lineage

__all__ = ["TrainingRun", "find_run", "models", "runs_of", "versions", "versions_of_run"]

_PAGE = 1000
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the second: an id that no run can have


@dataclass(frozen=True)
class TrainingRun:
    """The facts of a run that lineage shows."""

    run_id: str
    status: str
    name: str
    started_at: datetime | None
    """Wall-clock, UTC."""
    lineage: Lineage | None
    """None for a trial, and for a run that Tidemill did not make."""
    turn_id: str | None
    parent: str | None
    """The run that this run is a trial of."""
    commit: str | None
    """The code's commit, as MLflow itself recorded it."""
    deleted: bool


def find_run(project: Project, run_id: str) -> TrainingRun | None:
    """Return a run, or None if MLflow does not have it.

    Raises:
        RegistryError: MLflow does not answer.
    """
    client = connect(project)
    with _answers():
        try:
            return _read(client, client.get_run(run_id))
        except MlflowException as error:
            if error.error_code in _ABSENT:
                return None
            raise


def runs_of(
    project: Project,
    *,
    digest: str | None = None,
    revision: str | None = None,
    service: str | None = None,
    turn_id: str | None = None,
) -> Iterator[TrainingRun]:
    """Yield the training runs whose lineage has all of the given values, the latest first.

    Args:
        project: the project whose experiment is searched.
        digest: MD5 of one of the data files, or the start of it.
        revision: the data version.
        service: name of the feature service.
        turn_id: the turn that the runs belong to.
    """
    client = connect(project)
    with _answers():
        experiment = client.get_experiment_by_name(project.config.project.name)
    if experiment is None:
        return
    conditions = ["tags.`tidemill.role` = 'search'"]
    for tag, value in (
        ("tidemill.lineage.git_commit", revision),
        ("tidemill.lineage.feature_service", service),
        (TURN, turn_id),
    ):
        if value is not None:
            conditions.append(f"tags.`{tag}` = '{_plain(value)}'")
    for run in _pages(client, experiment.experiment_id, " and ".join(conditions)):
        data = run.lineage.data.values() if run.lineage else ()
        if digest is None or any(md5.startswith(digest) for md5 in data):
            yield run


def versions(project: Project, model: str) -> list[ModelVersion]:
    """Return all versions of a model, the latest first; nothing if the registry does not have the model.

    This avoids `tidemill.registry.versions.model_versions.list_versions`, which takes seconds to import.

    Raises:
        RegistryError: MLflow does not answer, or a version's tags are broken.
    """
    client, found, token = connect(project), list[Any](), None
    with _answers():
        known = list(client.search_registered_models(f"name = '{_plain(model)}'"))
        while known:
            page = client.search_model_versions(f"name = '{_plain(model)}'", page_token=token)
            found += page
            token = page.token
            if not token:
                break
    aliases: dict[str, list[str]] = {}
    for alias, number in known[0].aliases.items() if known else ():
        aliases.setdefault(str(number), []).append(alias)
    read = [open_version(client, each, aliases.get(str(each.version), [])) for each in found]
    return sorted(read, key=lambda version: int(version.version), reverse=True)


def versions_of_run(project: Project, run_id: str) -> list[tuple[str, str]]:
    """Return model and number of the versions that were registered from a run."""
    with _answers():
        found = connect(project).search_model_versions(f"run_id = '{_plain(run_id)}'")
    return sorted(((each.name, str(each.version)) for each in found), key=lambda each: int(each[1]))


def models(project: Project) -> list[str]:
    """Return the names of the registered models."""
    with _answers():
        return [found.name for found in connect(project).search_registered_models(max_results=100)]


@contextmanager
def _answers() -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        raise RegistryError(
            f"MLflow does not answer: {store_words(error)}",
            hint="check that the server of TIDEMILL_TRACKING_URI runs, and that you may read there",
        ) from error


def _pages(client: MlflowClient, experiment: str, condition: str) -> Iterator[TrainingRun]:
    token = None
    while True:
        with _answers():
            page = client.search_runs([experiment], condition, max_results=_PAGE, page_token=token)
        yield from (_read(client, run) for run in page)
        token = page.token
        if not token:
            return


def _read(client: MlflowClient, run: Any) -> TrainingRun:
    tags = run.data.tags
    try:
        lineage = read_lineage(tags, open_documents(client, run.info.run_id, tags))
    except RegistryError:
        lineage = None
    began = run.info.start_time
    return TrainingRun(
        run_id=run.info.run_id,
        status=run.info.status,
        name=run.info.run_name or "",
        started_at=datetime.fromtimestamp(began / 1000, UTC) if began else None,
        lineage=lineage,
        turn_id=tags.get(TURN),
        parent=tags.get(PARENT),
        commit=tags.get("mlflow.source.git.commit"),
        deleted=run.info.lifecycle_stage == "deleted",
    )


def _plain(value: str) -> str:
    """Return a value without quotes, so that it cannot end the string literal around it; ours have none."""
    return value.replace("'", "").replace("%", "")
