import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.engine


def init(*arguments: object, path: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tidemill.cli.main", "init", *map(str, arguments), "--json"],
        capture_output=True,
        text=True,
        env=os.environ if path is None else {**os.environ, "PATH": path},
    )


def test_a_new_project_is_under_git_and_dvc(tmp_path: Path):
    done = init(tmp_path / "new", "--remote", tmp_path / "remote")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "new" / ".git").is_dir()
    assert (tmp_path / "new" / ".dvc" / "config").is_file()
    assert (tmp_path / "remote").is_dir()


@pytest.mark.parametrize("folder", ["a/new", "empty"])
def test_without_git_nothing_stays(tmp_path: Path, folder: str):
    (tmp_path / "empty").mkdir()
    done = init(tmp_path / folder, "--remote", tmp_path / "b" / "remote", path="/nowhere")
    assert done.returncode == 1
    assert "git is not installed" in json.loads(done.stderr)["message"]
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


def test_a_remote_that_cannot_be_made_is_named_and_nothing_stays(tmp_path: Path):
    done = init(tmp_path / "new", "--remote", "/proc/zz")
    assert done.returncode == 1
    assert "/proc/zz cannot be made as the DVC remote" in json.loads(done.stderr)["message"]
    assert not any(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    done = init(tmp_path)
    assert done.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
