"""Code that no commit holds: what counts, and the patch that makes it of the commit."""

import json
import subprocess

import pytest

from tidemill.data.repository.committed_files import committed_digests
from tidemill.data.repository.git import git
from tidemill.data.repository.uncommitted_code import IN_PATCH, PATCH_LIMIT, files_left_out, find_uncommitted
from tidemill.data.repository.untracked_patches import UNTRACKED_LIMIT
from tidemill.training.tracking.origins.captured_code import capture_code
from tidemill.training.tracking.origins.code_differences import code_diff


@pytest.fixture
def root(tmp_path):
    """A repository with a stage, a page, and an ignored folder."""
    git(tmp_path, "init", "--quiet")
    for name, value in (("user.name", "ada"), ("user.email", "ada@example.org")):
        git(tmp_path, "config", name, value)
    for name, text in {
        "pipelines/stage.py": "SPEED = 1\n",
        "pipelines/old.py": "OLD = 1\n",
        "README.md": "A page\n",
        "tests/test_stage.py": "",
        "monitoring/monitors.yaml": "monitors: []\n",
        ".gitignore": "/build/\n",
    }.items():
        write(tmp_path / name, text)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "First")
    return tmp_path


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)


def test_a_clean_folder_has_none(root):
    found = find_uncommitted(root)
    assert (found.files, found.patch) == ((), b"")


def test_what_no_training_reads_does_not_count(root):
    for name in ("README.md", "tests/test_stage.py", "monitoring/monitors.yaml", "build/made.py", "rows.csv"):
        write(root / name, "changed\n")
    assert find_uncommitted(root).files == ()


def test_a_notebook_that_was_run_is_still_the_commits(root):
    def notebook(code, **run):
        return json.dumps({"cells": [{"cell_type": "code", "source": [code], **run}]})

    for name in ("look.ipynb", "fit.ipynb"):
        write(root / name, notebook("A = 1"))
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "Notebooks")
    write(root / "look.ipynb", notebook("A = 1", execution_count=3, outputs=["1"]))
    write(root / "fit.ipynb", notebook("A = 2"))
    assert find_uncommitted(root).files == capture_code(root).changed == ("fit.ipynb",)


def test_the_patch_makes_the_folder_of_the_commit(root):
    write(root / "pipelines/stage.py", "SPEED = 2\nNAME = 'größer'\n", "latin-1")
    (root / "pipelines/old.py").unlink()
    write(root / "pipelines/new [1].py", "NEW = 1\n")
    write(root / "serving/staged.py", "STAGED = 1\n")
    git(root, "add", "serving/staged.py")
    found = find_uncommitted(root)
    files = {name: (root / name).read_bytes() if (root / name).exists() else None for name in found.files}

    assert found.files == (
        "pipelines/new [1].py",
        "pipelines/old.py",
        "pipelines/stage.py",
        "serving/staged.py",
    )
    git(root, "reset", "--quiet", "--hard")
    git(root, "clean", "--quiet", "--force", "-d")
    subprocess.run(["git", "apply", "-"], cwd=root, input=found.patch, check=True)
    for name, content in files.items():
        assert ((root / name).read_bytes() if content is not None else (root / name).exists()) == (
            content if content is not None else False
        )


def test_small_texts_that_code_may_read_are_in_a_patch_of_their_own(root):
    for name, text in {
        "lookup.json": '{"scale": 2}\n',
        "data/words one.txt": "größer",
        "map.csv": "a,b\n",
        "api.key": "x",
        "long.txt": "x" * (UNTRACKED_LIMIT + 1),
        "run.log": "",
        "build/made.txt": "",
        ".idea/x.xml": "",
    }.items():
        write(root / name, text)
    found, plain = find_uncommitted(root), capture_code(root)
    assert (found.files, found.patch, plain.changed) == ((), b"", ())
    assert found.beside == {
        "lookup.json": IN_PATCH,
        "data/words one.txt": IN_PATCH,
        "map.csv": "it is a table: `tidemill data add` versions it",
        "api.key": "it looks like a secret",
        "long.txt": "it is larger than 65,536 bytes",
    }
    assert set(plain.texts) | set(plain.left_out) == set(found.beside)
    commit = git(root, "rev-parse", "HEAD").strip()
    assert code_diff(root, (commit, b""), (commit, found.texts)).files == (
        "data/words one.txt",
        "lookup.json",
    )
    git(root, "clean", "--quiet", "--force", "-d")
    subprocess.run(["git", "apply", "-"], cwd=root, input=found.texts, check=True)
    assert (root / "lookup.json").read_text() == '{"scale": 2}\n'
    assert (root / "data/words one.txt").read_text() == "größer"


def test_a_large_file_is_named_but_not_copied(root):
    write(root / "pipelines/large.py", "# x\n" * (PATCH_LIMIT // 4 + 1))
    write(root / "pipelines/stage.py", "SPEED = 2\n")
    found = find_uncommitted(root)
    assert found.files == ("pipelines/large.py", "pipelines/stage.py")
    assert files_left_out(found.patch) == {"pipelines/large.py": "too large"}
    assert b"+SPEED = 2" in found.patch
    assert len(found.patch) < PATCH_LIMIT


def test_code_and_settings_that_hold_secrets_are_named_but_not_copied(root):
    write(root / "pipelines/stage.py", 'API_KEY = "f00dfeedbeef"\n')
    write(root / "pipelines/rows.py", 'ADDRESS = "postgresql://ada:hunter2@db/x"\n')
    write(root / "db-secrets.yaml", "plain: 1\n")
    write(root / "pipelines/new.py", "SPEED = 2\n")
    found = find_uncommitted(root)
    assert len(found.files) == 4
    hidden = {"pipelines/stage.py", "pipelines/rows.py", "db-secrets.yaml"}
    assert files_left_out(found.patch) == dict.fromkeys(hidden, "what looks like a secret")
    assert [word for word in (b"f00d", b"hunter2", b"plain") if word in found.patch] == []
    git(root, "checkout", "--quiet", ".")
    git(root, "clean", "--quiet", "--force", "-d")
    subprocess.run(["git", "apply", "-"], cwd=root, input=found.patch, check=True)
    assert (root / "pipelines/new.py").read_text() == "SPEED = 2\n"


def committed(root):
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "Next")
    return committed_digests(root, "HEAD")


def test_what_a_turn_writes_is_neither_another_code_nor_another_parameter(root):
    params = "data: {as_of: null, key: null}\ntrain: {trials: 8}\n"
    write(root / "params.yaml", params)
    first = committed(root)
    write(root / "params.yaml", params.replace("null", "2026-03-01", 1))
    write(root / "dvc.lock", "schema: '2.0'\n")
    write(root / "monitoring/monitors.yaml", "monitors: [other]\n")
    assert committed(root) == first
    write(root / "params.yaml", params.replace("8", "9"))
    other = committed(root)
    assert other["code_files"] == first["code_files"]
    assert other["parameters"] != first["parameters"]
    write(root / "pipelines/stage.py", "SPEED = 2\n")
    assert committed(root) == {**other, "code_files": committed_digests(root, "HEAD")["code_files"]}
    assert committed_digests(root, "HEAD")["code_files"] != other["code_files"]
    assert committed_digests(root, "0" * 40) == committed_digests(root, "") == {}
