import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.headless_chromium import CHROMIUM
from tests.tidemill.cli.one_process import run_each

from .conftest import run_with_warm_workers, tidemill, wait_for
from .dashboard_walk import walk

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture
def facts(small_project: Path, leaves_no_process: None) -> dict:
    done = run_with_warm_workers("demo", "--project", small_project, "--json", timeout=800)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_loop_turns_and_leaves_nothing_behind(facts: dict, small_project: Path):
    workspace = small_project / "workspace"
    first, retrained, champion, challenger = facts["turns"]

    assert (first["trigger"], first["status"], first["version"]) == ("manual", "promoted", "1")
    assert first["training"]["trials"] == 2
    assert first["gate"]["champion"] is None

    assert (retrained["trigger"], retrained["status"]) == ("data_drift", "promoted")
    assert retrained["drift"]["data_drift"]["drifted"]
    assert retrained["gate"]["champion"] == "1"
    assert retrained["swap"]["failed"] == 0
    assert set(retrained["swap"]["versions"]) == {"1", "2"}
    assert retrained["data_revision"] != first["data_revision"]

    assert champion["status"] == "promoted"
    assert challenger["status"] == "refused"
    assert challenger["gate"]["passed"] is False
    assert [one["version"] for one in facts["history"]] == ["1", "2", "3"]
    assert [v["version"] for v in facts["versions"] if "champion" in v["aliases"]] == ["3"]

    assert facts["gain"]["first_champion"]["metrics"]["roc_auc"] is not None
    assert facts["gain"]["served"]["metrics"]["roc_auc"] is not None

    assert facts["traffic"]["failed"] == 0
    assert facts["traffic"]["replayed"] == 24 * (19 + 2)
    assert facts["traffic"]["labels"] > 0
    assert facts["traffic"]["logged"] == facts["traffic"]["sent"]
    assert {one["period"][:7] for one in facts["periods"]} == {"2013-02", "2013-03"}
    assert sum(one["labelled"] for one in facts["periods"]) == facts["traffic"]["labels"]
    assert json.loads((workspace / "demo.json").read_text())["turns"] == facts["turns"]

    git = subprocess.run(["git", "status", "--porcelain"], cwd=workspace, capture_output=True, text=True)
    assert git.stdout == ""
    for turn in facts["turns"]:
        shown = ["git", "cat-file", "-t", turn["data_revision"]]
        assert subprocess.run(shown, cwd=workspace, capture_output=True, text=True).stdout == "commit\n"
    assert not list((workspace / ".tidemill" / "ray_results").glob("*"))
    if CHROMIUM is not None:
        walk(workspace)
    _history_from_the_command_line(workspace)
    _an_interrupted_second_demo(small_project)


def _history_from_the_command_line(workspace: Path) -> None:
    history, refused, back, unknown = run_each(
        workspace,
        [
            "models history flight-delay --json",
            "promote flight-delay 4",
            "rollback flight-delay --json",
            "promote flight-delay 99",
        ],
    )
    told = json.loads(history.stdout)
    assert [one["version"] for one in told if one["kind"] != "refused"] == ["1", "2", "3"]
    assert "4" in [one["version"] for one in told if one["kind"] == "refused"]
    assert refused.returncode == 3
    assert json.loads(back.stdout) == {"model": "flight-delay", "from": "3", "to": "2"}
    assert unknown.returncode == 2


def _an_interrupted_second_demo(project: Path) -> None:
    """A second demo replaces the first one's workspace, and Ctrl-C ends it with everything it started."""
    log = project / "workspace" / ".tidemill" / "logs"
    mlflow = project / "workspace" / ".tidemill" / "mlflow.db"
    again = subprocess.Popen(
        tidemill("demo", "--project", project), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: not mlflow.exists(), 60)
    wait_for(lambda: log.exists() and list(log.iterdir()), 120)
    again.send_signal(signal.SIGINT)
    assert again.wait(60) == 130
