"""Records runs of other tools in the project's experiment, each once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tidemill.errors import DataError
from tidemill.project import Project
from tidemill.project.folder_names import shown_name
from tidemill.training.tracking.foreign_runs.comet_archives import (
    comet_archives,
    is_comet_archive,
    read_comet_archive,
)
from tidemill.training.tracking.foreign_runs.comet_folders import comet_folders, read_comet_folder
from tidemill.training.tracking.foreign_runs.exported_runs import read_exports
from tidemill.training.tracking.foreign_runs.foreign_run import ForeignRun
from tidemill.training.tracking.foreign_runs.tensorboard_events import event_folders, read_event_folder
from tidemill.training.tracking.foreign_runs.wandb_folders import read_wandb_folder, wandb_folders
from tidemill.training.tracking.mlflow_tracking import experiment_id, find_runs, log_points, log_values
from tidemill.training.tracking.run_reading import answering_store
from tidemill.training.tracking.run_values import IMPORT_PREFIX

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["ImportedRun", "find_foreign_runs", "import_runs"]

_LONGEST = 200  # MLflow allows 250 characters
_DIGEST, _BEGUN = f"{IMPORT_PREFIX}sha256", f"{IMPORT_PREFIX}begun"


@dataclass(frozen=True)
class ImportedRun:
    """A run of another tool in MLflow."""

    run_id: str
    name: str
    tool: str
    metrics: int
    known: bool
    """Whether it had been imported before."""
    last_only: bool
    """Whether only the last value of each metric was in what it was read from."""


def find_foreign_runs(place: Path, metrics: Sequence[str] = ()) -> list[ForeignRun]:
    """Return the runs of other tools in a file, or below a folder, named by where they lie.

    Args:
        place: the file or the folder.
        metrics: patterns for the columns of exported tables that are metrics.

    Raises:
        DataError: there is none, or one cannot be read.
        UsageError: a table does not say which columns are metrics.
    """
    if not place.exists():
        raise DataError(
            f"there is no {place}",
            hint="name a folder with runs of TensorBoard, Weights & Biases or Comet, or an exported file",
        )
    place = place.resolve()
    found = _in_file(place, metrics) if place.is_file() else _in_folder(place, metrics)
    if not found:
        raise DataError(
            f"{place} has no run of TensorBoard (*tfevents*), Weights & Biases (run-*.wandb, "
            "wandb-summary.json, or CSV of its table of runs, of a chart or of its API) or Comet (what "
            "`cometx download` wrote, the zip of an offline experiment, or an exported table or chart)",
            hint="other tools are not read; plain MLflow runs need no import",
        )
    return found


def _in_file(file: Path, metrics: Sequence[str]) -> list[ForeignRun]:
    if is_comet_archive(file):
        return [read_comet_archive(file, shown_name(file.stem)[:_LONGEST])]
    return read_exports(file, metrics)


def _in_folder(folder: Path, metrics: Sequence[str]) -> list[ForeignRun]:
    found = [read_event_folder(each, _name(folder, each)) for each in event_folders(folder)]
    of_wandb, of_comet = wandb_folders(folder), comet_folders(folder)
    found += [read_wandb_folder(each, _name(folder, each)) for each in of_wandb]
    found += [read_comet_folder(each, _name(folder, each)) for each in of_comet]
    found += [read_comet_archive(each, each.stem[:_LONGEST]) for each in comet_archives(folder)]
    return found + read_exports(folder, metrics, [*of_wandb, *of_comet])


def import_runs(
    project: Project, runs: Sequence[ForeignRun], tell: Callable[[int], None] = lambda _: None
) -> list[ImportedRun]:
    """Record runs in the project's experiment; those of the same content are found, and not made again.

    Args:
        project: the project.
        runs: of other tools.
        tell: given how many of them are done, after each.

    Raises:
        NotAnswering: MLflow's store is away, or cannot be written.
    """
    done: list[ImportedRun] = []
    with answering_store(project) as client:
        experiment = experiment_id(client, project)
        for run in runs:
            done.append(_import(client, experiment, run))
            tell(len(done))
    return done


def _import(client: "MlflowClient", experiment: str, run: ForeignRun) -> ImportedRun:
    metrics = len({point.metric for point in run.points})
    if known := find_runs(client, experiment, {_DIGEST: run.sha256}):
        return ImportedRun(known[0].info.run_id, run.name, run.tool, metrics, True, run.last_only)
    for killed in find_runs(client, experiment, {_BEGUN: run.sha256}):
        client.set_terminated(killed.info.run_id, "KILLED")
    moments = [point.milliseconds for point in run.points if point.milliseconds]
    tags = {
        **run.tags,
        _BEGUN: run.sha256,
        f"{IMPORT_PREFIX}tool": run.tool,
        f"{IMPORT_PREFIX}source": shown_name(run.source),
        f"{IMPORT_PREFIX}values": "the last of each metric" if run.last_only else "all that were there",
    }
    tags |= {"mlflow.source.git.commit": run.commit} if run.commit else {}
    began, ended = run.began or min(moments, default=None), run.ended or max(moments, default=None)
    begun = client.create_run(experiment, began, tags, run.name[:_LONGEST])
    run_id: str = begun.info.run_id
    log_values(client, run_id, params=run.params)
    log_points(client, run_id, run.points)
    client.set_terminated(run_id, run.status, ended)
    client.set_tag(run_id, _DIGEST, run.sha256)
    return ImportedRun(run_id, run.name, run.tool, metrics, False, run.last_only)


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
