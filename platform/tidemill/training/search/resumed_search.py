"""Says whether a search that was cut off may be gone on with, and keeps what later ones begin with."""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from mlflow import MlflowClient, MlflowException

from tidemill.errors import TrainingError
from tidemill.plurals import counted
from tidemill.project import Project
from tidemill.training.model_spec import TrainingSpec
from tidemill.training.search.parameter_spaces import params_at, point_of
from tidemill.training.search.search_journal import (
    JournalOfSearch,
    SearchOrigin,
    begin_journal,
    find_journals,
)
from tidemill.training.search.search_plan import SearchPlan
from tidemill.training.search.trial_records import TrialLog
from tidemill.training.search.tuning import SearchResult
from tidemill.training.tracking import mlflow_tracking
from tidemill.training.tracking.run_files import read_file, write_file
from tidemill.training.tracking.run_lineage import Lineage
from tidemill.training.tracking.run_values import FRONT

__all__ = [
    "BEST",
    "begin_for",
    "check_unchanged",
    "conclude",
    "declared",
    "first_of",
    "journal_of",
    "made_from",
    "open_for",
]

BEST = "search/best.json"
"""The run's file with the best configuration of its search, where later searches may begin."""

_ORPHANED = "orphaned"
_KEPT = 10
"""Journals of searches that were cut off, which nobody has gone on with."""
_NOT_OF_THE_RESULT = {"checkpoint_seconds", "max_concurrent", "resources", "workers"}
_log = logging.getLogger(__name__)


def made_from(
    project: Project, lineage: Lineage, patch: bytes, features: tuple[str, ...], plan: SearchPlan
) -> dict[str, Any]:
    """Return what a search is made from, as JSON values by name."""
    basis = plan.basis and [plan.basis.family, repr(sorted(plan.basis.params.items())), plan.basis.rounds]
    if basis and plan.basis and plan.basis.schedule:
        basis.append(repr(plan.basis.schedule))
    found = {
        "data": dict(lineage.data),
        "code": {"commit": lineage.git_commit, "uncommitted": hashlib.sha256(patch).hexdigest()[:12]},
        "features": {"service": lineage.feature_service, "definition": lineage.feature_definition},
        "columns": list(features),
        **declared(project),
        "moment": lineage.as_of.isoformat(),
        "recipe": [plan.search, basis],
        "packages": dict(lineage.packages),
    }
    return _as_kept(found)


def declared(project: Project) -> dict[str, Any]:
    """Return what of it the project declares: known before data are made."""
    config = project.config
    settings = config.train.model_dump(mode="json", exclude=_NOT_OF_THE_RESULT)
    settings |= {f"split.{key}": value for key, value in config.split.model_dump().items()}
    return _as_kept({"settings": settings, "target": repr(project.target)})


def _as_kept(found: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(found)))


def journal_of(project: Project, turn_id: str) -> JournalOfSearch | None:
    """Return the journal that an earlier process left for a turn; None: there is none."""
    return next((one for one in find_journals(project.home) if one.origin.turn_id == turn_id), None)


def open_for(
    project: Project, turn_id: str, now: Mapping[str, Any], *, must_resume: bool
) -> JournalOfSearch | None:
    """Return the journal of a turn's search if that may be gone on with; None: it begins anew.

    Raises:
        TrainingError: it must be gone on with, and cannot.
    """
    found = journal_of(project, turn_id)
    if found is None:
        if must_resume:
            raise TrainingError(
                f"no trial of turn {turn_id} is on record here", hint="`tidemill run` searches anew"
            )
        return None
    try:
        check_unchanged(project, found, now)
    except TrainingError as error:
        if must_resume:
            raise
        _log.warning("%s; it begins anew", error)
        found.delete()
        return None
    found.forget_request()
    return found


