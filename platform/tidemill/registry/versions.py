"""MLflow's model registry: the versions of a model, which of them is champion, and loading them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow.artifacts
import polars as pl
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tidemill.errors import ModelNotFound, RegistryError, TrainingError
from tidemill.project import Project
from tidemill.registry.record import ModelVersion, describe, read_version, version_tags
from tidemill.registry.scoring import Scorer, read_scorer
from tidemill.training.lineage import Lineage
from tidemill.training.spec import load_spec
from tidemill.training.tracking import connect
from tidemill.training.trained import HOLDOUT, REFERENCE, TrainedModel

__all__ = [
    "CHAMPION",
    "ModelVersion",
    "champion",
    "champion_version",
    "get_version",
    "list_versions",
    "load_holdout",
    "load_reference",
    "load_scorer",
    "register",
]

CHAMPION = "champion"
"""The alias of the version that serves."""


def register(project: Project, run_id: str, turn_id: str | None = None) -> str:
    """Make a finished training a version of the project's model, and return the version's number.

    A run is registered once: asked again, the same version comes back.

    Raises:
        RegistryError: there is no such run, it did not finish, or MLflow refused.
    """
    client = _connect(project)
    try:
        run = client.get_run(run_id)
        if run.info.status != "FINISHED":
            raise RegistryError(
                f"run {run_id} is {run.info.status}, only a finished training can be registered",
                hint="train again: `tidemill run`",
            )
        trained = TrainedModel.from_tags(run_id, run.data.tags)
        lineage = Lineage.from_tags(run.data.tags)
        _create_model(client, project.model)
        known = client.search_model_versions(f"name = '{project.model}' and run_id = '{run_id}'")
        if known:
            return str(known[0].version)
        version = client.create_model_version(
            project.model,
            source=_source(project, client, trained.model_uri),
            run_id=run_id,
            model_id=trained.model_uri.removeprefix("models:/"),
            tags=version_tags(trained, lineage, turn_id),
            description=describe(trained, lineage, project.config.train.metric),
        )
    except MlflowException as error:
        raise RegistryError(f"run {run_id} cannot be registered as {project.model}: {error}") from error
    return str(version.version)


def champion_version(project: Project) -> str | None:
    """Return the number of the champion, none if there is none. Cheap: made for pollers.

    Raises:
        RegistryError: the registry does not answer.
    """
    try:
        found = _connect(project).get_model_version_by_alias(project.model, CHAMPION)
    except MlflowException as error:
        if _absent(error):
            return None
        raise RegistryError(
            f"the registry does not say which {project.model} is champion: {error}"
        ) from error
    return str(found.version)


def champion(project: Project) -> ModelVersion | None:
    """Return the champion, none if there is none."""
    version = champion_version(project)
    return get_version(project, version) if version else None


def get_version(project: Project, version: str, model: str | None = None) -> ModelVersion:
    """Return a version by its number or by an alias.

    Raises:
        ModelNotFound: there is no such model, version or alias; the message names those there are.
    """
    client, model = _connect(project), model or project.model
    try:
        if version.isdecimal():
            return read_version(client.get_model_version(model, version))
        return read_version(client.get_model_version_by_alias(model, version))
    except MlflowException as error:
        if not _absent(error):
            raise RegistryError(f"the registry cannot read {model} {version}: {error}") from error
        raise _not_found(project, model, version) from error


def list_versions(project: Project, model: str | None = None) -> list[ModelVersion]:
    """Return all versions of a model, the latest first.

    Raises:
        ModelNotFound: there is no such model (the project's own may be without a version yet).
    """
    client, model = _connect(project), model or project.model
    try:
        registered = client.get_registered_model(model)
        found = _search(client, model)
    except MlflowException as error:
        if not _absent(error):
            raise RegistryError(f"the registry cannot list {model}: {error}") from error
        if model == project.model:
            return []
        raise _not_found(project, model, None) from error
    aliases: dict[str, list[str]] = {}
    for alias, version in registered.aliases.items():  # a search does not bring the aliases along
        aliases.setdefault(str(version), []).append(alias)
    versions = [read_version(version, aliases.get(str(version.version), [])) for version in found]
    return sorted(versions, key=lambda version: int(version.version), reverse=True)


def load_scorer(project: Project, version: str) -> Scorer:
    """Load a version so that it can score rows.

    Args:
        project: whose model it is.
        version: a number or an alias.

    Raises:
        ModelNotFound: there is no such version.
        RegistryError: it cannot be loaded safely: it is not saved in the skops format, or it holds types that
            neither skops, scikit-learn nor the project's training spec vouch for.
    """
    found = get_version(project, version)
    recorded = found.trained.trusted_types if found.trained else ()
    client = _connect(project)
    try:
        address = client.get_model_version_download_uri(found.model, found.version)
        with _files(project, address) as folder:
            return read_scorer(folder, found.version, recorded, lambda: load_spec(project).trusted_types)
    except (MlflowException, OSError) as error:
        raise RegistryError(f"the files of {found.model} {found.version} cannot be read: {error}") from error


def load_reference(project: Project, version: str) -> pl.DataFrame:
    """Return a sample of the rows that a version was fitted on: features, label, and its ``score``.

    Raises:
        RegistryError: the version has none, because Tidemill did not train it.
    """
    return _table(project, version, REFERENCE)


def load_holdout(project: Project, version: str) -> pl.DataFrame:
    """Return the rows that were held out when a version was trained: time, label, features.

    Raises:
        RegistryError: the version has none, because Tidemill did not train it.
    """
    return _table(project, version, HOLDOUT)


def _table(project: Project, version: str, artifact: str) -> pl.DataFrame:
    found = get_version(project, version)
    try:
        with TemporaryDirectory() as folder:
            path = _connect(project).download_artifacts(found.run_id, artifact, folder)
            return pl.read_parquet(path, memory_map=False)
    except (MlflowException, OSError) as error:
        raise RegistryError(
            f"{found.model} {found.version} has no {artifact}: {error}",
            hint="only versions that Tidemill trained have one",
        ) from error


@contextmanager
def _files(project: Project, address: str) -> Iterator[Path]:
    """Give a local path of what is at ``address``: in place if it is on this machine, else a copy."""
    with TemporaryDirectory() as folder:
        here = address.startswith(("file:", "/"))
        yield Path(
            mlflow.artifacts.download_artifacts(
                artifact_uri=address, dst_path=None if here else folder, tracking_uri=project.tracking_uri
            )
        )


def _connect(project: Project) -> MlflowClient:
    try:
        return connect(project)
    except TrainingError as error:
        raise RegistryError(str(error), hint=error.hint) from error


def _create_model(client: MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _source(project: Project, client: MlflowClient, model_uri: str) -> str:
    # MLflow's SQL registry looks `models:/m-…` up in the process-wide "current" store, which is not ours.
    if project.tracking_uri.startswith("http"):
        return model_uri
    return str(client.get_logged_model(model_uri.removeprefix("models:/")).artifact_location)


def _search(client: MlflowClient, model: str) -> list[Any]:
    found: list[Any] = []
    token: str | None = None
    while True:
        page = client.search_model_versions(f"name = '{model}'", page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _absent(error: MlflowException) -> bool:
    # MLflow calls a missing alias an invalid parameter.
    return error.error_code == "RESOURCE_DOES_NOT_EXIST" or "alias" in str(error).lower()


def _not_found(project: Project, model: str, version: str | None) -> ModelNotFound:
    client = _connect(project)
    names = [found.name for found in client.search_registered_models(max_results=100)]
    if model not in names:
        there = f"the registry has: {', '.join(names)}" if names else "the registry is empty"
        own = model == project.model
        return ModelNotFound(
            f"there is no model {model!r}; {there}",
            hint="`tidemill run` makes a version" if own else "check the spelling, or `tidemill models list`",
        )
    known = list_versions(project, model)
    there = ", ".join(
        f"{one.version} ({', '.join(one.aliases)})" if one.aliases else one.version for one in known
    )
    kind = "version" if version and version.isdecimal() else "alias"
    return ModelNotFound(
        f"model {model!r} has no {kind} {version!r}: its versions are {there or 'none yet'}",
        hint=f"`tidemill models list {model}` shows them",
    )
