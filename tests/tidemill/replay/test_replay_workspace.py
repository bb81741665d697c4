import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tidemill.errors import UsageError
from tidemill.project.scaffold import reference_project
from tidemill.replay.replay_workspace import prepare_workspace
from tidemill.serving.runtime.stack_record import StackInfo

pytestmark = pytest.mark.engine

MARK = ".tidemill-demo"
PREPARE = """
import sys
from pathlib import Path
from tidemill.replay.replay_workspace import prepare_workspace
print("ready", flush=True)
prepare_workspace(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def earlier(folder: Path) -> Path:
    """Make what a killed demo left: marked, and no project any more."""
    folder.mkdir(parents=True)
    (folder / MARK).touch()
    (folder / "params.yaml").write_text("project: [broken")
    return folder


def siblings(folder: Path) -> list[Path]:
    return [path for path in folder.parent.iterdir() if path != folder]


def test_an_earlier_workspace_is_replaced_even_if_broken(tmp_path: Path):
    target = earlier(tmp_path / "work")
    (target / "old.txt").touch()
    left = earlier(tmp_path / ".work.old-1")
    assert prepare_workspace(reference_project(), target).root == target
    assert (target / MARK).is_file()
    assert not (target / "old.txt").exists()
    assert not left.exists()
    assert siblings(target) == []
    ignored = subprocess.run(["git", "status", "--porcelain"], cwd=target, capture_output=True, text=True)
    assert ignored.stdout == ""


def test_a_workspace_takes_free_ports_beside_a_stack_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TIDEMILL_SERVE_PORT", "8000")
    monkeypatch.setenv("TIDEMILL_MLFLOW_PORT", "5000")
    monkeypatch.setenv("TIDEMILL_ACTOR", "ada")
    settings = prepare_workspace(reference_project(), tmp_path / "work").settings
    assert (settings.serve_port, settings.mlflow_port, settings.actor) == (0, 0, "ada")


def test_what_no_demo_made_stays(tmp_path: Path):
    target = tmp_path / "work"
    target.mkdir()
    (target / "mine.txt").touch()
    other = tmp_path / ".work.old-mine"
    other.mkdir()
    (other / "mine.txt").touch()
    with pytest.raises(UsageError, match="not made by a demo"):
        prepare_workspace(reference_project(), target)
    (target / "mine.txt").unlink()
    prepare_workspace(reference_project(), target)
    assert (other / "mine.txt").exists()


def test_a_link_leads_to_the_workspace_and_stays(tmp_path: Path):
    real = earlier(tmp_path / "disk" / "work")
    link = tmp_path / "link"
    link.symlink_to(real)
    prepare_workspace(reference_project(), link)
    assert link.is_symlink()
    assert (real / "dvc.yaml").exists()


@pytest.mark.parametrize("where", ["file", "file/below", "/proc/q"])
def test_a_place_for_no_folder_is_refused(tmp_path: Path, where: str):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match=where):
        prepare_workspace(reference_project(), tmp_path / where)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_workspace_is_not_replaced_by_a_copy_of_itself(tmp_path: Path):
    target = earlier(tmp_path / "work")
    with pytest.raises(UsageError, match="holds the project"):
        prepare_workspace(target, target)
    assert (target / "params.yaml").exists()


def test_a_running_stack_is_seen_whatever_params_say(tmp_path: Path):
    target = earlier(tmp_path / "work")
    info = StackInfo("ready", "", os.getpid(), psutil.Process().create_time())
    (target / ".tidemill").mkdir()
    (target / ".tidemill" / "stack.json").write_text(json.dumps(dataclasses.asdict(info)))
    with pytest.raises(UsageError, match="stack is running"):
        prepare_workspace(reference_project(), target)
    assert (target / "params.yaml").exists()


@pytest.mark.engine
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_at_any_moment_the_next_demo_can_begin(tmp_path: Path, number: signal.Signals):
    target = earlier(tmp_path / "work")
    for index in range(3000):
        (target / f"{index}.txt").touch()
    for wait in (0.0, 0.01, 0.03, 0.08, 0.3):
        child = subprocess.Popen(
            [sys.executable, "-c", PREPARE, str(reference_project()), str(target)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        with child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(wait)
            child.send_signal(number)
        assert not target.exists() or not any(target.iterdir()) or (target / MARK).exists()
    prepare_workspace(reference_project(), target)
    assert siblings(target) == []
