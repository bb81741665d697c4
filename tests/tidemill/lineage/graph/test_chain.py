"""The chain of one real turn: DVC, Feast, Ray Tune, MLflow, a promotion, the real predictor's predictions."""

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest

from tests.tidemill.lineage.small_world import NOON
from tidemill.data.repository.git import git
from tidemill.errors import UsageError
from tidemill.features.feature_store import apply, definition_hash
from tidemill.lineage.graph.chain import trace
from tidemill.lineage.graph.chain_graph import Graph
from tidemill.training.tracking.mlflow_tracking import connect

pytestmark = pytest.mark.engine


@pytest.fixture
def project(world, tmp_path):
    return world.copy(tmp_path / "parcels")


@pytest.fixture(scope="module")
def shared(world, tmp_path_factory):
    """A copy that tests only read."""
    return world.copy(tmp_path_factory.mktemp("shared") / "parcels")


def path_up(graph: Graph, *kinds: str) -> list[str]:
    """Follow the first edge up to each of ``kinds`` in turn; the ids on the way."""
    here, found = graph.start, [graph.start]
    for kind in kinds:
        ups = [edge.upper for edge in graph.edges if edge.lower == here and edge.upper.startswith(f"{kind}:")]
        assert ups, f"no {kind} above {here}"
        here = ups[0]
        found.append(here)
    return found


def of_kind(graph: Graph, kind: str):
    return [node for node in graph.nodes.values() if node.kind == kind]


def only(graph: Graph, kind: str):
    (node,) = of_kind(graph, kind)
    return node


def test_from_a_prediction_to_the_commit(world, shared):
    graph = trace(shared, world.predictions[0], ["up"])
    md5 = only(graph, "training-set").facts["md5"]
    assert path_up(graph, "version", "run", "training-set", "data", "commit") == [
        f"prediction:{world.predictions[0]}",
        "version:parcel-delay/1",
        f"run:{world.run_id}",
        f"training-set:{md5}",
        f"data:{world.revision}",
        f"commit:{world.revision}",
    ]
    assert path_up(graph, "version", "run", "training-set", "service", "view", "source", "stage")[4:] == [
        "service:parcels",
        "view:weather",
        "source:data/weather.parquet",
        "stage:observe",
    ]
    assert not graph.gaps
    facts = graph.nodes[graph.start].facts
    assert (facts["replica"], facts["version"], facts["keys"]) == ("replica-1", "1", {"depot": "north"})
    assert facts["at"] == "2013-05-01T13:00:00+00:00"
    service = only(graph, "service").facts
    assert service["still_applied"] is True
    assert service["definition"] == definition_hash(shared)
    assert only(graph, "run").facts["as_of"] == NOON
    assert graph.nodes["stage:training_set"].facts["code"][0]["path"] == "feature_repo/parcel_views.py"
    assert only(graph, "turn").facts["actor"] == "ada"


def test_from_a_data_version_to_who_served_and_what_became_of_it(world, shared):
    graph = trace(shared, world.revision[:8], ["down"])
    assert graph.start == f"data:{world.revision}"
    assert only(graph, "version").facts["aliases"] == ["champion"]
    promotion = only(graph, "promotion").facts
    assert (promotion["since"], promotion["until"], promotion["actor"]) == (NOON, None, "ada")
    counted = only(graph, "predictions").facts
    assert (counted["predictions"], counted["test"], counted["labelled"]) == (3, 1, 1)
    assert counted["first_at"] == datetime(2013, 5, 1, 13, tzinfo=UTC)
    assert only(graph, "labels").facts == {"labelled": 1, "of": 3}
    assert only(graph, "reports").facts["verdicts"] == {"alert": 1}
    assert only(graph, "alert").id == f"alert:{world.alert_id}"
    assert not of_kind(graph, "prediction")
    with_ids = trace(shared, world.revision, ["down"], ids=2)
    assert {node.name for node in of_kind(with_ids, "prediction")} == set(world.predictions[1:])
    assert only(trace(shared, world.predictions[0], ["down"]), "label").facts["label"] == 0  # the later one


@pytest.mark.parametrize(
    ("thing", "start"),
    [
        ("1", "version:parcel-delay/1"),
        ("champion", "version:parcel-delay/1"),
        ("parcel-delay/champion", "version:parcel-delay/1"),
        ("weather", "view:weather"),
        ("data/weather.parquet", "source:data/weather.parquet"),
        ("./data/depots.csv", "source:data/depots.csv"),
        ("observe", "stage:observe"),
        ("service:parcels", "service:parcels"),
    ],
)
def test_what_is_meant_is_guessed(shared, thing, start):
    graph = trace(shared, thing, depth=1)
    assert graph.start == start
    assert len(graph.nodes) > 1


