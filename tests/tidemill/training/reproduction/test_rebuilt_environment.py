"""Environments are built by uv from what is on record of a training, and what differs of them is named."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from platform import python_version

import pytest

from tidemill.errors import TrainingError
from tidemill.training.hashed_split import HashedSplit
from tidemill.training.reproduction.rebuilt_environment import rebuild
from tidemill.training.reproduction.reproduce import environment_changes
from tidemill.training.tracking.run_lineage import Lineage

PACKAGES = {"python": python_version(), "numpy": "2.0", "zipp": "3.1", "tidemill": "0.1", "torch": "2.1+cpu"}
ENVIRONMENT = {"lock": None, "packages": PACKAGES, "hardware": {"cores": "2 cores"}, "threads": {}}
LINEAGE = Lineage(
    git_commit="4f1d" * 10,
    data={},
    feature_service="s",
    feature_definition="77c2",
    split=HashedSplit("random", 0, ("wind",), "late", None, False, {"": 0.15}, {"": 0.3}, 100),
    as_of=datetime(2026, 1, 1, tzinfo=UTC),
    packages={"python": python_version(), "numpy": "2.0"},
    environment=ENVIRONMENT,
)
_UV = """#!/bin/sh
echo "$@ $UV_PROJECT_ENVIRONMENT" >> "{asked}"
case "$*" in *uv.lock*|*sync*--frozen*) echo "no such package" >&2; exit 2;; esac
if [ "$1" = venv ]; then
  for last; do :; done
  mkdir -p "$last/bin"; ln -s "{python}" "$last/bin/python"
fi
"""


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A program in place of uv notes what it was asked, and makes an environment of this Python."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "uv"
    program.write_text(_UV.format(asked=tmp_path / "asked", python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return lambda: (tmp_path / "asked").read_text()


@pytest.mark.parametrize("lock", ["requirements.lock", None])
def test_the_lock_file_is_installed_else_what_is_on_record(lock, tmp_path, asked, monkeypatch):
    tree, folder = tmp_path / "tree", tmp_path / "folder"
    tree.mkdir(), folder.mkdir()
    if lock is not None:
        (tree / lock).touch()
    made = rebuild(tree, LINEAGE, folder)
    assert made.made_from == (lock or "the packages on record")
    said = asked()
    assert f"--python {sys.executable} {folder / 'environment'}" in said
    assert ("pip sync" in said, "pip install" in said) == (lock is not None, lock is None)
    if lock is None:
        assert (folder / "recorded.txt").read_text() == "numpy==2.0\nzipp==3.1\n"
        monkeypatch.setenv("UV_INDEX", "https://example.org/cpu")
        (again := tmp_path / "again").mkdir()
        rebuild(tree, LINEAGE, again)
        assert "torch==2.1+cpu" in (again / "recorded.txt").read_text()
    where = "import tidemill, sys; print(tidemill.__file__, sys.path[0])"
    done = subprocess.run(
        [made.python, "-P", "-S", "-c", where], env=made.environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(folder / "own" / "tidemill" / "__init__.py"), str(folder / "own")]


@pytest.mark.parametrize(
    ("lock", "lineage", "said"),
    [
        ("poetry.lock", LINEAGE, "cannot install poetry.lock"),
        ("uv.lock", LINEAGE, "uv sync: no such package"),
        (None, replace(LINEAGE, environment=None), "no list of its packages"),
    ],
)
def test_what_cannot_be_built_is_refused(lock, lineage, said, tmp_path, asked):
    if lock is not None:
        (tmp_path / lock).touch()
    with pytest.raises(TrainingError, match=said):
        rebuild(tmp_path, lineage, tmp_path)


def test_what_differs_of_an_environment_is_named():
    now = {**ENVIRONMENT, "threads": {"OMP_NUM_THREADS": "1"}}
    others = {f"other-{number}": "1" for number in range(7)}
    now["packages"] = {**PACKAGES, "numpy": "2.1", **others}
    found = environment_changes(LINEAGE, now)
    assert found[0] == "numpy 2.0, now 2.1"
    assert found[5:] == ["other-4 none, now 1", "2 other packages", "OMP_NUM_THREADS none, now 1"]
    assert environment_changes(replace(LINEAGE, environment=None), now) == found[:1]
