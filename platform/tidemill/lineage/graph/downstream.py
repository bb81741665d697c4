"""Finds the downstream neighbours of a node: what was made from it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from fnmatch import fnmatch
from typing import Any

from tidemill.lineage.graph import nodes
from tidemill.lineage.graph.chain_graph import Link, Node
from tidemill.lineage.sources.chain_sources import ChainRecords
from tidemill.lineage.sources.tracked_runs import TrainingRun, runs_of, versions_of_run
from tidemill.prediction_log.search.record_search import find_labels, latest
from tidemill.training.tracking.run_lineage import Lineage

__all__ = ["downstream_nodes"]


def downstream_nodes(records: ChainRecords, node: Node) -> list[Link]:
    """Return the nodes that were made from a node."""
    of = _BY_KIND.get(node.kind)
    return list(of(records, node)) if of else []


def _of_commit(records: ChainRecords, node: Node) -> Iterable[Link]:
    if records.pipeline(node.name) is not None:
        yield Link(nodes.data_node(records, node.name), "committed as")


def _of_data(records: ChainRecords, node: Node) -> Iterable[Link]:
    path, revision = records.training_set, node.facts["revision"]
    if md5 := node.facts["outputs"].get(path):
        yield Link(nodes.training_set_node(path, md5, revision, {}), "part of")
        return
    for run in runs_of(records.project, revision=revision):
        yield Link(nodes.run_node(records, run.run_id), "trained on")


def _of_source(records: ChainRecords, node: Node) -> Iterable[Link]:
    revision = node.facts.get("data_revision")
    pipeline = records.pipeline(revision)
    if pipeline is not None and revision is not None:
        for stage in pipeline.readers(node.name):
            yield Link(nodes.stage_node(pipeline, stage, revision), "reads")
    if node.name == records.training_set and node.facts.get("md5"):
        training_set = nodes.training_set_node(node.name, node.facts["md5"], revision, {})
        yield Link(training_set, "the content of")
    for view in records.definitions.views.values():
        if view.source and _holds(view.source, node.name):
            yield Link(nodes.view_node(records, view.name, revision), "read from")


def _of_stage(records: ChainRecords, node: Node) -> Iterable[Link]:
    revision = node.facts["data_revision"]
    for content in node.facts["writes"]:
        yield Link(nodes.source_node(records.pipeline(revision), content["path"], revision), "written by")


def _of_view(records: ChainRecords, node: Node) -> Iterable[Link]:
    defined = records.definitions
    for view in defined.views.values():
        if node.name in view.reads:
            yield Link(nodes.view_node(records, view.name), "computed from")
    for service in defined.services.values():
        if node.name in service.views:
            yield Link(nodes.service_node(records, service.name), "made of")


def _of_service(records: ChainRecords, node: Node) -> Iterable[Link]:
    name, _, earlier = node.name.partition("@")
    for lineage in _lineages(records, service=name):
        if earlier and not lineage.feature_definition.startswith(earlier):
            continue
        md5 = lineage.data.get(records.training_set)
        if md5 is None:
            continue
        trained = {"feature_service": name, "feature_definition": lineage.feature_definition}
        same = lineage.feature_definition == node.facts.get("definition")
        relation = "features from" if same else "features from an earlier definition of"
        made = nodes.training_set_node(records.training_set, md5, lineage.git_commit, trained)
        yield Link(made, relation)


def _of_training_set(records: ChainRecords, node: Node) -> Iterable[Link]:
    found = set()
    for run in runs_of(records.project, digest=node.name):
        if _trained_on(records, run.lineage, node.name):
            found.add(run.run_id)
            yield Link(nodes.run_node(records, run.run_id), "trained on")
    for version in records.versions(records.project.model):  # their runs may be gone
        known = not version.run_id or version.run_id in found
        if not known and _trained_on(records, version.lineage, node.name):
            found.add(version.run_id)
            imported = version.lineage is not None and version.lineage.imported is not None
            relation = "judged on" if imported else "trained on"
            yield Link(nodes.run_node(records, version.run_id, version.lineage), relation)


def _of_run(records: ChainRecords, node: Node) -> Iterable[Link]:
    for model, version in versions_of_run(records.project, node.name):
        yield Link(nodes.version_node(records, model, version), "registered from")


def _of_version(records: ChainRecords, node: Node) -> Iterable[Link]:
    model, version = node.facts["model"], node.facts["version"]
    for later in records.versions(model):
        before = None if later.lineage is None else later.lineage.parent
        if before is not None and before["version"] == version:
            yield Link(nodes.run_node(records, later.run_id, later.lineage), "goes on from")
    for service in records.services(model, version):
        yield Link(nodes.promotion_node(model, service), "service of")
    if (counted := records.totals(model, version)) is not None:
        facts = {"model": model, "version": version, **asdict(counted)}
        yield Link(Node(f"predictions:{model}/{version}", facts), "answered by")
    if (reports := records.reports(model, version)) is not None:
        facts = {"model": model, "version": version, **reports}
        yield Link(Node(f"reports:{model}/{version}", facts), "about")
    for alert in records.alerts(model, version):
        yield Link(nodes.alert_node(alert), "about")


def _of_predictions(records: ChainRecords, node: Node) -> Iterable[Link]:
    model, version = node.facts["model"], node.facts["version"]
    if labelled := node.facts["labelled"]:
        facts = {"labelled": labelled, "of": node.facts["predictions"]}
        yield Link(Node(f"labels:{model}/{version}", facts), "labels of")
    for record in latest(records.project.predictions, model, version, records.ids) if records.ids else ():
        yield Link(nodes.prediction_node(record), "one of")


def _of_prediction(records: ChainRecords, node: Node) -> Iterable[Link]:
    labels = find_labels(records.project.predictions, node.facts["model"], node.name)
    if labels:
        yield Link(nodes.label_node(node.facts["model"], node.name, labels), "label of")


def _of_turn(records: ChainRecords, node: Node) -> Iterable[Link]:
    if run_id := node.facts.get("run_id"):
        yield Link(nodes.run_node(records, run_id), "made in")


def _of_alert(records: ChainRecords, node: Node) -> Iterable[Link]:
    for turn in records.turns(alert_id=node.name):
        yield Link(nodes.turn_node(records, turn.id, turn), "set off by", final=True)


def _trained_on(records: ChainRecords, lineage: Lineage | None, md5: str) -> bool:
    return lineage is not None and lineage.data.get(records.training_set) == md5


def _lineages(records: ChainRecords, service: str) -> Iterable[Lineage]:
    runs: list[TrainingRun] = list(runs_of(records.project, service=service))
    yield from (run.lineage for run in runs if run.lineage is not None)
    known = {run.run_id for run in runs}
    for version in records.versions(records.project.model):
        if version.run_id not in known and version.lineage and version.lineage.feature_service == service:
            yield version.lineage


def _holds(source: str, path: str) -> bool:
    """Return whether a view's source (a file, folder or pattern) contains a file.

    >>> _holds("data/weather", "data/weather/1.parquet"), _holds("data/*.parquet", "data/a.parquet")
    (True, True)
    """
    return source == path or path.startswith(source.rstrip("/") + "/") or fnmatch(path, source)


_BY_KIND: Mapping[str, Callable[[ChainRecords, Any], Iterable[Link]]] = {
    "commit": _of_commit,
    "data": _of_data,
    "source": _of_source,
    "stage": _of_stage,
    "view": _of_view,
    "service": _of_service,
    "training-set": _of_training_set,
    "run": _of_run,
    "version": _of_version,
    "predictions": _of_predictions,
    "prediction": _of_prediction,
    "turn": _of_turn,
    "alert": _of_alert,
}
