"""Write an imported model to a run of its own, and register it: a version, or nothing."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl
from mlflow.exceptions import MlflowException

from tidemill.errors import RegistryError
from tidemill.files.locks import locked
from tidemill.project import Project
from tidemill.registry.importing.import_checks import OutputParity
from tidemill.registry.versions.artifacts import CHECK_REGISTRY, connect_registry
from tidemill.registry.versions.model_signature import ModelSignature
from tidemill.registry.versions.new_versions import register
from tidemill.tasks.task import Answers
from tidemill.training.feature_table import lengths_of
from tidemill.training.fitting.final_fit import SplitRows, log_judged
from tidemill.training.fitting.packaging import log_saved
from tidemill.training.tracking import mlflow_tracking
from tidemill.training.tracking.run_lineage import Lineage
from tidemill.training.tracking.training_record import log_lineage, log_summary
from tidemill.training.tracking.training_result import TrainedModel

__all__ = ["ImportedRecord", "record_import"]

_ROLE = {mlflow_tracking.ROLE: "import"}


@dataclass(frozen=True)
class ImportedRecord:
    """Where an imported version is from, for its lineage."""

    kind: str
    source: str
    sha256: str
    allowed_code: bool
    """Whether the caller allowed that it executes code."""
    parity: OutputParity

    def facts(self) -> dict[str, Any]:
        """Return it as JSON values."""
        found = asdict(self)
        return {"from": found.pop("source"), **found}


def record_import(
    project: Project,
    lineage: Lineage,
    rows: SplitRows,
    folder: Path,
    record: ImportedRecord,
    features: tuple[str, ...],
    signature: ModelSignature,
    trusted_types: tuple[str, ...],
    answer: Callable[[pl.DataFrame], Answers],
) -> tuple[TrainedModel, str]:
    """Judge a model on the hold-out, log it to a run with its lineage, and register it.

    Returns:
        what is on record of it, and the number of the version.

    Raises:
        RegistryError: MLflow refused; no version was made.
    """
    client = connect_registry(project)
    try:
        experiment = mlflow_tracking.experiment_id(client, project)
        with locked(project.home / "import.lock", wait_seconds=None):
            mlflow_tracking.kill_orphans(client, experiment, _ROLE)
            name = f"{project.model} from {Path(record.source).name}"
            with mlflow_tracking.parent_run(client, experiment, name, _ROLE) as run_id:
                log_lineage(client, run_id, lineage)
                metrics = log_judged(project, client, rows, run_id, answer)
                trained = TrainedModel(
                    run_id=run_id,
                    model_uri=log_saved(client, run_id, project.model, folder),
                    metrics=metrics,
                    trials=0,
                    failed_trials=0,
                    family=record.kind,
                    params={},
                    features=features,
                    trusted_types=trusted_types,
                    task=signature.task.kind,
                    classes=tuple(getattr(signature.task, "classes", ())),
                    places=signature.places,
                    lists=lengths_of(rows.fit.schema, features),
                )
                params = {"imported_from": record.source, "sha256": record.sha256, **rows.sizes()}
                mlflow_tracking.log_values(client, run_id, metrics=metrics, params=params)
                log_summary(client, run_id, trained)
            return trained, register(project, trained.run_id)
    except MlflowException as error:
        raise RegistryError(
            f"{record.source} cannot be registered as {project.model}: {error}", hint=CHECK_REGISTRY
        ) from error
