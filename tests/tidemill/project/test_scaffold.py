from pathlib import Path

import pytest

from tidemill.errors import UsageError
from tidemill.project.load import load_project
from tidemill.project.scaffold import PROJECT_FILES, copy_project, reference_project


def test_a_new_project_has_all_it_needs_and_nothing_made(tmp_path: Path):
    written = copy_project(reference_project(), tmp_path / "new")
    assert {path.parts[0] for path in written} == {*PROJECT_FILES, ".gitignore", ".dvcignore"}
    assert not [path for path in written if "__pycache__" in path.parts or "online_store" in path.parts]
    assert load_project(tmp_path / "new").model == "flight-delay"


def test_nothing_is_overwritten(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not an empty folder"):
        copy_project(reference_project(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        copy_project(tmp_path / "no-such-project", tmp_path / "new")
    assert not (tmp_path / "new").exists()
