"""Commits are listed whatever their subjects hold and however git is configured."""

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from tidemill.data.repository.git import commits, git, git_try
from tidemill.lineage.sources.pipeline import read_commit, revision

if TYPE_CHECKING:
    from tidemill.project import Project


@pytest.fixture
def root(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    git(tmp_path, "config", "user.name", "Ada")
    git(tmp_path, "config", "user.email", "ada@localhost")
    return tmp_path


def test_what_no_program_can_be_given_names_no_commit(root: Path):
    git(root, "commit", "--quiet", "--allow-empty", "--message", "the first")
    project = cast("Project", SimpleNamespace(root=root))
    assert revision(project, "HEAD") is not None
    assert revision(project, "HEAD\0") is None
    assert "NUL" in git_try(root, "rev-parse", "HEAD\0").stderr


def test_a_subject_may_hold_any_character(root: Path):
    subjects = ["form\x0cfeed", "a\u2028b", "a\x85b", "a\x1fb\x1e", "", "plain"]
    for subject in subjects:
        git(root, "commit", "--quiet", "--allow-empty", "--allow-empty-message", "--message", subject)
    listed = commits(root, "HEAD")
    project = cast("Project", SimpleNamespace(root=root))
    assert [subject for _, _, subject in listed] == subjects[::-1]
    for full, time, subject in listed:
        commit = read_commit(project, full)
        assert commit is not None
        assert (commit.revision, commit.time) == (full, time)
        assert (commit.author, commit.message) == ("Ada", subject)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
def test_signatures_that_git_is_told_to_show_are_left_out(root: Path):
    key = root / ".git/key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    options = {"gpg.format": "ssh", "user.signingkey": str(key), "commit.gpgsign": "true"}
    for name, value in {**options, "log.showSignature": "true"}.items():
        git(root, "config", name, value)
    git(root, "commit", "--quiet", "--allow-empty", "--message", "signed")
    assert [subject for _, _, subject in commits(root, "HEAD")] == ["signed"]
