"""Reads runs from MLflow, a page at a time, as frozen values for those who show them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from tidemill.errors import NotAnswering, RegistryError, RunNotFound, TrainingError, UsageError
from tidemill.files.sqlite_urls import sqlite_file
from tidemill.project import Project
from tidemill.training.tracking.mlflow_tracking import END, PARENT, ROLE, TURN, connect, store_words
from tidemill.training.tracking.run_lineage import Lineage
from tidemill.training.tracking.training_record import has_summary, open_documents, read_lineage, read_summary
from tidemill.training.tracking.training_result import TrainedModel

__all__ = [
    "STATUSES",
    "RunList",
    "TrackedRun",
    "list_runs",
    "read_documents",
    "read_run",
    "read_runs",
    "store_exists",
    "trials_of",
    "versions_by_run",
]

STATUSES = ("FINISHED", "FAILED", "KILLED", "RUNNING", "SCHEDULED")
"""The statuses of MLflow's runs."""
Shown = Literal["searches", "trials", "all"]
_LINEAGE = "tidemill.lineage."
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the second: an id that no run can have
_TRIALS = 1000


@dataclass(frozen=True)
class TrackedRun:
    """A run as MLflow's store has it."""

    run_id: str
    experiment_id: str
    name: str
    status: str
    """One of `STATUSES`."""
    role: str | None
    """``search``, ``trial``, or None for a run that Tidemill did not make."""
    parent: str | None
    """The run that this run is a trial of."""
    started_at: datetime | None
    """Wall-clock, UTC."""
    ended_at: datetime | None
    end: str | None
    """How it ended, in words."""
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    turn_id: str | None
    data_revision: str | None
    commit: str | None
    """The code's commit, as MLflow itself recorded it."""
    feature_service: str | None
    feature_definition: str | None
    deleted: bool


@dataclass(frozen=True)
class RunList:
    """Some runs of a list, and where the list goes on."""

    runs: Sequence[TrackedRun]
    following: str | None
    """Given to `list_runs` for the next ones; None at the end."""


def store_exists(project: Project) -> bool:
    """Return whether MLflow's database is there; a server is taken to be."""
    database = sqlite_file(project.tracking_uri)
    return database is None or database.is_file()


def list_runs(
    project: Project,
    *,
    shown: Shown = "searches",
    status: str | None = None,
    metric: str | None = None,
    after: str | None = None,
    size: int = 25,
) -> RunList:
    """Return runs of the project's experiment, sorted and filtered by the store.

    Args:
        project: whose experiment it is.
        shown: ``searches``: those that are nobody's trial; ``trials``: only trials; or all.
        status: only those with this status.
        metric: the greatest value of this metric first; default: the latest first.
        after: `RunList.following` of the runs before.
        size: the greatest number of runs.

    Raises:
        NotAnswering: MLflow's store is away, or cannot be read.
        UsageError: ``after`` or ``metric`` is not of this store.
    """
    conditions = {"searches": f"tags.`{PARENT}` IS NULL", "trials": f"tags.`{PARENT}` IS NOT NULL", "all": ""}
    wanted = [conditions[shown], f"attributes.status = '{_plain(status)}'" if status else ""]
    order = [f"metrics.`{_plain(metric)}` DESC"] if metric else []
    with _store(project) as client:
        experiment = client.get_experiment_by_name(project.config.project.name)
        if experiment is None:
            return RunList((), None)
        try:
            page = client.search_runs(
                [experiment.experiment_id],
                " and ".join(filter(None, wanted)),
                max_results=size,
                order_by=[*order, "attributes.start_time DESC"],
                page_token=after,
            )
        except MlflowException as error:
            # MLflow takes a token with other letters for a fault of its own.
            if error.error_code == "INVALID_PARAMETER_VALUE" or not (after or "").isascii():
                raise UsageError(
                    "this page of the list of runs does not exist", hint="begin at the first page"
                ) from error
            raise
        return RunList(tuple(_read(run) for run in page), page.token or None)


def read_run(project: Project, run_id: str) -> TrackedRun:
    """Return a run of the project's experiment, or one that a version of its model was registered from.

    Raises:
        RunNotFound: there is none.
        NotAnswering: MLflow's store is away, or cannot be read.
    """
    with _store(project) as client:
        try:
            run = _read(client.get_run(run_id))
        except MlflowException as error:
            if error.error_code not in _ABSENT:
                raise
            raise _not_found(project, run_id) from error
        experiment = client.get_experiment_by_name(project.config.project.name)
        if experiment is not None and run.experiment_id == experiment.experiment_id:
            return run
        found = client.search_model_versions(f"run_id = '{_plain(run_id)}'")
        if any(each.name == project.model for each in found):
            return run
    raise _not_found(project, run_id)


