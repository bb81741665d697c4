"""Finds the model versions that were trained on a subject, and the runs that store its rows."""

from dataclasses import dataclass
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tidemill.errors import DataError, ModelNotFound, TidemillError
from tidemill.privacy.stores.earlier_versions import StoredContents
from tidemill.privacy.stores.table_subjects import count_rows
from tidemill.privacy.subject import Subject
from tidemill.project import Project
from tidemill.registry.versions.model_versions import list_versions
from tidemill.registry.versions.version_record import ModelVersion
from tidemill.training.tracking.mlflow_tracking import connect
from tidemill.training.tracking.run_files import fetch_file
from tidemill.training.tracking.training_result import HOLDOUT, REFERENCE

__all__ = ["ModelKnowledge", "trained_on"]


@dataclass(frozen=True)
class ModelKnowledge:
    """Whether one model version was trained on the subject, and whether its run stores the subject's rows."""

    model: str
    version: str
    aliases: tuple[str, ...]
    trained_on: str
    """``yes``: the training set has rows of it; ``in its data``: only the data that the training set was made
    from has; ``no``; ``unknown``: the content is missing, or Tidemill did not train the version."""
    data_revision: str | None
    samples: str
    """About the rows that its run stores: ``features only``, ``not in them``, ``holds the subject``,
    ``unknown``; or ``none``."""


def trained_on(project: Project, subject: Subject, contents: StoredContents | None) -> list[ModelKnowledge]:
    """Return for each version of the project's model whether it was trained on the subject.

    Raises:
        RegistryError: the registry cannot be read.
    """
    try:
        versions = list_versions(project)
    except ModelNotFound:
        return []
    client = connect(project) if versions else None
    return [
        ModelKnowledge(
            model=version.model,
            version=version.version,
            aliases=version.aliases,
            trained_on=_verdict(version, project.config.dataset.path, contents),
            data_revision=version.lineage.git_commit if version.lineage else None,
            samples=_samples(client, version, subject) if client else "unknown",
        )
        for version in versions
    ]


def _verdict(version: ModelVersion, dataset: str, contents: StoredContents | None) -> str:
    if version.lineage is None or version.lineage.imported is not None or contents is None:
        return "unknown"
    held = {path: contents.hold(md5, path) for path, md5 in version.lineage.data.items()}
    if held.get(dataset):
        return "yes"
    if True in held.values():
        return "in its data"
    return "unknown" if None in held.values() or not held else "no"


def _samples(client: MlflowClient, version: ModelVersion, subject: Subject) -> str:
    """Search the sample and the hold-out rows that a run stores."""
    if not version.run_id:
        return "none"
    found = "none"
    for artifact in (REFERENCE, HOLDOUT):
        try:
            with TemporaryDirectory() as folder:
                path = fetch_file(client, version.run_id, artifact, folder)
                columns = pq.read_schema(path).names
                if subject.values.keys() <= set(columns) and count_rows(path, subject):
                    return "holds the subject"
                found = "features only" if subject.values.keys().isdisjoint(columns) else "not in them"
        except (MlflowException, OSError):
            continue
        except (pa.ArrowException, DataError, TidemillError):
            return "unknown"
    return found
