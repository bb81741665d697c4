"""Register finished trainings as versions of a model, and compile them."""

from pathlib import Path

import pandas as pd
from mlflow import MlflowClient, MlflowException

from tidemill.errors import RegistryError
from tidemill.project import Project
from tidemill.registry.versions.artifacts import (
    CHECK_REGISTRY,
    connect_registry,
    file_writer,
    model_files,
    model_source,
    read_table,
)
from tidemill.registry.versions.compiled_versions import CompiledRecord, compile_scorer
from tidemill.registry.versions.model_loading import example_rows, read_uncompiled
from tidemill.registry.versions.model_versions import files_of, get_version
from tidemill.registry.versions.version_record import describe, version_tags
from tidemill.tasks.task_choice import make_task
from tidemill.training.spec_loading import load_spec
from tidemill.training.tracking.mlflow_tracking import store_words
from tidemill.training.tracking.training_record import open_documents, read_lineage, read_summary
from tidemill.training.tracking.training_result import HOLDOUT, TrainedModel

__all__ = ["compile_version", "register"]


def register(project: Project, run_id: str, turn_id: str | None = None) -> str:
    """Make a finished training a version of the project's model, and return the version's number.

    The model is compiled first, and the version is created with the result on record, so a kill here
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
        read = open_documents(client, run_id, run.data.tags)
        trained = read_summary(run_id, run.data.tags, read)
        lineage = read_lineage(run.data.tags, read)
        _create_model(client, project.model)
        known = client.search_model_versions(f"name = '{project.model}' and run_id = '{run_id}'")
        if known:
            return str(known[0].version)
        version = client.create_model_version(
            project.model,
            source=model_source(project, client, trained.model_uri),
            run_id=run_id,
            model_id=trained.model_uri.removeprefix("models:/"),
            tags={**version_tags(run.data.tags, turn_id), **_compiled(project, client, trained).tags()},
            description=describe(trained, lineage, project.config.train.metric),
        )
    except MlflowException as error:
        raise RegistryError(
            f"run {run_id} cannot be registered as {project.model}: {store_words(error)}",
            hint=CHECK_REGISTRY,
        ) from error
    return str(version.version)


def compile_version(project: Project, version: str, model: str | None = None) -> CompiledRecord:
    """Compile a version that is registered already, and record the result.

    The answers are compared on its hold-out rows; on the example that was saved with it if it has none,
    because Tidemill did not train it.

    Raises:
        ModelNotFound: there is no such version.
        RegistryError: its files cannot be read or written.
    """
    found, client = get_version(project, version, model), connect_registry(project)
    try:
        with files_of(project, found) as folder:
            rows, original = (
                _real_rows(project, found.run_id, folder),
                read_uncompiled(project, found, folder),
            )
        address = client.get_model_version_download_uri(found.model, found.version)
        record = compile_scorer(original, rows, file_writer(project, address))
        for key, value in record.tags().items():
            client.set_model_version_tag(found.model, found.version, key, value)
    except (MlflowException, OSError) as error:
        raise RegistryError(
            f"{found.model} {found.version} cannot be compiled: {error}", hint=CHECK_REGISTRY
        ) from error
    return record


def _compiled(project: Project, client: MlflowClient, trained: TrainedModel) -> CompiledRecord:
    """Compile a model that is about to become a version; a problem is recorded as a reason, not raised."""
    if project.config.serve.compiled == "off":
        return CompiledRecord("refused", "serve.compiled was off when it was registered")
    from tidemill.registry.versions.original_models import (
        UNNUMBERED,
        read_original,  # importing scikit-learn takes seconds, and readers do not need it
    )

    address = str(client.get_logged_model(trained.model_uri.removeprefix("models:/")).artifact_location)
    try:
        with model_files(project, address) as folder:
            rows = _real_rows(project, trained.run_id, folder)
            original = read_original(
                folder,
                UNNUMBERED,
                trained.trusted_types,
                lambda: load_spec(project).trusted_types,
                task=make_task(trained.target, project.load),
                places=trained.places,
            ).with_lists(trained.features, trained.lists)
        return compile_scorer(original, rows, file_writer(project, address))
    except (RegistryError, MlflowException, OSError) as error:
        return CompiledRecord("refused", str(error))


def _real_rows(project: Project, run_id: str, folder: Path) -> pd.DataFrame:
    try:
        return read_table(project, run_id, HOLDOUT, f"run {run_id}").to_pandas()
    except RegistryError:
        return example_rows(folder)


def _create_model(client: MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
