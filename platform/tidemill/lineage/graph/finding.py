"""Finds the node that a user names by a prediction id, a version, a revision, a path, and so on."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tidemill.errors import UsageError
from tidemill.lineage.graph import nodes
from tidemill.lineage.graph.chain_graph import Node
from tidemill.lineage.sources.chain_sources import ChainRecords
from tidemill.lineage.sources.pipeline import revision
from tidemill.lineage.sources.tracked_runs import models, runs_of, versions
from tidemill.prediction_log.search.record_search import find_labels, find_prediction
from tidemill.project import Project
from tidemill.state.tables import Alert, Turn
from tidemill.training.tracking.run_lineage import Lineage

__all__ = ["KINDS", "find_node"]

Finder = Callable[[ChainRecords, str], Iterable[Node]]

_HASH = re.compile(r"[0-9a-f]{7,64}")


def find_node(records: ChainRecords, thing: str) -> Node:
    """Return the node that ``thing`` names.

    Args:
        records: the records to read.
        thing: ``<kind>:<name>``, or a name alone if only one thing has it: the id of a prediction, the id of
            a run, turn or alert or its first characters, the number or alias of a version (of another model:
            ``<model>/<version>``), a revision, the path of a data file, a feature view or service, the MD5
            of a training set.

    Raises:
        UsageError: nothing has this name, or several things have it.
    """
    kind, colon, name = thing.partition(":")
    if colon and kind in KINDS:
        found = _distinct(KINDS[kind](records, name))
        if not found:
            raise UsageError(f"there is no {kind} {name!r}", hint=_there(records, kind))
    else:
        name, prefixes = thing, [each for each in _SURE if thing.startswith(each)]
        kinds = [_SURE[each] for each in prefixes] or _GUESSED
        found = _distinct(node for each in kinds for node in KINDS[each](records, name))
        if not found:
            looked = ", ".join(kinds)
            hint = " · ".join(filter(None, (_there(records, each) for each in kinds if each in _LISTED)))
            raise UsageError(
                f"nothing in {records.project.root} is called {thing!r}; looked for: {looked}",
                hint=hint or _there(records, kinds[0]),
            )
    if len(found) > 1:
        names = ", ".join(node.id for node in found[:5])
        raise UsageError(f"{thing!r} may mean {names}", hint="repeat the command with one of these names")
    return found[0]


def _distinct(found: Iterable[Node]) -> list[Node]:
    return list({node.id: node for node in found}.values())


def _predictions(records: ChainRecords, name: str) -> Iterator[Node]:
    for folder in _logs(records):
        if (found := find_prediction(records.project.predictions, folder.name, name)) is not None:
            yield nodes.prediction_node(found)


def _labels(records: ChainRecords, name: str) -> Iterator[Node]:
    for folder in _logs(records):
        if labels := find_labels(records.project.predictions, folder.name, name):
            yield nodes.label_node(folder.name, name, labels)


def _logs(records: ChainRecords) -> list[Path]:
    return sorted(path for path in records.project.predictions.glob("*") if path.is_dir())


def _versions(records: ChainRecords, name: str) -> Iterator[Node]:
    model, slash, version = name.rpartition("/")
    model = model if slash else records.project.model
    if not version or "/" in model:
        return
    known = versions(records.project, model)
    for found in known:
        if version == found.version or version in found.aliases:
            yield nodes.version_node(records, model, found.version)
            return
    if version.isdecimal() and records.turns(model=model, version=version):
        yield nodes.version_node(records, model, version)


def _runs(records: ChainRecords, name: str) -> Iterator[Node]:
    if records.run(name) is not None:
        yield nodes.run_node(records, name)
        return
    by_run = {v.run_id: v.lineage for v in records.versions(records.project.model) if v.run_id}
    if records.turns(run_id=name):
        yield nodes.run_node(records, name, by_run.get(name))
        return
    for run_id, lineage in by_run.items():
        if run_id == name or (_HASH.fullmatch(name) and run_id.startswith(name)):
            known = None if records.run(run_id) is not None else lineage
            yield nodes.run_node(records, run_id, known)


def _turns(records: ChainRecords, name: str) -> Iterator[Node]:
    for turn in records.full_ids(Turn, name):
        yield nodes.turn_node(records, turn)


def _alerts(records: ChainRecords, name: str) -> Iterator[Node]:
    for known in records.full_ids(Alert, name):
        if (alert := records.alert(known)) is not None:
            yield nodes.alert_node(alert)


def _data(records: ChainRecords, name: str) -> Iterator[Node]:
    commit = revision(records.project, name)
    if commit is not None:
        if records.pipeline(commit) is not None:
            yield nodes.data_node(records, commit)
    elif _HASH.fullmatch(name):  # a training run may name a commit that git no longer has
        lost = {each.git_commit: each for each in _trainings(records) if each.git_commit.startswith(name)}
        for rev, lineage in lost.items():
            yield nodes.data_node(records, rev, lineage.data)


def _commits(records: ChainRecords, name: str) -> Iterator[Node]:
    if (commit := revision(records.project, name)) is not None:
        yield nodes.commit_node(records, commit)


def _data_or_commit(records: ChainRecords, name: str) -> Iterator[Node]:
    # the commit is part of the chain of its data
    yield from list(_data(records, name)) or _commits(records, name)


def _training_sets(records: ChainRecords, name: str) -> Iterator[Node]:
    if not _HASH.fullmatch(name):
        return
    for lineage in _trainings(records, digest=name):
        md5 = lineage.data.get(records.training_set, "")
        if md5.startswith(name):
            trained = {
                "feature_service": lineage.feature_service,
                "feature_definition": lineage.feature_definition,
            }
            yield nodes.training_set_node(records.training_set, md5, lineage.git_commit, trained)


def _services(records: ChainRecords, name: str) -> Iterator[Node]:
    name, at, definition = name.partition("@")
    if not at and name in records.definitions.services:
        yield nodes.service_node(records, name)
        return
    for lineage in _trainings(records, service=name):
        if lineage.feature_service == name and lineage.feature_definition.startswith(definition):
            yield nodes.service_node(records, name, lineage.feature_definition, lineage.git_commit)


def _trainings(
    records: ChainRecords, *, digest: str | None = None, service: str | None = None
) -> Iterator[Lineage]:
    """Yield the lineage of training runs, and of versions whose runs may be deleted."""
    for run in runs_of(records.project, digest=digest, service=service):
        if run.lineage is not None:
            yield run.lineage
    for version in records.versions(records.project.model):
        if version.lineage is not None:
            yield version.lineage


def _views(records: ChainRecords, name: str) -> Iterator[Node]:
    if name in records.definitions.views:
        yield nodes.view_node(records, name)


def _sources(records: ChainRecords, name: str) -> Iterator[Node]:
    path = _relative(records.project, name)
    pipeline = records.pipeline(records.head)
    views = records.definitions.views.values()
    kept = pipeline is not None and (pipeline.content(path) is not None or pipeline.is_data(path))
    if kept or any(view.source == path for view in views):
        yield nodes.source_node(pipeline, path, records.head)


def _stages(records: ChainRecords, name: str) -> Iterator[Node]:
    pipeline = records.pipeline(records.head)
    if pipeline is not None and records.head is not None and name in pipeline.stages:
        yield nodes.stage_node(pipeline, pipeline.stages[name], records.head)


def _relative(project: Project, name: str) -> str:
    """Return a path relative to the project's root, given relative to the current folder or to the root."""
    for path in (Path.cwd() / name, project.root / name):
        if _is_there(path) and path.resolve().is_relative_to(project.root.resolve()):
            return path.resolve().relative_to(project.root.resolve()).as_posix()
    return name.removeprefix("./")


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # such as a name that is too long for any file
        return False


