"""The diff between two states of code, of commits and of what no commit held."""

import pytest

from tidemill.data.repository.git import git
from tidemill.training.tracking.origins.captured_code import capture_code
from tidemill.training.tracking.origins.code_differences import code_diff


@pytest.fixture
def root(tmp_path):
    git(tmp_path, "init", "--quiet")
    commit(tmp_path, "train.py", "SPEED = 1\n")
    return tmp_path


def commit(root, name, text):
    (root / name).write_text(text)
    git(root, "add", ".")
    git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", name)


def state(root):
    code = capture_code(root)
    return code.commit, code.patch


def test_patches_are_part_of_the_code_and_the_repository_is_not_written_to(root):
    first = state(root)
    commit(root, "README.md", "A page\n")
    assert code_diff(root, first, state(root)).files == ()
    (root / "train.py").write_text("SPEED = 2\n")
    (root / "new.py").write_text("NEW = 1\n")
    before = git(root, "count-objects", "-v")
    found = code_diff(root, first, state(root))
    assert (found.files, found.problem) == (("new.py", "train.py"), None)
    assert "-SPEED = 1\n+SPEED = 2\n" in found.text
    assert "+NEW = 1" in found.text
    assert git(root, "count-objects", "-v") == before
    assert git(root, "status", "--porcelain") == " M train.py\n?? new.py\n"
    commit(root, "other.md", "x")  # commits new.py and train.py, too
    assert code_diff(root, (first[0], found.text.encode()), state(root)).files == ()


def test_what_is_not_known_is_said(root):
    here = state(root)
    assert "no commit on record" in code_diff(root, (None, b""), here).problem
    assert "does not have commit 4f1d4f1d4f" in code_diff(root, ("4f1d" * 10, b""), here).problem
    wrong = b"diff --git a/no.py b/no.py\n--- a/no.py\n+++ b/no.py\n@@ -1 +1 @@\n-A\n+B\n"
    assert "does not apply" in code_diff(root, here, (here[0], wrong)).problem
