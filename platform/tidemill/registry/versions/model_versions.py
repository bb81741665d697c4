"""Find and load the versions of a model in MLflow's registry."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from mlflow import MlflowException

from tidemill.errors import ModelNotFound, RegistryError
from tidemill.project import Project
from tidemill.registry.versions.artifacts import (
    CHECK_REGISTRY,
    connect_registry,
    model_files,
    open_version,
    read_model_file,
    read_table,
    search_versions,
)
from tidemill.registry.versions.compiled_versions import CompiledRecord, complete_record
from tidemill.registry.versions.loaded_model import Scorer
from tidemill.registry.versions.model_loading import read_scorer, read_uncompiled
from tidemill.registry.versions.version_record import ModelVersion
from tidemill.training.tracking.mlflow_tracking import store_words
from tidemill.training.tracking.reference_rows import ReferenceRows
from tidemill.training.tracking.run_files import fetch_file
from tidemill.training.tracking.training_result import HOLDOUT, JUDGED, REFERENCE

__all__ = [
    "CHAMPION",
    "ModelVersion",
    "champion",
    "champion_version",
    "compiled_record",
    "experiments_of",
    "files_of",
    "get_version",
    "list_versions",
    "load_holdout",
    "load_judged",
    "load_original",
    "load_reference",
    "load_scorer",
    "open_files",
]

CHAMPION = "champion"
"""The alias of the version that serves."""


def champion_version(project: Project) -> str | None:
    """Return the number of the champion, or None if there is none. Cheap enough to poll.

    Raises:
        RegistryError: the registry does not answer.
    """
    try:
        found = connect_registry(project).get_model_version_by_alias(project.model, CHAMPION)
    except MlflowException as error:
        if _absent(error):
            return None
        raise RegistryError(
            f"the registry cannot say which version of {project.model} is champion: {store_words(error)}",
            hint=CHECK_REGISTRY,
        ) from error
    return str(found.version)


def champion(project: Project) -> ModelVersion | None:
    """Return the champion, or None if there is none."""
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
            return open_version(client, client.get_model_version(model, version))
        return open_version(client, client.get_model_version_by_alias(model, version))
    except MlflowException as error:
        if not _absent(error):
            raise RegistryError(
                f"the registry cannot read {model} {version}: {store_words(error)}",
                hint=CHECK_REGISTRY,
            ) from error
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
            raise RegistryError(
                f"the registry cannot list {model}: {store_words(error)}", hint=CHECK_REGISTRY
            ) from error
        if model == project.model:
            return []
        raise _not_found(project, model, None) from error
    aliases: dict[str, list[str]] = {}
    for alias, version in registered.aliases.items():  # search results lack the aliases
        aliases.setdefault(str(version), []).append(alias)
    versions = [open_version(client, one, aliases.get(str(one.version), [])) for one in found]
    return sorted(versions, key=lambda version: int(version.version), reverse=True)


def experiments_of(project: Project) -> set[str]:
    """Return the ids of the experiments that the versions of the project's model were made in.

    Raises:
        RegistryError: the registry does not answer.
    """
    client, made = connect_registry(project), set[str]()
    for run_id in {one.run_id for one in list_versions(project) if one.run_id}:
        try:
            made.add(str(client.get_run(run_id).info.experiment_id))
        except MlflowException as error:
            if not _absent(error):
                raise RegistryError(
                    f"MLflow cannot say where run {run_id} was made: {store_words(error)}",
                    hint=CHECK_REGISTRY,
                ) from error
    return made


def load_scorer(project: Project, version: str, model: str | None = None) -> Scorer:
    """Load a version to score rows: compiled if possible, else its original model.

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
    with files_of(project, found) as folder:
        return read_scorer(project, found, folder)


def load_judged(project: Project, found: ModelVersion) -> Scorer:
    """Load what was judged on a version's hold-out: the twin that did not learn from it, or the version.

    Raises:
        RegistryError: like `load_scorer`.
    """
    if found.trained is None or found.trained.refitted_on is None:
        return load_scorer(project, found.version)
    with TemporaryDirectory() as folder:
        try:
            files = fetch_file(connect_registry(project), found.run_id, JUDGED, folder)
        except (MlflowException, OSError) as error:
            raise RegistryError(
                f"the judged twin of {found.model} {found.version} cannot be read: {error}",
                hint=f"the folder {JUDGED} of run {found.run_id} has it: restore that from a backup",
            ) from error
        return read_uncompiled(project, found, files, which="judged")


def load_original(project: Project, version: str) -> Scorer:
    """Load a version's original model, even if there is a compiled one.

    Raises:
        ModelNotFound: there is no such version.
        RegistryError: like `load_scorer`.
    """
    found = get_version(project, version)
    with files_of(project, found) as folder:
        return read_uncompiled(project, found, folder)


def compiled_record(project: Project, found: ModelVersion) -> CompiledRecord | None:
    """Return the result of compiling a version; None if it was registered without compiling.

    Raises:
        RegistryError: the file that lists its features cannot be read.
    """
    record = CompiledRecord.from_tags(found.tags)
    if record is None:
        return None
    address = connect_registry(project).get_model_version_download_uri(found.model, found.version)
    return complete_record(record, found.version, lambda path: read_model_file(project, address, path))


@contextmanager
def open_files(project: Project, version: str, model: str | None = None) -> Iterator[Path]:
    """Yield the folder with a version's files, which exists as long as the context lasts.

    Raises:
        ModelNotFound: there is no such version.
        RegistryError: the files cannot be read.
    """
    with files_of(project, get_version(project, version, model)) as folder:
        yield folder


def load_reference(project: Project, version: str) -> ReferenceRows:
    """Return what monitors compare with: features that a version was fitted on, its answers to its hold-out.

    Raises:
        RegistryError: the version has none, because Tidemill did not train it.
    """
    found = get_version(project, version)
    table = read_table(project, found.run_id, REFERENCE, f"{found.model} {found.version}")
    return ReferenceRows.from_table(table, project.config.dataset.label)


def load_holdout(project: Project, version: str) -> pl.DataFrame:
    """Return the rows that were held out when a version was trained: time, label, features.

    Raises:
        RegistryError: the version has none, because Tidemill did not train it.
    """
    found = get_version(project, version)
    return read_table(project, found.run_id, HOLDOUT, f"{found.model} {found.version}")


@contextmanager
def files_of(project: Project, found: ModelVersion) -> Iterator[Path]:
    """Yield the folder with the files of a version that was read already, like `open_files`."""
    try:
        address = connect_registry(project).get_model_version_download_uri(found.model, found.version)
        with model_files(project, address) as folder:
            yield folder
    except (MlflowException, OSError) as error:
        raise RegistryError(
            f"the files of {found.model} {found.version} cannot be read: {error}", hint=CHECK_REGISTRY
        ) from error


def _absent(error: MlflowException) -> bool:
    # MLflow reports a missing alias as an invalid parameter; database errors may mention aliases as well.
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
