import os
from pathlib import Path

import pytest

from tidemill.errors import TidemillError, UsageError
from tidemill.project.project import load_project
from tidemill.project.scaffold import (
    PROJECT_FILES,
    clear_folder,
    copy_project,
    new_folder,
    reference_project,
    whole_folder,
)


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
    with pytest.raises(TidemillError, match="no-such-project could not be copied"):
        copy_project(tmp_path / "no-such-project", tmp_path / "parent" / "new", mark=".mark")
    assert not any(tmp_path.iterdir())
    (tmp_path / "empty").mkdir()
    with pytest.raises(TidemillError):
        copy_project(tmp_path / "no-such-project", tmp_path / "empty")
    assert not any((tmp_path / "empty").iterdir())


@pytest.mark.parametrize("where", ["file", "file/below", "/proc/foo", "/proc/foo/bar"])
def test_a_place_for_no_folder_is_named(tmp_path: Path, where: str):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match=where) as raised:
        copy_project(reference_project(), tmp_path / where)
    assert "name a new folder" in (raised.value.hint or "")
    assert (tmp_path / "file").read_text() == "mine"


def test_parents_made_on_the_way_to_a_failure_go_too(tmp_path: Path):
    with pytest.raises(UsageError):
        copy_project(reference_project(), tmp_path / "parent" / ("x" * 300))
    assert not any(tmp_path.iterdir())


def test_a_failure_removes_links_and_not_what_they_lead_to(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kept.txt").touch()

    @new_folder(tmp_path / "new")
    def fail() -> None:
        (tmp_path / "new" / "link").symlink_to(tmp_path / "mine")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "mine" / "kept.txt").exists()


def test_clearing_takes_the_mark_too(tmp_path: Path):
    (tmp_path / "mark").touch()
    (tmp_path / "folder").mkdir()
    clear_folder(tmp_path, "mark")
    assert not any(tmp_path.iterdir())


def test_a_folder_whose_name_is_not_utf8_is_not_made(tmp_path: Path):
    target = tmp_path / os.fsdecode(b"l\xe9tin")
    with pytest.raises(UsageError, match="not in UTF-8"):
        copy_project(reference_project(), target)
    assert not target.exists()


@pytest.mark.parametrize("where", ["new", "a/b/new", "empty", "empty, a shell's", "empty, mounted", "link"])
def test_a_folder_appears_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str):
    (tmp_path / "empty").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("empty")
    target = tmp_path / where.partition(",")[0]
    if "shell" in where:
        monkeypatch.chdir(target)
        target = Path()
    if "mounted" in where:
        monkeypatch.setattr(Path, "is_mount", lambda path: path == target)
    before = target.stat() if target.exists() else None

    @whole_folder(target)
    def fail() -> None:
        (next(tmp_path.rglob(".*.tmp")) / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["empty", "link"]
    with whole_folder(target) as draft:
        (draft / "sub").mkdir()
        (draft / "sub" / "file").touch()
        assert not target.exists() or {path.name for path in target.iterdir()} <= {draft.name}
    assert [str(path.relative_to(target)) for path in target.rglob("*")] == ["sub", "sub/file"]
    assert not draft.exists()
    if before is not None:
        assert target.stat().st_mode == before.st_mode
        assert not {"shell" in where, "mounted" in where} - {False} or target.stat().st_ino == before.st_ino


@pytest.mark.parametrize("where", ["file", "file/below", "/proc/foo", "full", "x" * 300])
def test_a_place_where_no_folder_can_appear_is_refused_at_once(tmp_path: Path, where: str):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full" / "mine").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=where), whole_folder(tmp_path / where):
        raise AssertionError("the block runs")
    assert sorted(tmp_path.rglob("*")) == before


def test_what_was_put_there_meanwhile_is_left_alone(tmp_path: Path):
    @whole_folder(tmp_path / "new")
    def disturb() -> None:
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "file").write_text("mine")

    with pytest.raises(UsageError, match="not an empty folder"):
        disturb()
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert (tmp_path / "new" / "file").read_text() == "mine"
