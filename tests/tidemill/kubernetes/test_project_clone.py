"""The project's volume: cloned once, merged by new images, never overwritten."""

import subprocess
import sys
from pathlib import Path

import pytest

from tidemill.data.repository.git import git
from tidemill.errors import ConfigError, DataError
from tidemill.files.locks import locked
from tidemill.kubernetes.project_clone import bring_project


@pytest.fixture(autouse=True)
def somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Tidemill")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "tidemill@localhost")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    folder = tmp_path / "image"
    folder.mkdir()
    git(folder, "init", "--quiet")
    commit(folder, "params.yaml", "as_of: null\n\n\n\n\ntrials: 12\n")
    return folder


def commit(root: Path, name: str, text: str) -> None:
    (root / name).write_text(text)
    git(root, "add", name)
    git(root, "commit", "--quiet", "--message", f"Change {name}")


def test_an_empty_volume_gets_the_project_and_a_used_one_what_is_new(image: Path, tmp_path: Path):
    volume = tmp_path / "volume"
    (volume / "lost+found").mkdir(parents=True)
    command = [
        sys.executable,
        "-m",
        "tidemill.kubernetes.project_clone",
        "--image",
        image,
        "--volume",
        volume,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (volume / "params.yaml").read_text() == (image / "params.yaml").read_text()

    commit(volume, "params.yaml", "as_of: 2013-04-01\n\n\n\n\ntrials: 12\n")  # as a turn does
    commit(image, "params.yaml", "as_of: null\n\n\n\n\ntrials: 24\n")
    assert bring_project(image, volume, merge=False).startswith("is there")
    assert "trials: 12" in (volume / "params.yaml").read_text()
    assert bring_project(image, volume, merge=True).startswith("merged")
    assert (volume / "params.yaml").read_text() == "as_of: 2013-04-01\n\n\n\n\ntrials: 24\n"
    with locked(volume / ".tidemill" / "turn.lock"):
        assert bring_project(image, volume, merge=True).startswith("up to date"), "no wait for the turn"


def test_a_conflict_changes_nothing_and_is_said(image: Path, tmp_path: Path):
    volume = tmp_path / "volume"
    volume.mkdir()
    bring_project(image, volume, merge=True)
    commit(volume, "params.yaml", "as_of: 2013-04-01\n")
    commit(image, "params.yaml", "as_of: 2013-05-01\n")
    before = git(volume, "rev-parse", "HEAD")
    with pytest.raises(DataError, match=r"cannot be merged.*params\.yaml"):
        bring_project(image, volume, merge=True)
    assert git(volume, "rev-parse", "HEAD") == before
    assert (volume / "params.yaml").read_text() == "as_of: 2013-04-01\n"
    assert git(volume, "status", "--porcelain", "--untracked-files=no") == ""


def test_an_image_without_a_repository_is_refused(tmp_path: Path):
    (tmp_path / "image").mkdir()
    (tmp_path / "volume").mkdir()
    with pytest.raises(ConfigError, match="no git repository"):
        bring_project(tmp_path / "image", tmp_path / "volume", merge=False)
