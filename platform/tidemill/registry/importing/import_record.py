"""Write an imported model to a run of its own, and register it: a version, or nothing."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlflow import MlflowClient, MlflowException

from tidemill.errors import RegistryError
from tidemill.files.locks import locked
from tidemill.project import Project
from tidemill.registry.importing.checked_model import CheckedModel
from tidemill.registry.versions.artifacts import CHECK_REGISTRY, connect_registry
from tidemill.registry.versions.new_versions import register
from tidemill.training.fitting.judgement import log_judged
from tidemill.training.fitting.packaging import estimator_digest, log_saved
from tidemill.training.tracking import mlflow_tracking
from tidemill.training.tracking.run_lineage import Lineage
from tidemill.training.tracking.training_record import log_lineage, log_summary
from tidemill.training.tracking.training_result import TrainedModel

__all__ = ["facts_of", "record_import"]

_ROLE = {mlflow_tracking.ROLE: "import"}


def facts_of(checked: CheckedModel) -> dict[str, Any]:
    """Return where an imported version is from, as JSON values for its lineage."""
    return {
        "from": checked.origin.source,
        "kind": checked.model.kind,
        "sha256": checked.origin.sha256,
        "allowed_code": checked.model.unsafe or checked.model.runs_code,
        "parity": asdict(checked.parity),
        **({} if checked.known is None else checked.known.facts()),
    }


def record_import(
    project: Project, lineage: Lineage, checked: CheckedModel, before: Callable[[], None] | None = None
) -> tuple[TrainedModel, str]:
    """Judge a model on the hold-out, log it to a run with its lineage, and register it.

    ``before`` is called right before it becomes a version.

    Returns:
        what is on record of it, and the number of the version.

    Raises:
        RegistryError: MLflow refused; no version was made.
    """
    client, source = connect_registry(project), checked.origin.source
    try:
        experiment = mlflow_tracking.experiment_id(client, project)
        with locked(project.home / "import.lock", wait_seconds=None):
            mlflow_tracking.kill_orphans(client, experiment, _ROLE)
            name = f"{project.model} from {Path(source).name}"
            with mlflow_tracking.parent_run(client, experiment, name, _ROLE) as run_id:
                log_lineage(client, run_id, lineage)
                trained = _log(project, client, run_id, checked)
            if before is not None:
                before()
            return trained, register(project, trained.run_id)
    except MlflowException as error:
        raise RegistryError(
            f"{source} cannot be registered as {project.model}: {mlflow_tracking.store_words(error)}",
            hint=CHECK_REGISTRY,
        ) from error


def _log(project: Project, client: MlflowClient, run_id: str, checked: CheckedModel) -> TrainedModel:
    task, origin = checked.signature.task, checked.origin
    digest = estimator_digest(checked.folder)
    metrics = log_judged(project, client, checked.rows, run_id, checked.answer)
    trained = TrainedModel(
        run_id=run_id,
        model_uri=log_saved(client, run_id, project.model, checked.folder),
        metrics=metrics,
        trials=0,
        failed_trials=0,
        family=checked.model.kind,
        params={},
        features=checked.features,
        trusted_types=tuple(checked.model.trusted_types),
        task=task.kind,
        classes=tuple(getattr(task, "classes", ())),
        places=checked.signature.places,
        lists=checked.lists,
        files={} if digest is None else {"served": digest},
    )
    params = {"imported_from": origin.source, "sha256": origin.sha256, **checked.rows.sizes()}
    mlflow_tracking.log_values(client, run_id, metrics=metrics, params=params)
    log_summary(client, run_id, trained)
    return trained
