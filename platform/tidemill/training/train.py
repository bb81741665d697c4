"""Train once: split, search, fit the chosen model again on all allowed rows, evaluate, record everything."""

from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from mlflow import MlflowClient, MlflowException

from tidemill.clock import utc
from tidemill.errors import TrainingError
from tidemill.project import Project
from tidemill.training.fitting.final_fit import finish
from tidemill.training.fitting.split_rows import read_split, trial_data
from tidemill.training.fitting.warm_start import WarmStart, begin_warm
from tidemill.training.search import resumed_search
from tidemill.training.search.planned_search import search_by, trials_of
from tidemill.training.search.search_budget import Progress
from tidemill.training.search.search_plan import FULL_SEARCH, SearchPlan
from tidemill.training.search.trial_records import TrialLog
from tidemill.training.search.tuning import delete_search_files
from tidemill.training.spec_loading import load_spec
from tidemill.training.tracking import mlflow_tracking
from tidemill.training.tracking.origins.environment_capture import environment
from tidemill.training.tracking.origins.notebook_cells import keep_cells
from tidemill.training.tracking.run_files import write_file
from tidemill.training.tracking.run_lineage import PATCH, Lineage, installed
from tidemill.training.tracking.run_values import CELLS, UNCOMMITTED, has_summary, named_files
from tidemill.training.tracking.training_record import (
    log_lineage,
    open_documents,
    read_lineage,
    read_summary,
)
from tidemill.training.tracking.training_result import TrainedModel
from tidemill.training.tracking.validation_record import log_validation

if TYPE_CHECKING:
    from tidemill.data.repository.uncommitted_code import UncommittedCode
    from tidemill.data.versioning.data_versions import DataVersion

__all__ = ["TrainedModel", "train"]


def train(
    project: Project,
    data: "DataVersion",
    as_of: datetime,
    turn_id: str,
    *,
    features: tuple[str, ...],
    service: str,
    definition: str,
    uncommitted: "UncommittedCode | None" = None,
    plan: SearchPlan = FULL_SEARCH,
    personal: Set[str] = frozenset(),
    on_progress: Progress | None = None,
    must_resume: bool = False,
) -> TrainedModel:
    """Train on the data known at ``as_of``; return this turn's training if it has finished already.

    A search of this turn that was cut off goes on where nothing has changed: trials that ended are not made
    again. Otherwise it begins anew.

    Args:
        project: what to train, and how.
        data: the data version; it must be the one in the project's folder.
        as_of: labels that became known later are left out.
        turn_id: what it belongs to. Runs that a killed training of the same turn left are marked KILLED.
        features: columns of the training set, in the order in which the model takes them.
        service: name of the feature service that they come from.
        definition: hash of that service's definition.
        uncommitted: what no commit holds of the project's code; None if that is unknown.
        plan: where to look for the model, and from which rows it may learn.
        personal: features whose values the example of a model must not have.
        on_progress: called after each trial, and after rounds once a second at most.
        must_resume: raise an error where there is no search to go on with, instead of beginning anew.

    Raises:
        TrainingError: too little data, no trial succeeded, or MLflow failed. An unfinished model can never be
            registered. Or the plan has a warm start, and the family cannot go on from an earlier model.
        ConfigError: the project's training spec is not one.
        DataError: many labels are not of the task.
    """
    spec, as_of = load_spec(project), utc(as_of)
    client = mlflow_tracking.connect(project)
    with _mlflow_errors(project):
        experiment = mlflow_tracking.experiment_id(client, project)
        _end_killed_runs(project, client, experiment, turn_id)
        done = _finished(client, experiment, turn_id, data.revision, as_of)
        if done is not None:
            return done
        rows = read_split(project, features, as_of)
        plan, warm, said = begin_warm(project, spec, plan, rows)
        made_of = data.revision, data.outputs, service, definition, rows.split, as_of, installed()
        lineage = Lineage(*made_of, parent=_parent(warm))
        tags = {mlflow_tracking.TURN: turn_id, "mlflow.source.git.commit": data.revision}
        name = f"{project.model} {as_of:%Y-%m-%d}"
        patch = b"" if uncommitted is None else uncommitted.patch
        now = resumed_search.made_from(project, lineage, patch, features, plan)
        journal = resumed_search.open_for(project, turn_id, now, must_resume=must_resume)
        resumed = None if journal is None else journal.origin.run_id
        with mlflow_tracking.parent_run(client, experiment, name, tags, resumed=resumed) as run_id:
            if journal is None:
                _log_origin(project, client, run_id, lineage, uncommitted)
                journal = resumed_search.begin_for(project, spec, turn_id, run_id, now)
            config = trials_of(project.config.train, plan.basis_in(spec))
            log = TrialLog(
                client, experiment, run_id, turn_id, config, project.task.metrics, on_progress, journal
            )
            first = resumed_search.first_of(spec, journal)
            found = search_by(plan, project, spec, lambda: trial_data(project, rows), log, run_id, first)
            resumed_search.conclude(client, experiment, spec, log, found, run_id)
            found = replace(found, warm_start=said)
            trained = finish(project, client, spec, rows, run_id, found, plan.windows, personal, warm)
            journal.delete()
            return trained


def _parent(warm: WarmStart | None) -> dict[str, str] | None:
    return None if warm is None else {"version": warm.parent.version, "run_id": warm.parent.run_id}


@contextmanager
def _mlflow_errors(project: Project) -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        raise TrainingError(
            f"MLflow could not record the training of {project.model}: {mlflow_tracking.store_words(error)}",
            hint="check TIDEMILL_TRACKING_URI and the disk; the next training starts afresh",
        ) from error


def _end_killed_runs(project: Project, client: MlflowClient, experiment: str, turn_id: str) -> None:
    """Mark what a killed training of this turn left running, and delete its search files."""
    of_turn = {mlflow_tracking.TURN: turn_id}
    for run in mlflow_tracking.find_runs(client, experiment, of_turn):
        delete_search_files(project, run.info.run_id)
    mlflow_tracking.kill_orphans(client, experiment, of_turn)


def _log_origin(
    project: Project,
    client: MlflowClient,
    run_id: str,
    lineage: Lineage,
    uncommitted: "UncommittedCode | None",
) -> None:
    """Log to a run what it was made from: data, features, uncommitted code, cells, and the data's report."""
    lineage = replace(lineage, environment=environment(project.root))
    if uncommitted is not None:
        lineage = replace(lineage, uncommitted=uncommitted.files, beside=uncommitted.beside or None)
    log_lineage(client, run_id, lineage)
    if uncommitted is not None and lineage.has_patch:
        write_file(client, run_id, PATCH, uncommitted.patch + uncommitted.texts)
    if uncommitted is not None and uncommitted.files:
        client.set_tag(run_id, UNCOMMITTED, named_files(uncommitted.files))
    if (cells := keep_cells(project.home)) is not None:
        client.set_tag(run_id, CELLS, cells)
    log_validation(client, run_id, project)


def _finished(
    client: MlflowClient, experiment: str, turn_id: str, revision: str, as_of: datetime
) -> TrainedModel | None:
    for run in mlflow_tracking.find_runs(
        client, experiment, {mlflow_tracking.TURN: turn_id, mlflow_tracking.ROLE: "search"}
    ):
        run_id, tags = run.info.run_id, run.data.tags
        if run.info.status == "FINISHED" and has_summary(tags):
            read = open_documents(client, run_id, tags)
            lineage = read_lineage(tags, read)
            if (lineage.git_commit, lineage.as_of) == (revision, as_of):
                return read_summary(run_id, tags, read)
    return None
