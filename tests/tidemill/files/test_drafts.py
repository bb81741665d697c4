"""What a killed writer leaves behind is found and removed; what a living one writes is not."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tidemill.files import drafts
from tidemill.files.atomic import replace_file, replacing, replacing_folder

WRITER = """
import sys
from pathlib import Path
from tidemill.files import atomic

def stop(*_):
    print("ready", flush=True)
    sys.stdin.read()

path, kind = Path(sys.argv[1]), sys.argv[2]
if kind == "swap":
    atomic.shutil.rmtree = stop
    draft_moves = Path.replace
    def replace(self, target):
        if self.suffix == ".tmp":
            stop()
        return draft_moves(self, target)
    Path.replace = replace
with (atomic.replacing if kind == "file" else atomic.replacing_folder)(path) as draft:
    (draft if kind == "file" else draft / "part").write_text("half")
    if kind != "swap":
        stop()
"""


@contextmanager
def writing(path: Path, kind: str) -> Iterator[Callable[[], None]]:
    """Let another process stop in the middle of writing ``path``; give a function that kills it."""
    command = [sys.executable, "-c", WRITER, str(path), kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:

        def kill() -> None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()

        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield kill
        finally:
            process.kill()


@pytest.fixture(autouse=True)
def like_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "_cleaned", set())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_draft_of_a_killed_writer_is_removed_by_the_next_one(tmp_path: Path, kind: str):
    with writing(tmp_path / "rows", kind) as kill:
        [draft] = tmp_path.iterdir()
        assert drafts.find_leftovers(tmp_path) == []
        assert not drafts.remove_leftover(draft)
        replace_file(tmp_path / "first", "x")
        assert draft.exists()
        kill()
        assert drafts.find_leftovers(tmp_path) == [draft]
        drafts._cleaned.clear()
        replace_file(tmp_path / "second", "x")
    assert names(tmp_path) == ["first", "second"]


def test_a_folder_that_was_being_replaced_comes_back(tmp_path: Path):
    place = tmp_path / "rows"
    place.mkdir()
    (place / "part").write_text("old")
    with writing(place, "swap") as kill:
        assert not place.exists()
        assert drafts.find_leftovers(tmp_path) == []
        kill()
    assert {path.suffix for path in drafts.find_leftovers(tmp_path)} == {".tmp", ".old"}
    with pytest.raises(OSError, match="full"), replacing_folder(place):  # noqa: PT012
        assert (place / "part").read_text() == "old"
        raise OSError("full")
    assert names(tmp_path) == ["rows"]
    assert (place / "part").read_text() == "old"


def test_an_old_folder_goes_when_its_replacement_is_there(tmp_path: Path):
    place = tmp_path / "rows"
    with replacing_folder(place) as draft:
        old = draft.with_suffix(".old")
    old.mkdir()
    assert drafts.remove_leftover(old)
    assert names(tmp_path) == ["rows"]


def test_leftovers_are_found_at_any_depth_or_only_in_one_folder(tmp_path: Path):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / ".rows.parquet.draft_01jd0000000000000000000000.tmp").touch()
    (deep / ".rows.parquet.tmp").touch()
    assert len(drafts.find_leftovers(tmp_path)) == 1
    assert drafts.find_leftovers(tmp_path, depth=2) == []
    assert len(drafts.find_leftovers(deep, depth=1)) == 1


def test_a_draft_holds_no_file_open_when_it_is_done(tmp_path: Path):
    for _ in range(3):
        with replacing(tmp_path / "file") as draft:
            draft.write_text("x")
        with replacing_folder(tmp_path / "folder"):
            pass
    found = [os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()]
    assert [each for each in found if each.startswith(str(tmp_path))] == []
    assert drafts._held == {}
