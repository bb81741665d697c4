"""A turn with code that no commit holds says so: at once, on its version, and in the lineage."""

import json
from pathlib import Path

import pytest
from mlflow.artifacts import download_artifacts

from tests.tidemill.lineage.small_world import NOON
from tests.tidemill.retraining.small_loop import write_loop
from tidemill.lineage.graph.chain import trace
from tidemill.registry.versions.model_versions import get_version
from tidemill.registry.versions.registry_reader import read_version
from tidemill.retraining.turn import TurnRequest, make_turn
from tidemill.state import open_state

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def turned(tmp_path_factory):
    """One turn of a project with an edited stage and a new module."""
    project = write_loop(tmp_path_factory.mktemp("uncommitted") / "parcels")
    for name in ("observe.py", "added.py"):
        with (project.root / "pipelines" / name).open("a") as file:
            file.write("# edited\n")
    said = []
    turn = make_turn(
        project,
        open_state(project.state_url),
        TurnRequest(NOON, "by hand", "ada", promote=False),
        lambda event: said.append(event.message),
    )
    return project, turn, said


CHANGED = ("pipelines/added.py", "pipelines/observe.py")


def test_the_turn_says_so(turned):
    _, _, said = turned
    told = "2 files with uncommitted changes: pipelines/added.py, pipelines/observe.py; they go on record"
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
    assert text.count("+# edited") == 2


def test_the_lineage_says_so(turned):
    project, turn, _ = turned
    graph = trace(project, turn.version, ["up"])
    (run,) = [node for node in graph.nodes.values() if node.kind == "run"]
    assert json.loads(json.dumps(run.facts["uncommitted"])) == list(CHANGED)
    assert run.gap == "code that no commit holds: pipelines/added.py, pipelines/observe.py"
