"""Runs the steps of an erasure. Each step can be repeated and does only what remains."""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from tidemill.clock import Clock
from tidemill.data.personal.tombstones import FILE, Tombstone, add_tombstone
from tidemill.data.repository.git import commit_staged, git
from tidemill.data.versioning.add import add
from tidemill.data.versioning.data_versions import reproduce
from tidemill.errors import DataError
from tidemill.features.feast_session import has_repository, open_store
from tidemill.plurals import counted
from tidemill.privacy.erasure.erasure_record import ErasureOrder
from tidemill.privacy.erasure.subject_findings import search_changeable_stores, texts
from tidemill.privacy.stores.earlier_versions import earlier_versions, open_contents, purge
from tidemill.privacy.stores.job_subjects import erase_jobs
from tidemill.privacy.stores.log_subjects import blank_log, find_in_log
from tidemill.privacy.stores.online_subjects import forget_online
from tidemill.privacy.stores.row_places import (
    find_places,
    pipeline_paths,
    remove_from_place,
    subject_by_place,
)
from tidemill.privacy.stores.run_samples import RunSamples
from tidemill.privacy.stores.texts import mask_text
from tidemill.privacy.subject import Subject
from tidemill.project import Project

__all__ = ["LAST", "STEPS", "StepInputs"]

_MESSAGE = "Leave erased subjects out of the data"


@dataclass(frozen=True)
class StepInputs:
    """The inputs of a step."""

    project: Project
    subject: Subject
    order: ErasureOrder
    clock: Clock
    """Wall-clock time."""
    line: Callable[[str], None]
    """The callback for progress."""


def _bury(work: StepInputs) -> dict[str, Any]:
    subject, order, root = work.subject, work.order, work.project.root
    stone = Tombstone(
        tuple(subject.pseudonyms), tuple(subject.pseudonyms.values()), order.requested_at, order.reason
    )
    new = add_tombstone(work.project, stone)
    if (root / ".git").exists():
        git(root, "add", "--", FILE)
        commit_staged(root, "Put up a tombstone for an erased subject", FILE)
    return {"new": new}


def _forget(work: StepInputs) -> dict[str, Any]:
    if not has_repository(work.project):
        return {"keys": {}}
    return {"keys": forget_online(open_store(work.project), work.subject)}


def _erase_jobs(work: StepInputs) -> dict[str, Any]:
    """Erase the jobs; this precedes the log's step, as a worker writes to the log until its job is erased."""
    ids = find_in_log(work.project.predictions, work.subject).prediction_ids
    return {"jobs": erase_jobs(work.project, work.subject, ids, work.clock, work.line)}


def _blank(work: StepInputs) -> dict[str, Any]:
    lines = blank_log(work.project.predictions, work.subject)
    return {"predictions": lines.predictions, "labels": lines.labels}


def _mask(work: StepInputs) -> dict[str, Any]:
    return {"mentions": sum(mask_text(path, work.subject) for path in texts(work.project))}


def _clear_runs(work: StepInputs) -> dict[str, Any]:
    """Remove its rows from what runs keep, while the contents are there that tell which rows these are."""
    root = work.project.root
    with open_contents(root, subject_by_place(work.subject, find_places(work.project))) as contents:
        rows, unknown = RunSamples(work.project, work.subject, contents).remove(work.line)
    return {"rows": rows, "unknown": unknown}


def _rewrite(work: StepInputs) -> dict[str, Any]:
    """Rewrite all files but the pipeline's outputs and upstream; those added to DVC become a new version."""
    planned = {place["name"] for place in work.order.findings["places"]}
    rows: dict[str, int] = {}
    for place in find_places(work.project):
        if place.kind in ("output", "upstream"):
            continue
        work.line(place.name)
        removed = remove_from_place(place, work.subject)
        if removed:
            rows[work.subject.hidden_in(place.name)] = removed
        if place.kind == "added" and (removed or place.name in planned):
            # planned: a kill may have come between rewriting the file and committing its version
            add(work.project, place.name, _MESSAGE, lambda _step, message, _done, _total: work.line(message))
    return {"rows": rows}


def _reproduce(work: StepInputs) -> dict[str, Any] | None:
    """Make the data version without the subject; if no file contains it, leave that to the next run."""
    root = work.project.root
    outputs, _ = pipeline_paths(root)
    rows = [place for place in work.order.findings["places"] if place["kind"] != "tracked"]
    if not outputs or not rows or not (root / ".dvc").exists():
        return None
    return {"revision": reproduce(work.project, {}, _MESSAGE, work.line).revision}


def _check(work: StepInputs) -> dict[str, Any]:
    left = search_changeable_stores(
        work.project, work.subject, lambda _, message: work.line(message), before=work.order.requested_at
    )
    places = [
        f"{place['name']} ({counted(place['rows'], _unit(place['kind']))}, {place['kind']})"
        for place in left["places"]
        if place["kind"] != "upstream"
    ]
    rest = [
        *places,
        *(f"{counted(count, 'key')} in {table}" for table, count in left["online"].items()),
        *([counted(left["predictions"], "prediction")] if left["predictions"] else []),
        *(f"{job['id']} ({job['status']})" for job in left["jobs"]),
        *left["texts"],
        *(f"what run {run} keeps ({counted(rows, 'row')})" for run, rows in _left_in_runs(work).items()),
    ]
    if rest:
        kinds = {place["kind"] for place in left["places"]}
        raise DataError(f"the subject is still in: {', '.join(rest)}", hint=_way_out(kinds))
    return {}


def _left_in_runs(work: StepInputs) -> dict[str, int]:
    work.line("training runs")
    root = work.project.root
    with open_contents(root, subject_by_place(work.subject, find_places(work.project))) as contents:
        return RunSamples(work.project, work.subject, contents).left()


def _unit(kind: str) -> str:
    return "mention" if kind == "tracked" else "row"


def _way_out(kinds: Set[str]) -> str:
    """Return what to do about the places that still hold the subject, by their kinds."""
    hint = "`tidemill data erase --resume`"
    if "tracked" in kinds:
        hint = (
            "take the subject out of the files that git tracks (in features.yaml: another example) and "
            f"commit; git's history keeps it; then {hint}"
        )
    if "loose" in kinds:
        hint = f"remove the undeclared files by hand, or the subject from them; then {hint}"
    if "output" in kinds:
        hint = (
            f"the stage of an output that keeps the subject must call `without_erased` and depend on "
            f"{FILE} in dvc.yaml; then {hint}"
        )
    return hint


def _purge(work: StepInputs) -> dict[str, Any] | None:
    if not work.order.history:
        return None
    root = work.project.root
    with open_contents(root, subject_by_place(work.subject, find_places(work.project))) as contents:
        if contents is None:
            return None
        work.line("looking through the contents")
        earlier_versions(root, contents)
        contents.look_into_the_rest()
        work.line("purging")
        return {"contents": purge(contents)}


STEPS: Mapping[str, Callable[[StepInputs], dict[str, Any] | None]] = {
    "tombstone": _bury,
    "online": _forget,
    "jobs": _erase_jobs,
    "log": _blank,
    "texts": _mask,
    "runs": _clear_runs,
    "files": _rewrite,
    "pipeline": _reproduce,
    "check": _check,
    "history": _purge,
}
"""The steps, in order."""


LAST = "history"
"""The step that runs only when all others are done."""
