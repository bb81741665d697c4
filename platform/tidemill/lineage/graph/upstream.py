"""Finds the upstream neighbours of a node: what it was made from."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tidemill.lineage.graph import nodes
from tidemill.lineage.graph.chain_graph import Link, Node
from tidemill.lineage.sources.chain_sources import ChainRecords
from tidemill.prediction_log.search.record_search import find_prediction

__all__ = ["upstream_nodes"]


def upstream_nodes(records: ChainRecords, node: Node) -> list[Link]:
    """Return the origins of a node, nearest first; where a record is missing, those beyond the gap."""
    of = _BY_KIND.get(node.kind)
    return list(of(records, node)) if of else []


def _of_prediction(records: ChainRecords, node: Node) -> Iterable[Link]:
    version = nodes.version_node(records, node.facts["model"], node.facts["version"])
    yield Link(version, "answered by")


def _of_label(records: ChainRecords, node: Node) -> Iterable[Link]:
    found = find_prediction(records.project.predictions, node.facts["model"], node.name)
    if found is not None:
        yield Link(nodes.prediction_node(found), "label of")


def _of_version(records: ChainRecords, node: Node) -> Iterable[Link]:
    model, number = node.facts["model"], node.facts["version"]
    found = records.version(model, number)
    if found is not None and found.run_id:
        yield Link(nodes.run_node(records, found.run_id, found.lineage), "registered from")
    elif found is None:  # the registry may be wiped; other records still name the version's turn
        for turn in records.turns(model=model, version=number):
            if turn.run_id:
                yield Link(nodes.run_node(records, turn.run_id), "registered from")
            yield Link(nodes.turn_node(records, turn.id, turn), "made in")


def _of_run(records: ChainRecords, node: Node) -> Iterable[Link]:
    facts = node.facts
    if parent := facts.get("parent_run_id"):
        yield Link(nodes.run_node(records, parent), "trial of")
    if (before := facts.get("goes_on_from")) is not None:
        yield Link(nodes.version_node(records, records.project.model, before), "goes on from")
    turns = [] if facts.get("turn_id") else records.turns(run_id=node.name)
    relation = "judged on" if facts.get("imported") else "trained on"
    revision = facts.get("data_revision") or next((t.data_revision for t in turns if t.data_revision), None)
    training_set = facts.get("training_set") or {}
    if md5 := training_set.get("md5"):
        yield Link(nodes.training_set_node(training_set["path"], md5, revision, facts), relation)
    elif revision:
        yield Link(nodes.data_node(records, revision, facts.get("data")), relation)
    if turn_id := facts.get("turn_id") or next((turn.id for turn in turns), None):
        yield Link(nodes.turn_node(records, turn_id), "made in")


def _of_training_set(records: ChainRecords, node: Node) -> Iterable[Link]:
    facts = node.facts
    revision = facts.get("data_revision")
    if service := facts.get("feature_service"):
        defined = nodes.service_node(records, service, facts.get("feature_definition"), revision)
        yield Link(defined, "features from")
    if revision:
        yield Link(nodes.data_node(records, revision, {facts["path"]: facts["md5"]}), "part of")


def _of_service(records: ChainRecords, node: Node) -> Iterable[Link]:
    for view in node.facts.get("views") or ():
        yield Link(nodes.view_node(records, view, node.facts.get("data_revision")), "made of")


def _of_view(records: ChainRecords, node: Node) -> Iterable[Link]:
    revision = node.facts.get("data_revision") or records.head
    for view in node.facts.get("reads") or ():
        yield Link(nodes.view_node(records, view, revision), "computed from")
    if path := node.facts.get("source"):
        yield Link(nodes.source_node(records.pipeline(revision), path, revision), "read from")


def _of_data(records: ChainRecords, node: Node) -> Iterable[Link]:
    revision = node.facts["revision"]
    pipeline = records.pipeline(revision)
    if pipeline is not None:
        for stage in pipeline.last_stages:
            yield Link(nodes.stage_node(pipeline, stage, revision), "written by")
        for content in pipeline.added:
            yield Link(nodes.source_node(pipeline, content.path, revision), "holds")
    if records.commit(revision) is not None:
        yield Link(nodes.commit_node(records, revision), "committed as")


def _of_source(records: ChainRecords, node: Node) -> Iterable[Link]:
    revision = node.facts.get("data_revision")
    pipeline = records.pipeline(revision)
    if pipeline is None or revision is None:
        return
    if (stage := pipeline.writer(node.name)) is not None:
        yield Link(nodes.stage_node(pipeline, stage, revision), "written by")
    else:
        # Of what lies outside the project the commit holds the digest alone.
        relation = "kept in" if pipeline.is_data(node.name) else "recorded in"
        yield Link(nodes.commit_node(records, revision), relation)


def _of_stage(records: ChainRecords, node: Node) -> Iterable[Link]:
    revision = node.facts["data_revision"]
    pipeline = records.pipeline(revision)
    if pipeline is None:
        return
    read = node.facts["reads"]
    for content in read:
        yield Link(nodes.source_node(pipeline, content["path"], revision), "reads")
    if not read:
        yield Link(nodes.commit_node(records, revision), "code from")


def _of_turn(records: ChainRecords, node: Node) -> Iterable[Link]:
    if revision := node.facts.get("data_revision"):
        yield Link(nodes.data_node(records, revision), "versioned")
    if (alert := records.alert(node.facts.get("alert_id"))) is not None:
        yield Link(nodes.alert_node(alert), "set off by", final=True)


def _of_watched(records: ChainRecords, node: Node) -> Iterable[Link]:
    yield Link(nodes.version_node(records, node.facts["model"], node.facts["version"]), "about")


_BY_KIND: Mapping[str, Callable[[ChainRecords, Any], Iterable[Link]]] = {
    "prediction": _of_prediction,
    "label": _of_label,
    "version": _of_version,
    "run": _of_run,
    "training-set": _of_training_set,
    "service": _of_service,
    "view": _of_view,
    "data": _of_data,
    "source": _of_source,
    "stage": _of_stage,
    "turn": _of_turn,
    "alert": _of_watched,
}
