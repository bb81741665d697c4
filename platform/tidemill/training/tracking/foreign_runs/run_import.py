"""Records runs of other tools in the project's experiment, each once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tidemill.errors import DataError
from tidemill.project import Project
from tidemill.project.folder_names import shown_name
from tidemill.training.tracking.foreign_runs.comet_archives import comet_archives, read_comet_archive
from tidemill.training.tracking.foreign_runs.comet_folders import comet_folders, read_comet_folder
from tidemill.training.tracking.foreign_runs.foreign_run import ForeignRun
from tidemill.training.tracking.foreign_runs.tensorboard_events import event_folders, read_event_folder
from tidemill.training.tracking.foreign_runs.wandb_folders import read_wandb_folder, wandb_folders
from tidemill.training.tracking.mlflow_tracking import experiment_id, find_runs, log_points, log_values
from tidemill.training.tracking.run_reading import answering_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["ImportedRun", "find_foreign_runs", "import_runs"]

_LONGEST = 200  # MLflow allows 250 characters
_DIGEST, _BEGUN = "tidemill_import.sha256", "tidemill_import.begun"


@dataclass(frozen=True)
class ImportedRun:
    """A run of another tool in MLflow."""

    run_id: str
    name: str
    tool: str
    metrics: int
    known: bool
    """Whether it had been imported before."""


def find_foreign_runs(folder: Path) -> list[ForeignRun]:
    """Return the runs of other tools below a folder, named by where they lie.

    Raises:
        DataError: there is none, or one cannot be read.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder} is no folder",
            hint="name a folder with runs of TensorBoard, Weights & Biases or Comet",
        )
    folder = folder.resolve()
    found = [read_event_folder(each, _name(folder, each)) for each in event_folders(folder)]
    found += [read_wandb_folder(each, _name(folder, each)) for each in wandb_folders(folder)]
    found += [read_comet_folder(each, _name(folder, each)) for each in comet_folders(folder)]
    found += [read_comet_archive(each, each.stem[:_LONGEST]) for each in comet_archives(folder)]
    if not found:
        raise DataError(
            f"{folder} has no run of TensorBoard (*tfevents*), Weights & Biases (run-*.wandb or "
            "wandb-summary.json) or Comet (parameters.json beside metrics, from `cometx download`; or the "
            "zip of an offline experiment)",
            hint="other tools are not read; plain MLflow runs need no import",
        )
    return found


def import_runs(project: Project, runs: Sequence[ForeignRun]) -> list[ImportedRun]:
    """Record runs in the project's experiment; those of the same content are found, and not made again.

    Raises:
        NotAnswering: MLflow's store is away, or cannot be written.
    """
    with answering_store(project) as client:
        experiment = experiment_id(client, project)
        return [_import(client, experiment, run) for run in runs]


def _import(client: "MlflowClient", experiment: str, run: ForeignRun) -> ImportedRun:
    metrics = len({point.metric for point in run.points})
    if known := find_runs(client, experiment, {_DIGEST: run.sha256}):
        return ImportedRun(known[0].info.run_id, run.name, run.tool, metrics, True)
    for killed in find_runs(client, experiment, {_BEGUN: run.sha256}):
        client.set_terminated(killed.info.run_id, "KILLED")
    moments = [point.milliseconds for point in run.points]
    tags = {
        _BEGUN: run.sha256,
        "tidemill_import.tool": run.tool,
        "tidemill_import.source": shown_name(run.source),
    }
    tags |= {"mlflow.source.git.commit": run.commit} if run.commit else {}
    begun = client.create_run(experiment, min(moments, default=None), tags, run.name)
    run_id: str = begun.info.run_id
    log_values(client, run_id, params=run.params)
    log_points(client, run_id, run.points)
    client.set_terminated(run_id, end_time=max(moments, default=None))
    client.set_tag(run_id, _DIGEST, run.sha256)
    return ImportedRun(run_id, run.name, run.tool, metrics, False)


def _name(folder: Path, place: Path) -> str:
    """Return the name of a run by its place.

    >>> logs = Path("/logs")
    >>> _name(logs, logs / "lr_01" / "train"), _name(logs, logs / "run-1" / "files"), _name(logs, logs)
    ('lr_01/train', 'run-1', 'logs')
    """
    if place.name == "files":
        name = place.parent.name
    else:
        name = folder.name if place == folder else place.relative_to(folder).as_posix()
    name = shown_name(name)
    return name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}"
