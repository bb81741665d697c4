"""Reads how the trials of a search ended, and what was raised in those that failed."""

from dataclasses import dataclass, replace

from mlflow import MlflowException
from mlflow.entities import Run

from tidemill.project import Project
from tidemill.training.tracking.killed_runs import KILLED, TurnsAtRest
from tidemill.training.tracking.mlflow_tracking import (
    END,
    ERROR,
    PARENT,
    TURN,
    connect,
    experiment_id,
    find_runs,
)
from tidemill.training.tracking.run_files import read_file

__all__ = ["TrialEnd", "read_error", "read_trial_ends"]


@dataclass(frozen=True)
class TrialEnd:
    """How a trial ended, or that it has not."""

    number: int
    run_id: str
    name: str
    status: str
    end: str


def read_trial_ends(project: Project, run_id: str) -> list[TrialEnd]:
    """Return the trials of a search by number; one that was cut off and made again is there twice."""
    client, rest = connect(project), TurnsAtRest(project)
    children = find_runs(client, experiment_id(client, project), {PARENT: run_id})
    found = [_trial_end(child) for child in children]
    running = {
        one.info.run_id: one.data.tags.get(TURN, "") for one in children if one.info.status == "RUNNING"
    }
    killed = rest.killed(running)
    found = [replace(one, status="KILLED", end=KILLED) if one.run_id in killed else one for one in found]
    return sorted(found, key=lambda one: (one.number, one.status == "FINISHED"))


def _trial_end(trial: Run) -> TrialEnd:
    name, end = trial.info.run_name, trial.data.tags.get(END, "")
    return TrialEnd(_number(name), trial.info.run_id, name, trial.info.status, end)


def read_error(project: Project, run_id: str) -> str | None:
    """Return the traceback that a run keeps; None: it keeps none."""
    try:
        return read_file(connect(project), run_id, ERROR).decode("utf-8", errors="replace")
    except (MlflowException, OSError):
        return None


def _number(name: str) -> int:
    """Return the number in a trial's name.

    >>> _number("linear-07"), _number("mine")
    (7, -1)
    """
    text = name.rpartition("-")[2]
    return int(text) if text.isdecimal() else -1