def check_unchanged(project: Project, found: JournalOfSearch, now: Mapping[str, Any]) -> None:
    """Raise if a search that was cut off may not be gone on with.

    Args:
        project: as it is now.
        found: the search's journal.
        now: what it would be made from; of names that are not there nothing is asked.

    Raises:
        TrainingError: its scheduler cannot, or something is another thing by now; the message names it.
    """
    if project.config.train.scheduler == "pbt":
        said = "train.scheduler is pbt, whose trials go on from each other, so a search that was cut off "
        raise TrainingError(f"{said}cannot be gone on with", hint="`tidemill run` searches anew")
    if changed := found.origin.changed({**found.origin.made_from, **now}):
        said = f"the search of run {found.origin.run_id[:8]} cannot be gone on with: since it began, "
        raise TrainingError(
            f"{said}{', '.join(changed)} changed", hint="undo that, or search anew: `tidemill run`"
        )


def begin_for(
    project: Project,
    spec: TrainingSpec,
    turn_id: str,
    run_id: str,
    now: Mapping[str, Any],
) -> JournalOfSearch:
    """Make the journal of a turn's search, and delete the oldest that were left."""
    client = mlflow_tracking.connect(project)
    for old in find_journals(project.home)[_KEPT:]:
        old.delete()
    earlier = _best_of_earlier(client, project, spec, project.config.train.warm_start)
    return begin_journal(project.home, SearchOrigin(turn_id, run_id, now, earlier))


def first_of(spec: TrainingSpec, journal: JournalOfSearch) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the parameters that a search begins with: the best of earlier ones."""
    return [(family, params_at(spec.family(family), point)) for family, point in journal.origin.earlier]


def conclude(
    client: MlflowClient, experiment: str, spec: TrainingSpec, log: TrialLog, found: SearchResult, run_id: str
) -> None:
    """Bring the records of a search's trials up to date, and keep what it found with its run."""
    for child in mlflow_tracking.find_runs(client, experiment, {mlflow_tracking.PARENT: run_id}):
        record = next((one for one in log.records.values() if one.run_id == child.info.run_id), None)
        if record is not None and child.data.tags.get(mlflow_tracking.END, "").startswith(_ORPHANED):
            log.write_again(record)  # its process was killed after it had noted the end in the journal
    if not found.trials:
        return
    point = point_of(spec.family(found.best.family), found.best.params)
    if point is not None:
        write_file(client, run_id, BEST, json.dumps({"family": found.best.family, "point": point}).encode())
    if found.front:
        write_file(client, run_id, FRONT, json.dumps(found.front, indent=1, default=str).encode())


def _best_of_earlier(
    client: MlflowClient, project: Project, spec: TrainingSpec, count: int
) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    """Return where the best parameters of the latest finished searches lie, if families still have them."""
    if not count:
        return ()
    experiment = mlflow_tracking.experiment_id(client, project)
    runs = mlflow_tracking.find_runs(client, experiment, {mlflow_tracking.ROLE: "search"})
    finished = [run.info.run_id for run in runs if run.info.status == "FINISHED"]
    of = {family.name for family in spec.families}
    found: list[tuple[str, Mapping[str, Any]]] = []
    fitting = 0
    for one in islice(_kept(client, finished), count):
        if one["family"] in of and _lies_in(spec, one):
            fitting += 1
            if (one["family"], one["point"]) not in found:
                found.append((one["family"], one["point"]))
    if fitting < min(count, len(finished)):
        _log.warning(
            "train.warm_start is %d, and the best of %s can be begun with: of others it is not on record, or "
            "lies in no space of the families any more",
            count,
            counted(fitting, "earlier search", "earlier searches"),
        )
    return tuple(found)


def _lies_in(spec: TrainingSpec, one: Mapping[str, Any]) -> bool:
    family = spec.family(one["family"])
    try:
        return bool(point_of(family, params_at(family, one["point"])) == one["point"])
    except (KeyError, IndexError):  # the space is another one by now
        return False


def _kept(client: MlflowClient, run_ids: list[str]) -> Iterator[dict[str, Any]]:
    for run_id in run_ids:
        try:
            yield json.loads(read_file(client, run_id, BEST))
        except (MlflowException, OSError):  # made without a search, or by an earlier version
            continue
