"""Load a version compiled if possible, else as its original model."""

import logging
from pathlib import Path

import pandas as pd
from mlflow import MlflowException

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


def read_uncompiled(
    project: Project, found: ModelVersion, folder: Path, reason: str | None = None, *, which: str = "served"
) -> Scorer:
    """Load a version's original model, even if there is a compiled one.

    Args:
        project: whose model it is.
        found: the version.
        folder: with its files.
        reason: why the compiled model is not used in its place.
        which: of the digests that were recorded with the version; ``judged`` is that of its twin.

    Raises:
        RegistryError: it cannot be loaded, not safely, or is not what was registered.
    """
    _require_same_file(found, folder, which)
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


def _require_same_file(found: ModelVersion, folder: Path, which: str) -> None:
    """Raise `RegistryError` unless the estimator's file is the one whose digest the version was given."""
    from tidemill.training.fitting.packaging import estimator_digest  # loads scikit-learn

    recorded = found.trained.files.get(which) if found.trained else None
    if recorded is not None and estimator_digest(folder) != recorded:
        raise RegistryError(
            f"the model's file of version {found.version} is not the one that was registered: "
            f"its SHA-256 in {folder} is not {recorded[:12]}…",
            hint="restore the files of the version from a backup, or train anew: `tidemill run`",
        )


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
