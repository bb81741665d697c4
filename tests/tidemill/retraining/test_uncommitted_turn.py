"""A turn with code that no commit holds says so: at once, on its version, and in the lineage."""

import json
from pathlib import Path

import pytest
from mlflow.artifacts import download_artifacts

from tests.tidemill.lineage.small_world import NOON
from tests.tidemill.retraining.small_loop import write_loop
from tidemill.features.feature_store import service_features
from tidemill.lineage.graph.chain import trace
from tidemill.registry.versions.model_versions import get_version
from tidemill.registry.versions.registry_reader import read_version
from tidemill.retraining.turns.turn import make_turn
from tidemill.retraining.turns.turn_begin import TurnRequest
from tidemill.state import open_state
from tidemill.training.tracking.showing.listed_runs import list_project_runs

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def turned(tmp_path_factory, ray_of_the_session):
    """One turn of a project with an edited stage and a new module."""
    project = write_loop(tmp_path_factory.mktemp("uncommitted") / "parcels")
    for name in ("feature_repo/parcel_views.py", "pipelines/observe.py", "pipelines/training_set.py"):
        path = project.root / name
        path.write_text(path.read_text().replace('"rain"', '"drizzle"') + "# edited\n")
    (project.root / "pipelines" / "added.py").write_text("# edited\n")
    said = []
    turn = make_turn(
        project,
        open_state(project.state_url),
        TurnRequest(NOON, "by hand", "ada", promote=False),
        lambda event: said.append(event.message),
    )
    return project, turn, said


CHANGED = (
    "feature_repo/parcel_views.py",
    "pipelines/added.py",
    "pipelines/observe.py",
    "pipelines/training_set.py",
)


def test_the_turn_says_so(turned):
    _, _, said = turned
    told = (
        "4 files with uncommitted changes: feature_repo/parcel_views.py, pipelines/added.py, "
        "pipelines/observe.py and 1 more; they go on record"
    )
    assert told in said


def test_the_version_and_its_run_record_it(turned):
    project, turn, _ = turned
    version = get_version(project, turn.version)
    assert version.lineage.uncommitted == CHANGED
    assert "with uncommitted changes" in version.description
    assert read_version(project, turn.version).lineage["uncommitted"] == list(CHANGED)
    patch = download_artifacts(
        run_id=turn.run_id, artifact_path="uncommitted.patch", tracking_uri=project.tracking_uri
    )
    text = Path(patch).read_text()
    assert text.count("+# edited") == 4
    [listed] = list_project_runs(project, metric="holdout_roc_auc", shown="searches", size=1)
    assert listed.uncommitted == f"4: {', '.join(CHANGED)}"


def test_the_lineage_says_so(turned):
    project, turn, _ = turned
    graph = trace(project, turn.version, ["up"])
    (run,) = [node for node in graph.nodes.values() if node.kind == "run"]
    assert json.loads(json.dumps(run.facts["uncommitted"])) == list(CHANGED)
    assert run.gap == f"code that no commit holds: {', '.join(CHANGED)}"


def test_renamed_features_are_applied_although_no_stage_does(turned):
    project, turn, said = turned
    assert said.count("the definitions in the feature repository have changed: they are applied") == 1
    assert service_features(project) == ("wind", "drizzle")
    assert turn.status == "registered"
