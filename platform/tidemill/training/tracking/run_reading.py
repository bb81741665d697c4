"""Reads runs from MLflow, a page at a time, as frozen values for those who show them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mlflow import MlflowClient, MlflowException
from mlflow.entities import ViewType
from sqlalchemy.exc import SQLAlchemyError

from tidemill.errors import NotAnswering, RegistryError, RunNotFound, TrainingError, UsageError
from tidemill.files.sqlite_urls import sqlite_file
from tidemill.project import Project
from tidemill.training.tracking.killed_runs import TurnsAtRest
from tidemill.training.tracking.mlflow_tracking import connect, store_words
from tidemill.training.tracking.run_lineage import Lineage
from tidemill.training.tracking.run_values import (
    LINEAGE_PREFIX,
    ORIGIN_PREFIX,
    PARENT,
    RunList,
    Shown,
    TrackedRun,
    has_summary,
    tracked_run,
)
from tidemill.training.tracking.training_record import open_documents, read_lineage, read_summary
from tidemill.training.tracking.training_result import TrainedModel

__all__ = [
    "answering_store",
    "list_plain_runs",
    "list_runs",
    "read_documents",
    "read_run",
    "read_runs",
    "run_not_found",
    "store_exists",
    "trials_of",
    "versions_by_run",
]

_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the second: an id that no run can have
_TRIALS = 1000


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
    wanted = _conditions(shown, status)
    order = [f"metrics.`{_plain(metric)}` DESC"] if metric else []
    rest = TurnsAtRest(project)
    with answering_store(project) as client:
        experiment = client.get_experiment_by_name(project.config.project.name)
        if experiment is None:
            return RunList((), None)
        try:
            page = client.search_runs(
                [experiment.experiment_id],
                " and ".join(wanted),
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
        found = rest.shown(_read(run) for run in page)
        if status == "KILLED" and after is None:
            running = " and ".join(_conditions(shown, "RUNNING"))
            found = [*rest.shown(map(_read, client.search_runs([experiment.experiment_id], running))), *found]
        kept = [run for run in found if status in (None, run.status)]
        token = page.token.decode() if isinstance(page.token, bytes) else page.token  # of a local store
        return RunList(tuple(kept), token or None)


def _conditions(shown: Shown, status: str | None) -> list[str]:
    of = {"searches": f"tags.`{PARENT}` IS NULL", "trials": f"tags.`{PARENT}` IS NOT NULL", "all": ""}
    return [each for each in (of[shown], f"attributes.status = '{_plain(status)}'" if status else "") if each]


def list_plain_runs(
    project: Project, *, shown: Shown, status: str | None, metric: str | None, size: int
) -> list[TrackedRun]:
    """Return plain runs that were started in the project's folder, of other experiments than its own.

    Arguments and errors are those of `list_runs`.
    """
    name = project.config.project.name
    wanted = [*_conditions(shown, status), f"tags.`{ORIGIN_PREFIX}project` = '{_plain(name)}'"]
    order = [f"metrics.`{_plain(metric)}` DESC"] if metric else []
    with answering_store(project) as client:
        others = [each.experiment_id for each in client.search_experiments() if each.name != name]
        if not others:
            return []
        order = [*order, "attributes.start_time DESC"]
        found = client.search_runs(others, " and ".join(wanted), max_results=size, order_by=order)
        return [_read(run) for run in found]


def read_run(project: Project, run_id: str) -> TrackedRun:
    """Return a run of the project.

    It is of its experiment, a version of its model was registered from it, or it was started in its folder.

    Raises:
        RunNotFound: there is none.
        NotAnswering: MLflow's store is away, or cannot be read.
    """
    rest = TurnsAtRest(project)
    with answering_store(project) as client:
        try:
            [run] = rest.shown([_read(client.get_run(run_id))])
        except MlflowException as error:
            if error.error_code not in _ABSENT:
                raise
            raise run_not_found(project, run_id) from error
        experiment = client.get_experiment_by_name(project.config.project.name)
        if experiment is not None and run.experiment_id == experiment.experiment_id:
            return run
        if run.origin.get("project") == project.config.project.name:
            return run
        found = client.search_model_versions(f"run_id = '{_plain(run_id)}'")
        if any(each.name == project.model for each in found):
            return run
    raise run_not_found(project, run_id)


def read_runs(project: Project, run_ids: Sequence[str]) -> list[TrackedRun]:
    """Return several runs, as `read_run` does, each once."""
    return [read_run(project, run_id) for run_id in dict.fromkeys(run_ids)]


def trials_of(project: Project, run: TrackedRun) -> list[TrackedRun]:
    """Return the trials of a search, in their order; at most 1000.

    Raises:
        NotAnswering: MLflow's store is away, or cannot be read.
    """
    rest = TurnsAtRest(project)
    with answering_store(project) as client:
        found = client.search_runs(
            [run.experiment_id],
            f"tags.`{PARENT}` = '{_plain(run.run_id)}'",
            run_view_type=ViewType.ACTIVE_ONLY,
            max_results=_TRIALS,
            order_by=["attributes.start_time ASC"],
        )
        return rest.shown(_read(each) for each in found)


def versions_by_run(project: Project, run_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return run → the numbers of the versions of the project's model that were registered from it.

    Raises:
        NotAnswering: MLflow's store is away, or cannot be read.
    """
    versions: dict[str, list[str]] = {}
    if not run_ids:
        return versions
    names = ", ".join(f"'{_plain(run_id)}'" for run_id in run_ids)
    with answering_store(project) as client:
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
    with answering_store(project) as client:
        tags = client.get_run(run.run_id).data.tags
        read = open_documents(client, run.run_id, tags)
        try:
            if any(name.startswith(LINEAGE_PREFIX) for name in tags):
                lineage = read_lineage(tags, read)
            if has_summary(tags):
                trained = read_summary(run.run_id, tags, read)
        except RegistryError as error:
            trouble = str(error)
    return lineage, trained, trouble


def run_not_found(project: Project, run_id: str) -> RunNotFound:
    """Return the error of a run that the project does not have."""
    return RunNotFound(
        f"there is no run {run_id!r} of {project.model}", hint="`tidemill runs list` shows those there are"
    )


@contextmanager
def answering_store(project: Project) -> Iterator[MlflowClient]:
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
    info = run.info
    facts = {
        "run_uuid": info.run_id,
        "experiment_id": info.experiment_id,
        "name": info.run_name,
        "status": info.status,
        "start_time": info.start_time,
        "end_time": info.end_time,
        "lifecycle_stage": info.lifecycle_stage,
    }
    return tracked_run(facts, run.data.tags, run.data.metrics, run.data.params)


def _plain(value: str) -> str:
    """Return a value that cannot end the quotation around it in a search of MLflow's.

    >>> _plain("a' or 1 = 1 or `b")
    'a or 1 = 1 or b'
    """
    return value.translate(str.maketrans("", "", "'\"`%\\"))