KINDS: Mapping[str, Finder] = {
    "prediction": _predictions,
    "label": _labels,
    "version": _versions,
    "run": _runs,
    "training-set": _training_sets,
    "service": _services,
    "view": _views,
    "data": _data,
    "source": _sources,
    "stage": _stages,
    "commit": _commits,
    "turn": _turns,
    "alert": _alerts,
    "revision": _data_or_commit,
}
"""The function that finds a thing, by the kind that may precede its name."""

_SURE = {"pred_": "prediction", "turn_": "turn", "alert_": "alert"}
_GUESSED = ["version", "run", "revision", "source", "service", "view", "training-set", "stage"]
_LISTED = ("version", "revision", "service", "view")


def _there(records: ChainRecords, kind: str) -> str:
    """Return a message that lists the things of a kind."""
    project, defined = records.project, records.definitions
    match kind:
        case "version":
            found = [f"{m}/{v.version}" for m in models(project) for v in versions(project, m)]
            return _listed("versions", found)
        case "service":
            return _listed("services", list(defined.services))
        case "view":
            return _listed("views", list(defined.views))
        case "data" | "commit" | "revision":
            return "revisions: see `tidemill data log`"
        case "source" | "stage":
            pipeline = records.pipeline(records.head)
            things = (
                [] if pipeline is None else [*(pipeline.outputs if kind == "source" else pipeline.stages)]
            )
            return _listed("data files" if kind == "source" else "stages", things)
        case "prediction" | "label":
            return f"the log lies in {project.predictions}; `tidemill lineage champion --ids 5` shows some"
        case "run" | "training-set":
            return "`tidemill models list` shows runs, `tidemill models show` the data of a version"
        case _:
            return f"`tidemill status` shows recent {kind}s"


def _listed(what: str, names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{what}: {', '.join(names[:most]) or 'none'}{more}"
