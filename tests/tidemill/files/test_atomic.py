"""Files and folders appear whole or not at all, with the permissions that they had."""

import os
import stat
from pathlib import Path

import pytest

from tidemill.files.atomic import replace_file, replacing, replacing_files, replacing_folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failure_leaves_the_old_content_and_no_draft(tmp_path: Path):
    path = tmp_path / "params.yaml"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), replacing(path) as draft:
        draft.write_text("half, \ud800", encoding="utf-8")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["params.yaml"]


def test_permissions_are_kept_given_or_those_of_the_umask(tmp_path: Path):
    before = os.umask(0o027)
    try:
        replace_file(tmp_path / "new", "x")
        replace_file(tmp_path / "private", "x", mode=0o600)
    finally:
        os.umask(before)
    kept = tmp_path / "kept"
    kept.write_text("old")
    kept.chmod(0o664)
    replace_file(kept, b"new")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"new": 0o640, "private": 0o600, "kept": 0o664}


def test_a_private_file_is_never_readable_for_others_while_it_is_written(tmp_path: Path):
    with replacing(tmp_path / "key", mode=0o600) as draft:
        assert stat.S_IMODE(draft.stat().st_mode) == 0o600


def test_text_is_written_in_utf_8_with_its_line_ends_as_they_are(tmp_path: Path):
    replace_file(tmp_path / "text", "é\r\nü\n")
    assert (tmp_path / "text").read_bytes() == "é\r\nü\n".encode()


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, "𝄞" * 63])
def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path, name: str):
    replace_file(tmp_path / name, "long")
    assert (tmp_path / name).read_text() == "long"


def test_several_files_are_replaced_together_or_not_at_all(tmp_path: Path):
    first, second = tmp_path / "a" / "first", tmp_path / "b" / "second"
    with replacing_files() as draft_of:
        draft_of(first).write_text("1")
        draft_of(second).write_text("1")
        assert not first.exists()
    with pytest.raises(UnicodeEncodeError), replacing_files() as draft_of:  # noqa: PT012
        draft_of(first).write_text("2")
        draft_of(second).write_text("\ud800", encoding="utf-8")
    assert (first.read_text(), second.read_text()) == ("1", "1")
    assert names(first.parent) == ["first"]


def test_a_folder_takes_the_place_of_a_folder_or_a_file(tmp_path: Path):
    place = tmp_path / "export"
    for before in (None, "folder", "file"):
        if before == "folder":
            (place / "old").write_text("old")
        with replacing_folder(place) as draft:
            (draft / "new").write_text(str(before))
        assert names(place) == ["new"]
        assert (place / "new").read_text() == str(before)
        if before == "folder":
            (place / "new").unlink()
            place.rmdir()
            place.write_text("a file")
    assert names(tmp_path) == ["export"]


def test_a_failure_leaves_the_old_folder(tmp_path: Path):
    place = tmp_path / "export"
    place.mkdir()
    (place / "old").write_text("old")
    with pytest.raises(UnicodeEncodeError), replacing_folder(place) as draft:
        (draft / "new").write_text("half, \ud800", encoding="utf-8")
    assert names(place) == ["old"]
    assert names(tmp_path) == ["export"]
