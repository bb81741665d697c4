"""Load a version compiled if possible, else as its original model."""

import logging
from pathlib import Path

import pandas as pd
from mlflow.exceptions import MlflowException

from tidemill.errors import RegistryError
from tidemill.files.yaml_reading import YamlError
from tidemill.project import Project
from tidemill.registry.versions.compiled_versions import CompiledRecord, read_compiled
from tidemill.registry.versions.loaded_model import Scorer
from tidemill.registry.versions.model_description import read_description
from tidemill.registry.versions.version_record import ModelVersion
from tidemill.tasks.task import Task
from tidemill.tasks.task_choice import make_task
from tidemill.training.spec_loading import load_spec

__all__ = ["example_rows", "read_scorer", "read_uncompiled"]

_log = logging.getLogger(__name__)


def read_scorer(project: Project, found: ModelVersion, folder: Path) -> Scorer:
    """Load a version: the compiled model if there is one and the project wants it, else the original.

    Args:
        project: whose model it is.
        found: the version.
        folder: with its files.

    Raises:
        RegistryError: neither can be loaded, or not safely.
    """
    record, reason = CompiledRecord.from_tags(found.tags), "it was registered without being compiled"
    if project.config.serve.compiled == "off":
        reason = "serve.compiled is off"
    elif record is not None and record.status == "compiled":
        try:
            compiled = read_compiled(folder, found.version, record, version_task(project, found))
            return _with_lists(compiled, found)
        except RegistryError as error:
            _log.warning("version %s is served uncompiled: %s", found.version, error)
            reason = str(error)
    elif record is not None:
        reason = record.reason or reason
    return read_uncompiled(project, found, folder, reason)


def read_uncompiled(project: Project, found: ModelVersion, folder: Path, reason: str | None = None) -> Scorer:
    """Load a version's original model, even if there is a compiled one.

    Raises:
        RegistryError: it cannot be loaded, or not safely.
    """
    from tidemill.registry.versions.original_models import (
        read_original,  # scikit-learn takes seconds, and most run compiled
    )

    original = read_original(
        folder,
        found.version,
        found.trained.trusted_types if found.trained else None,
        lambda: load_spec(project).trusted_types,
        trusted=f"{found.model}/{found.version}" in project.config.serve.trust_pickled,
        reason=reason,
        task=version_task(project, found),
        places=found.trained.places if found.trained else (),
    )
    return _with_lists(original, found)


def _with_lists(scorer: Scorer, found: ModelVersion) -> Scorer:
    trained = found.trained
    return scorer.with_lists(trained.features, trained.lists) if trained else scorer


def version_task(project: Project, found: ModelVersion) -> Task:
    """Return what a version predicts, as it was trained; the project's task if Tidemill did not train it."""
    return make_task(found.trained.target, project.load) if found.trained else project.task


def example_rows(folder: Path) -> pd.DataFrame:
    """Return the example that was saved with a model; no rows if there is none."""
    try:
        found = read_description(folder).load_input_example(str(folder))
    except (MlflowException, OSError, YamlError, TypeError, KeyError):
        return pd.DataFrame()
    return found if isinstance(found, pd.DataFrame) else pd.DataFrame()
