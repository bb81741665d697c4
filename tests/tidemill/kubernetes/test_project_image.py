"""The image of a project: what is in it, and who builds it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tidemill.data.repository.git import git
from tidemill.errors import ClusterError, ConfigError, UsageError
from tidemill.kubernetes.project_image import committed, find_builder, image_files, write_files

WHO = ("-c", "user.name=somebody", "-c", "user.email=somebody@localhost")
BUILDER = """#!/bin/sh
printf '%s\\n' "$@" > "$(dirname "$0")/asked"
exit "${BUILDER_FAILS:-0}"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "params.yaml").write_text("project: {name: Wine, model: wine}\n")
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, *WHO, "commit", "--quiet", "--message", "A project")
    return root


def tidemill(project: Path, *words: str, path: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tidemill.cli.main", "image", "--project", str(project), *words]
    return subprocess.run(command, capture_output=True, text=True, env={"PATH": path, **environment})


def test_it_is_built_with_the_commit_on_its_label(project: Path, tmp_path: Path):
    builders = tmp_path / "bin"
    builders.mkdir()
    (builders / "podman").write_text(BUILDER)
    (builders / "podman").chmod(0o755)
    path = f"{builders}:/usr/bin:/bin"
    done = tidemill(project, "--builder", "podman", "--base", "r.example.com/t@sha256:0", "--json", path=path)
    assert done.returncode == 0, done.stderr
    said, commit = json.loads(done.stdout), git(project, "rev-parse", "HEAD").strip()
    assert (said["image"], said["commit"], said["built"]) == (f"wine:{commit[:12]}", commit, True)
    asked = (builders / "asked").read_text().split("\n")
    assert asked[0] == "build"
    assert f"org.opencontainers.image.revision={commit}" in asked
    assert "FROM r.example.com/t@sha256:0" in (project / "Containerfile").read_text()
    failed = tidemill(project, "--builder", "podman", path=path, BUILDER_FAILS="7")
    assert failed.returncode == 1
    assert "exit code 7" in failed.stderr
    none = tidemill(project, path="/nowhere:/usr/lib/git-core")
    assert (none.returncode, "no builder of images is installed" in none.stderr) == (1, True)


def test_what_is_not_committed_is_refused_or_named(project: Path):
    write_files(project)
    assert committed(project, leave_out=False).left_out == (), "what only a builder reads"
    (project / "params.yaml").write_text("project: {name: wine, model: other}\n")
    (project / "new file.py").touch()
    with pytest.raises(UsageError, match=r"new file\.py, params\.yaml"):
        committed(project, leave_out=False)
    assert committed(project, leave_out=True).left_out == ("new file.py", "params.yaml")


@pytest.mark.parametrize("address", ["https://me:token@example.com/x.git", "https://token@example.com/x.git"])
def test_a_password_in_gits_settings_is_not_put_into_an_image(project: Path, address: str):
    git(project, "remote", "add", "origin", "git@example.com:x.git")
    committed(project, leave_out=False)
    git(project, "remote", "set-url", "origin", address)
    with pytest.raises(ConfigError, match=r"remote\.origin\.url"):
        committed(project, leave_out=False)


def test_it_needs_a_repository_of_its_own(project: Path):
    inner = project / "inner"
    inner.mkdir()
    with pytest.raises(ConfigError, match="not the top folder"):
        committed(inner, leave_out=False)
    git(inner, "init", "--quiet")
    with pytest.raises(ConfigError, match="no commit yet"):
        committed(inner, leave_out=False)


def test_files_that_are_there_stay(project: Path):
    (project / ".dockerignore").write_text("mine\n")
    (project / "requirements.txt").touch()
    assert write_files(project) == {"Containerfile": True, ".dockerignore": False}
    assert (project / ".dockerignore").read_text() == "mine\n"
    made = (project / "Containerfile").read_text()
    assert made.index("USER 0:0") < made.index("pip install") < made.index("USER 10001:10001")
    assert "!requirements.txt" in image_files(requirements=True)[".dockerignore"].splitlines()


def test_a_builder_that_is_not_there_is_named():
    with pytest.raises(ClusterError, match="kaniko is not installed"):
        find_builder("kaniko")