def test_ids_name_things_too(world, shared):
    for thing, kind in (
        (world.run_id, "run"),
        (world.turn_id, "turn"),
        (world.alert_id, "alert"),
        ("HEAD", "data"),
    ):
        assert trace(shared, thing, depth=1).start.startswith(f"{kind}:")
    for whole, short in ((world.run_id, 8), (world.turn_id, -3), (world.alert_id, -3)):  # as lists show them
        assert trace(shared, whole[:short], depth=1).start.endswith(f":{whole}")
    md5 = only(trace(shared, "champion", ["up"], depth=2), "training-set").name
    for name in (md5, f"training-set:{md5[:10]}"):  # as the tree shows it
        assert only(trace(shared, name, ["down"]), "predictions").facts["predictions"] == 3
    assert trace(shared, f"commit:{world.revision[:10]}", ["down"]).nodes["version:parcel-delay/1"]


@pytest.mark.parametrize("thing", ["view:weather", "data/weather.parquet", "service:parcels", "observe"])
def test_what_a_file_view_or_service_went_into(shared, thing):
    assert "predictions:parcel-delay/1" in trace(shared, thing, ["down"]).nodes


def test_what_is_unknown_or_ambiguous_is_told(world, shared):
    with pytest.raises(UsageError, match=r"'wether'; looked for: version, run, revision, source") as unknown:
        trace(shared, "wether")
    assert "versions: parcel-delay/1" in str(unknown.value.hint)
    assert "views: weather" in str(unknown.value.hint)
    with pytest.raises(UsageError, match="there is no version '7'") as version:
        trace(shared, "version:7")
    assert version.value.hint == "versions: parcel-delay/1"
    with pytest.raises(UsageError, match="looked for: prediction"):
        trace(shared, "pred_01kagr00000000000000000000")
    git(shared.root, "tag", "weather")
    with pytest.raises(UsageError, match=rf"may mean data:{world.revision}, view:weather"):
        trace(shared, "weather")
    assert trace(shared, "view:weather").start == "view:weather"
    git(shared.root, "tag", "--delete", "weather")


def test_a_definition_that_changed_is_a_gap(world, project):
    before = definition_hash(project)
    definitions = project.root / "feature_repo" / "parcel_views.py"
    definitions.write_text(definitions.read_text().replace("hours=3", "hours=6"))
    apply(project)
    graph = trace(project, world.predictions[0], ["up"])
    service = only(graph, "service")
    assert service.id == f"service:parcels@{before[:12]}"
    assert service.facts["still_applied"] is False
    assert f"it stands in commit {world.revision[:10]}" in str(service.gap)
    assert graph.nodes[f"commit:{world.revision}"].gap is None
    assert "version:parcel-delay/1" in trace(project, service.id, ["down"]).nodes
    changed = trace(project, "service:parcels", ["down"])
    assert {edge.relation for edge in changed.edges} > {"features from an earlier definition of"}


def test_a_wiped_registry_is_a_gap_and_the_records_fill_in(world, project):
    connect(project).delete_registered_model("parcel-delay")
    with closing(sqlite3.connect(project.home / "mlflow.db")) as database:
        database.execute("DELETE FROM runs")
        database.commit()
    graph = trace(project, world.predictions[0], ["up"])
    assert graph.nodes["version:parcel-delay/1"].gap == "the registry has no parcel-delay 1 (any more)"
    assert graph.nodes[f"run:{world.run_id}"].gap == "MLflow has no such run (any more)"
    assert graph.nodes[f"commit:{world.revision}"].gap is None
    assert trace(project, "1", ["down"]).nodes["predictions:parcel-delay/1"].facts["predictions"] == 3


def test_lost_records_of_turns_and_features_are_gaps(world, project):
    (project.home / "state.db").unlink()
    (project.home / "registry.db").unlink()
    graph = trace(project, world.predictions[0], ["up"])
    gaps = {node.kind: str(node.gap) for node in graph.gaps}
    assert "no such turn" in gaps["turn"]
    assert "no service of this name is applied" in gaps["service"]
    assert graph.nodes[f"commit:{world.revision}"].gap is None


def test_a_registry_that_cannot_be_read_is_a_gap_that_says_why(world, project):
    (project.home / "registry.db").write_bytes(b"\xffno registry")
    graph = trace(project, f"run:{world.run_id}", ["up"])
    (gap,) = [str(node.gap) for node in graph.gaps if node.kind == "service"]
    assert gap.startswith("what Feast has applied cannot be read: ")
    assert "feast.core.Registry" in gap


def test_a_history_that_was_rewritten_is_a_gap(world, project):
    git(project.root, "checkout", "--quiet", "--orphan", "fresh")
    git(project.root, "commit", "--quiet", "--message", "Squashed")
    git(project.root, "branch", "--quiet", "-D", "main")
    git(project.root, "reflog", "expire", "--expire=now", "--all")
    git(project.root, "gc", "--quiet", "--prune=now")
    graph = trace(project, world.predictions[0], ["up"])
    lost = graph.nodes[f"data:{world.revision}"]
    assert "git has no such commit" in str(lost.gap)
    assert set(lost.facts["outputs"]) == {"data/training_set.parquet"}
    assert trace(project, world.revision[:12], ["down"]).nodes["version:parcel-delay/1"]
    shutil.rmtree(project.root / ".git")
    assert trace(project, world.predictions[0], ["up"]).gaps