def read_runs(project: Project, run_ids: Sequence[str]) -> list[TrackedRun]:
    """Return several runs, as `read_run` does, each once."""
    return [read_run(project, run_id) for run_id in dict.fromkeys(run_ids)]


def trials_of(project: Project, run: TrackedRun) -> list[TrackedRun]:
    """Return the trials of a search, in their order; at most 1000.

    Raises:
        NotAnswering: MLflow's store is away, or cannot be read.
    """
    with _store(project) as client:
        found = client.search_runs(
            [run.experiment_id],
            f"tags.`{PARENT}` = '{_plain(run.run_id)}'",
            run_view_type=ViewType.ACTIVE_ONLY,
            max_results=_TRIALS,
            order_by=["attributes.start_time ASC"],
        )
        return [_read(each) for each in found]


def versions_by_run(project: Project, run_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return run → the numbers of the versions of the project's model that were registered from it.

    Raises:
        NotAnswering: MLflow's store is away, or cannot be read.
    """
    versions: dict[str, list[str]] = {}
    if not run_ids:
        return versions
    names = ", ".join(f"'{_plain(run_id)}'" for run_id in run_ids)
    with _store(project) as client:
        for found in client.search_model_versions(f"run_id IN ({names})", max_results=1000):
            if found.name == project.model:
                versions.setdefault(str(found.run_id), []).append(str(found.version))
    return {run_id: sorted(numbers, key=int) for run_id, numbers in versions.items()}


def read_documents(
    project: Project, run: TrackedRun
) -> tuple[Lineage | None, TrainedModel | None, str | None]:
    """Return the lineage and the result of a run, and why one of them cannot be read.

    Raises:
        NotAnswering: MLflow's store is away, or cannot be read.
    """
    lineage, trained, trouble = None, None, None
    with _store(project) as client:
        tags = client.get_run(run.run_id).data.tags
        read = open_documents(client, run.run_id, tags)
        try:
            if any(name.startswith(_LINEAGE) for name in tags):
                lineage = read_lineage(tags, read)
            if has_summary(tags):
                trained = read_summary(run.run_id, tags, read)
        except RegistryError as error:
            trouble = str(error)
    return lineage, trained, trouble


def _not_found(project: Project, run_id: str) -> RunNotFound:
    return RunNotFound(
        f"there is no run {run_id!r} of {project.model}", hint="the list of runs shows those there are"
    )


@contextmanager
def _store(project: Project) -> Iterator[MlflowClient]:
    """Yield a client; what keeps MLflow from answering is raised as `NotAnswering`."""
    hint = "look at TIDEMILL_TRACKING_URI, at MLflow's server and at its database; the rest keeps working"
    if not store_exists(project):
        raise NotAnswering(f"MLflow's database is not at {sqlite_file(project.tracking_uri)}", hint=hint)
    try:
        yield connect(project)
    except RunNotFound:
        raise
    except TrainingError as error:
        raise NotAnswering(str(error), hint=error.hint) from error
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise NotAnswering(f"MLflow does not answer: {store_words(error)}", hint=hint) from error


def _read(run: Any) -> TrackedRun:
    tags, info = run.data.tags, run.info
    return TrackedRun(
        run_id=info.run_id,
        experiment_id=str(info.experiment_id),
        name=info.run_name or "",
        status=info.status,
        role=tags.get(ROLE),
        parent=tags.get(PARENT),
        started_at=_moment(info.start_time),
        ended_at=_moment(info.end_time),
        end=tags.get(END),
        metrics=dict(run.data.metrics),
        params=dict(run.data.params),
        turn_id=tags.get(TURN),
        data_revision=tags.get(f"{_LINEAGE}git_commit"),
        commit=tags.get("mlflow.source.git.commit"),
        feature_service=tags.get(f"{_LINEAGE}feature_service"),
        feature_definition=tags.get(f"{_LINEAGE}feature_definition"),
        deleted=info.lifecycle_stage == "deleted",
    )


def _moment(milliseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None


def _plain(value: str) -> str:
    """Return a value that cannot end the quotation around it in a search of MLflow's.

    >>> _plain("a' or 1 = 1 or `b")
    'a or 1 = 1 or b'
    """
    return value.translate(str.maketrans("", "", "'\"`%\\"))
