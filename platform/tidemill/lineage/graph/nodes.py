"""Makes the lineage nodes: the facts on record for each kind of thing, and what is missing.

These facts are in event time: ``at``, ``as_of``, ``since``, ``until``, ``first_at``, ``last_at``,
``raised_at``. These are in wall-clock time: ``served_at``, ``registered_at``, ``started_at``,
``requested_at``, ``committed_at``.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tidemill.features.project_features import feature_source
from tidemill.lineage.graph.chain_graph import Node
from tidemill.lineage.sources.chain_sources import ChainRecords
from tidemill.lineage.sources.pipeline import Content, Pipeline, Stage
from tidemill.registry.history.service_periods import Service
from tidemill.state.tables import Alert, Turn
from tidemill.training.tracking.run_lineage import Lineage

__all__ = [
    "alert_node",
    "commit_node",
    "data_node",
    "label_node",
    "prediction_node",
    "promotion_node",
    "run_node",
    "service_node",
    "source_node",
    "stage_node",
    "training_set_node",
    "turn_node",
    "version_node",
    "view_node",
]


def prediction_node(record: Mapping[str, Any]) -> Node:
    """Return the node of a prediction in the log."""
    facts = {name: value for name, value in record.items() if name != "prediction_id"}
    return Node(f"prediction:{record['prediction_id']}", facts)


def label_node(model: str, prediction: str, labels: list[dict[str, Any]]) -> Node:
    """Return the node of a prediction's label; of several labels the last one counts."""
    last = {name: value for name, value in labels[-1].items() if name != "prediction_id"}
    return Node(f"label:{prediction}", {"model": model, **last, "labels": len(labels)})


def version_node(records: ChainRecords, model: str, version: str) -> Node:
    """Return the node of a model version."""
    found = records.version(model, version)
    identity = {"model": model, "version": version}
    if found is None:
        gap = f"the registry has no {model} {version} (any more)"
        return Node(f"version:{model}/{version}", identity, gap)
    return Node(
        f"version:{model}/{version}",
        {
            **identity,
            "aliases": list(found.aliases),
            "registered_at": found.registered_at,
            "run_id": found.run_id or None,
            "turn_id": found.turn_id,
            "description": found.description,
            "metrics": dict(found.metrics),
            "gate": _gate_facts(records, model, version) or found.decision,
        },
        None if found.lineage else "it has no lineage: Tidemill did not train it",
    )


def _gate_facts(records: ChainRecords, model: str, version: str) -> dict[str, Any] | None:
    decision = records.last_decision(model, version)
    if decision is None:
        return None
    return {
        "decision": decision.id,
        "champion": decision.champion,
        "mode": decision.mode,
        "passed": decision.passed,
        "reasons": list(decision.reasons),
        "numbers": dict(decision.numbers),
        "at": decision.decided_at.isoformat(),
    }


def run_node(records: ChainRecords, run_id: str, lineage: Lineage | None = None) -> Node:
    """Return the node of a run; ``lineage`` is the version's copy, used if MLflow no longer has the run."""
    run = records.run(run_id)
    lineage = (run.lineage if run else None) or lineage
    facts: dict[str, Any] = {} if lineage is None else _lineage_facts(records, lineage)
    if run is None:
        return Node(f"run:{run_id}", facts, "MLflow has no such run (any more)")
    own = {
        "name": run.name,
        "status": run.status,
        "started_at": run.started_at,
        "turn_id": run.turn_id,
        "parent_run_id": run.parent,
        "source_commit": run.commit,
    }
    gap = "it was deleted in MLflow" if run.deleted else None
    if lineage is not None and lineage.uncommitted:
        changed = f"code that no commit holds: {', '.join(lineage.uncommitted)}"
        gap = f"{gap}; {changed}" if gap else changed
    if lineage is not None and lineage.imported is not None:
        origin = f"imported from {lineage.imported['from']}: what it was trained on is not on record"
        gap = f"{gap}; {origin}" if gap else origin
    if lineage is None and run.parent is None:
        gap = "it has no lineage: Tidemill did not make it"
    return Node(f"run:{run_id}", own | facts, gap)


def _lineage_facts(records: ChainRecords, lineage: Lineage) -> dict[str, Any]:
    plain = lineage.as_dict()
    return {
        "as_of": lineage.as_of,
        "split": plain["split"],
        "packages": plain["packages"],
        "data_revision": lineage.git_commit,
        "uncommitted": plain["uncommitted"],
        "data": plain["data"],
        "training_set": {"path": records.training_set, "md5": lineage.data.get(records.training_set)},
        "feature_service": lineage.feature_service,
        "feature_definition": lineage.feature_definition,
        **({} if lineage.imported is None else {"imported": dict(lineage.imported)}),
        **({} if lineage.parent is None else {"goes_on_from": lineage.parent["version"]}),
    }


def training_set_node(path: str, md5: str, revision: str | None, trained: Mapping[str, Any]) -> Node:
    """Return the node of a training set; ``trained`` holds the facts of the run that the walk came from."""
    return Node(
        f"training-set:{md5}",
        {
            "path": path,
            "md5": md5,
            "data_revision": revision,
            "feature_service": trained.get("feature_service"),
            "feature_definition": trained.get("feature_definition"),
        },
    )


