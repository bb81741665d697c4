"""MLflow's model registry: the versions of a model, which of them is champion, and loading them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import polars as pl
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tidemill.errors import ModelNotFound, RegistryError
from tidemill.project import Project
from tidemill.registry.versions.artifacts import (
    connect_registry,
    keeper,
    model_files,
    model_source,
    read_table,
    search_versions,
)
from tidemill.registry.versions.compiled_versions import CompiledRecord, compile_scorer
from tidemill.registry.versions.loaded_model import Scorer
from tidemill.registry.versions.model_loading import example_rows, read_made, read_scorer
from tidemill.registry.versions.version_record import ModelVersion, describe, read_version, version_tags
from tidemill.training.model_spec import load_spec
from tidemill.training.tracking.run_lineage import Lineage
from tidemill.training.tracking.training_result import HOLDOUT, REFERENCE, TrainedModel

__all__ = [
    "CHAMPION",
    "ModelVersion",
    "champion",
    "champion_version",
    "compile_version",
    "get_version",
    "list_versions",
    "load_holdout",
    "load_original",
    "load_reference",
    "load_scorer",
    "open_files",
    "register",
]

CHAMPION = "champion"
"""The alias of the version that serves."""


def register(project: Project, run_id: str, turn_id: str | None = None) -> str:
    """Make a finished training a version of the project's model, and return the version's number.

    The model is compiled first: the version is born with what came of it on record, so whoever is killed here
    leaves no version, or a whole one. A run is registered once: asked again, the same version comes back.

    Raises:
        RegistryError: there is no such run, it did not finish, or MLflow refused.
    """
    client = connect_registry(project)
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
            source=model_source(project, client, trained.model_uri),
            run_id=run_id,
            model_id=trained.model_uri.removeprefix("models:/"),
            tags={**version_tags(trained, lineage, turn_id), **_compiled(project, client, trained).tags()},
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
        found = connect_registry(project).get_model_version_by_alias(project.model, CHAMPION)
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
    client, model = connect_registry(project), model or project.model
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
    client, model = connect_registry(project), model or project.model
    try:
        registered = client.get_registered_model(model)
        found = search_versions(client, model)
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


def load_scorer(project: Project, version: str, model: str | None = None) -> Scorer:
    """Load a version so that it can score rows: compiled if it can be, else as it was made.

    Args:
        project: whose model it is.
        version: a number or an alias.
        model: name of the registered model; default: the project's.

    Raises:
        ModelNotFound: there is no such version.
        ModelUnsafe: it could execute code when it is loaded, and the project does not name it.
        RegistryError: it is damaged, or its files cannot be read.
    """
    found = get_version(project, version, model)
    with _files_of(project, found) as folder:
        return read_scorer(project, found, folder)


def load_original(project: Project, version: str) -> Scorer:
    """Load a version as it was made, whatever there is compiled.

    Raises:
        ModelNotFound: there is no such version.
        RegistryError: like `load_scorer`.
    """
    found = get_version(project, version)
    with _files_of(project, found) as folder:
        return read_made(project, found, folder)


def compile_version(project: Project, version: str, model: str | None = None) -> CompiledRecord:
    """Compile a version that is registered already, and put on record what came of it.

    The answers are compared on its hold-out rows; on the example that was saved with it if it has none,
    because Tidemill did not train it.

    Raises:
        ModelNotFound: there is no such version.
        RegistryError: its files cannot be read or written.
    """
    found, client = get_version(project, version, model), connect_registry(project)
    try:
        with _files_of(project, found) as folder:
            rows, original = _real_rows(project, found.run_id, folder), read_made(project, found, folder)
        address = client.get_model_version_download_uri(found.model, found.version)
        record = compile_scorer(original, rows, keeper(project, address))
        for key, value in record.tags().items():
            client.set_model_version_tag(found.model, found.version, key, value)
    except (MlflowException, OSError) as error:
        raise RegistryError(f"{found.model} {found.version} cannot be compiled: {error}") from error
    return record


@contextmanager
def open_files(project: Project, version: str, model: str | None = None) -> Iterator[Path]:
    """Give the folder with a version's files for as long as the context lasts.

    Raises:
        ModelNotFound: there is no such version.
        RegistryError: the files cannot be read.
    """
    with _files_of(project, get_version(project, version, model)) as folder:
        yield folder


def load_reference(project: Project, version: str) -> pl.DataFrame:
    """Return a sample of the rows that a version was fitted on: features, label, and its ``score``.

    Raises:
        RegistryError: the version has none, because Tidemill did not train it.
    """
    found = get_version(project, version)
    return read_table(project, found.run_id, REFERENCE, f"{found.model} {found.version}")


def load_holdout(project: Project, version: str) -> pl.DataFrame:
    """Return the rows that were held out when a version was trained: time, label, features.

    Raises:
        RegistryError: the version has none, because Tidemill did not train it.
    """
    found = get_version(project, version)
    return read_table(project, found.run_id, HOLDOUT, f"{found.model} {found.version}")


def _compiled(project: Project, client: MlflowClient, trained: TrainedModel) -> CompiledRecord:
    """Compile a model that is about to become a version; whatever is in the way is a reason, not an error."""
    if project.config.serve.compiled == "off":
        return CompiledRecord("refused", "serve.compiled was off when it was registered")
    from tidemill.registry.versions.original_models import (
        read_original,  # scikit-learn takes seconds; reading asks for none
    )

    address = str(client.get_logged_model(trained.model_uri.removeprefix("models:/")).artifact_location)
    try:
        with model_files(project, address) as folder:
            rows = _real_rows(project, trained.run_id, folder)
            original = read_original(
                folder, "to be", trained.trusted_types, lambda: load_spec(project).trusted_types
            )
        return compile_scorer(original, rows, keeper(project, address))
    except (RegistryError, MlflowException, OSError) as error:
        return CompiledRecord("refused", str(error))


def _real_rows(project: Project, run_id: str, folder: Path) -> pd.DataFrame:
    try:
        return read_table(project, run_id, HOLDOUT, f"run {run_id}").to_pandas()
    except RegistryError:
        return example_rows(folder)


@contextmanager
def _files_of(project: Project, found: ModelVersion) -> Iterator[Path]:
    try:
        address = connect_registry(project).get_model_version_download_uri(found.model, found.version)
        with model_files(project, address) as folder:
            yield folder
    except (MlflowException, OSError) as error:
        raise RegistryError(f"the files of {found.model} {found.version} cannot be read: {error}") from error


def _create_model(client: MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _absent(error: MlflowException) -> bool:
    # MLflow calls a missing alias an invalid parameter; what ails its database may name aliases as well.
    code, said = error.error_code, str(error).lower()
    return code == "RESOURCE_DOES_NOT_EXIST" or (code == "INVALID_PARAMETER_VALUE" and "alias" in said)


def _not_found(project: Project, model: str, version: str | None) -> ModelNotFound:
    client = connect_registry(project)
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