def service_node(
    records: ChainRecords, name: str, definition: str | None = None, rev: str | None = None
) -> Node:
    """Return the node of a feature service: as it is applied, or as a training run used it.

    A definition that differs from the applied one has a node of its own, ``service:<name>@<hash>``.

    Args:
        records: the records to read.
        name: name of the service.
        definition: hash of the definition that a training run used; None for the applied one.
        rev: data version of that training run.
    """
    defined = records.definitions
    own = name == feature_source(records.project)
    applied = defined.applied_hash if own else None
    service = defined.services.get(name)
    same = None if definition is None or applied is None else definition == applied
    facts = {
        "definition": definition or applied,
        "applied_definition": applied,
        "still_applied": same,
        "data_revision": rev,
        "views": list(service.views) if service and same is not False else None,
        "features": list(service.features) if service and same is not False else None,
    }
    if same is False:
        where = f"; it stands in commit {rev[:10]}" if rev else ""
        gap = f"this definition is no longer applied: the one applied now is {str(applied)[:12]}{where}"
        return Node(f"service:{name}@{str(definition)[:12]}", facts, gap)
    there = ", ".join(sorted(defined.services)) or "none"
    missing = None if service else f"no service of this name is applied (there are: {there})"
    return Node(f"service:{name}", facts, defined.gap or missing)


def view_node(records: ChainRecords, name: str, rev: str | None = None) -> Node:
    """Return the node of a feature view as it is applied; ``rev`` is the data version of its source."""
    view = records.definitions.views.get(name)
    if view is None:
        return Node(f"view:{name}", {"data_revision": rev}, "no view of this name is applied (any more)")
    facts = {key: value for key, value in asdict(view).items() if key != "name"}
    return Node(f"view:{name}", {**facts, "data_revision": rev})


def data_node(records: ChainRecords, revision: str, known: Mapping[str, str] | None = None) -> Node:
    """Return the node of a data version; ``known`` is what a training run recorded about its content."""
    pipeline, commit = records.pipeline(revision), records.commit(revision)
    facts = {
        "revision": revision,
        "committed_at": commit.time if commit else None,
        "message": commit.message if commit else None,
        "tags": list(commit.tags) if commit else [],
        "outputs": pipeline.outputs if pipeline else dict(known or {}),
    }
    gap = None
    if commit is None:
        gap = "git has no such commit (any more): its history was rewritten, or it was never brought here"
    elif pipeline is None:
        gap = "this commit holds no data: neither a dvc.lock nor a .dvc file"
    return Node(f"data:{revision}", facts, gap)


def stage_node(pipeline: Pipeline, stage: Stage, revision: str) -> Node:
    """Return the node of a pipeline stage, as it ran for a data version."""
    facts = {
        "command": stage.command,
        "description": stage.description,
        "code": _digests(pipeline.code_of(stage)),
        "reads": _digests(pipeline.data_of(stage)),
        "writes": _digests(stage.writes),
        "params": dict(stage.params),
        "data_revision": revision,
    }
    return Node(f"stage:{stage.name}", facts)


def source_node(pipeline: Pipeline | None, path: str, revision: str | None) -> Node:
    """Return the node of a data file in a data version."""
    facts: dict[str, Any] = {"path": path, "md5": None, "size": None, "data_revision": revision}
    content = pipeline.content(path) if pipeline else None
    if content is not None:
        origin = {"imported_from": content.origin} if content.origin else {}
        return Node(f"source:{path}", facts | {"md5": content.digest, "size": content.size} | origin)
    if pipeline and pipeline.is_data(path):  # a file in a folder that DVC tracks as a whole
        return Node(f"source:{path}", facts)
    where = f"data version {revision[:10]} does not hold it" if revision else "no data version holds it"
    return Node(f"source:{path}", facts, f"{where}: where it comes from is not on record")


def commit_node(records: ChainRecords, revision: str) -> Node:
    """Return the node of a commit."""
    commit = records.commit(revision)
    if commit is None:
        gap = "git has no such commit (any more): its history was rewritten, or it was never brought here"
        return Node(f"commit:{revision}", {"revision": revision}, gap)
    facts = {
        "revision": commit.revision,
        "committed_at": commit.time,
        "author": commit.author,
        "message": commit.message,
        "tags": list(commit.tags),
    }
    return Node(f"commit:{revision}", facts)


def turn_node(records: ChainRecords, turn_id: str, known: Turn | None = None) -> Node:
    """Return the node of a turn of the loop."""
    turn = known or records.turn(turn_id)
    if turn is None:
        return Node(f"turn:{turn_id}", {}, "the records have no such turn (any more)")
    columns = (
        *("model", "trigger", "policy", "reason", "actor", "as_of", "status", "step", "data_revision"),
        *("run_id", "version", "alert_id", "error", "overrides", "requested_at"),
    )
    return Node(f"turn:{turn.id}", {name: getattr(turn, name) for name in columns})


def promotion_node(model: str, service: Service) -> Node:
    """Return the node of a period in which a version was champion."""
    facts = {name: value for name, value in asdict(service).items() if name != "decision_id"}
    return Node(f"promotion:{model}/{service.version}@{service.since:%Y-%m-%dT%H:%M:%SZ}", facts)


def alert_node(alert: Alert) -> Node:
    """Return the node of an alert."""
    columns = (
        *("monitor", "model", "version", "kind", "severity", "message", "status", "raised_at"),
        *("last_seen_at", "acknowledged_by", "resolved_at"),
    )
    return Node(f"alert:{alert.id}", {name: getattr(alert, name) for name in columns})


def _digests(contents: tuple[Content, ...] | list[Content]) -> list[dict[str, Any]]:
    return [{"path": each.path, "md5": each.digest, "size": each.size} for each in contents]
