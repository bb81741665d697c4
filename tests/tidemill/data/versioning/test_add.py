"""Data is put under version by hand: all of it or nothing, however that ends."""

import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from tests.tidemill.data.clean_check import is_clean
from tests.tidemill.data.conftest import FLIGHTS, FLIGHTS_LATER, put
from tidemill.data.personal.pseudonyms import Pseudonymiser, load_key
from tidemill.data.personal.tombstones import Tombstone, add_tombstone
from tidemill.data.repository.dvc_command import ignore_line, run_dvc, temporary_folder
from tidemill.data.repository.git import git
from tidemill.data.repository.repository_setup import open_dvc
from tidemill.data.versioning import pending_addition
from tidemill.data.versioning.add import add
from tidemill.data.versioning.data_versions import current, list_versions, reproduce
from tidemill.errors import DataError, UsageError
from tidemill.files.drafts import find_leftovers
from tidemill.files.locks import locked
from tidemill.project import Project, load_project

pytestmark = pytest.mark.engine


def everything(root: Path) -> dict[str, bytes]:
    """Return the project's files and their content, without what git and DVC keep for themselves."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not {".git", ".dvc", ".tidemill"} & set(path.relative_to(root).parts)
    }


def test_a_file_becomes_a_version_and_the_same_again_does_not(tiny: Project):
    put(tiny.root / "data/deep/flights.parquet", FLIGHTS)
    added = add(tiny, Path("data/deep/flights.parquet"), "The flights")
    assert added.changed
    assert added.version == current(tiny)
    assert [*added.version.outputs] == ["data/deep/flights.parquet"]
    assert git(tiny.root, "log", "-1", "--format=%s").strip() == "The flights"
    assert git(tiny.root, "status", "--porcelain") == ""
    assert pl.read_parquet(tiny.root / "data/deep/flights.parquet", memory_map=False).equals(FLIGHTS)
    assert any(path.is_file() for path in (tiny.root.parent / "remote").rglob("*"))
    again = add(tiny, tiny.root / "data/deep/flights.parquet")
    assert not again.changed
    assert again.version == added.version


def test_a_project_lies_in_a_folder_with_braces(tiny: Project):
    project = load_project(tiny.root.rename(tiny.root.with_name("tiny {x,y} {0}")))
    put(project.root / "data/{a}.parquet", FLIGHTS)
    assert [*add(project, Path("data/{a}.parquet")).version.outputs] == ["data/{a}.parquet"]
    finished = run_dvc(project.root, "status", "--cloud", on_line=ignore_line, patience=60)
    assert (finished.code, finished.lines[-1]) == (0, "Cache and remote 'local' are in sync.")


def test_what_changed_is_a_new_version_and_a_pipeline_beside_it_is_left_alone(tiny: Project):
    first = reproduce(tiny, {}, "First")
    (tiny.root / "params.yaml").write_text((tiny.root / "params.yaml").read_text() + "# mine\n")
    put(tiny.root / "data/flights.parquet", FLIGHTS)
    add(tiny, "data/flights.parquet")
    put(tiny.root / "data/flights.parquet", FLIGHTS_LATER)
    assert add(tiny, "data/flights.parquet").changed
    assert [one.message for one in list_versions(tiny)] == ["Add data/flights.parquet"] * 2 + ["First"]
    assert set(current(tiny).outputs) == {*first.outputs, "data/flights.parquet"}
    assert git(tiny.root, "status", "--porcelain").split() == ["M", "params.yaml"]
    git(tiny.root, "commit", "-q", "-a", "-m", "Mine")
    assert is_clean(tiny)
    put(tiny.root / "data/flights.parquet", FLIGHTS)
    assert not is_clean(tiny)
    with pytest.raises(DataError, match="stage 'second' failed"):
        reproduce(tiny, {"data.fail": True}, "Bad")
    assert pl.read_parquet(tiny.root / "data/flights.parquet", memory_map=False).equals(
        FLIGHTS
    )  # not put back


def test_what_cannot_be_added_is_told_and_nothing_changes(project: Project, tmp_path: Path):
    root = project.root
    (root / "data/empty").mkdir()
    (root / "logs").mkdir()
    (root / "logs/a.csv").write_text("x\n1\n")
    (root / ".gitignore").write_text((root / ".gitignore").read_text() + "/logs/\n")
    (tmp_path / "else.csv").write_text("x\n1\n")
    before, head = everything(root), git(root, "rev-parse", "HEAD")
    cases: list[tuple[str | Path, type[Exception], str]] = [
        ("data/none.csv", UsageError, "does not exist"),
        (root / "s3://lake/none.csv", UsageError, "s3://lake/none.csv is an address"),
        ("data/empty", UsageError, "is an empty folder"),
        (tmp_path / "else.csv", UsageError, "is not in the project"),
        (".", UsageError, "is the project itself"),
        (".dvc/config", UsageError, "is not data of the project"),
        ("logs/a.csv", DataError, r"git ignores logs/a.csv.dvc"),
        ("params.yaml", UsageError, "params.yaml cannot be put under version: git tracks it already"),
        ("data/weather/01.csv", UsageError, "data/weather/01.csv is part of data/weather"),
        ("data", UsageError, "data cannot be put under version: data/deep/kept.json in it is already"),
    ]
    for path, kind, words in cases:
        with pytest.raises(kind, match=words):
            add(project, path)
        assert everything(root) == before, path
        assert git(root, "rev-parse", "HEAD") == head


def test_rows_of_erased_subjects_stay_out(project: Project):
    hide = Pseudonymiser(load_key(project))
    add_tombstone(
        project, Tombstone(("carrier",), (hide.hide("B6"),), datetime(2013, 5, 1, tzinfo=UTC), "asked")
    )
    folder = project.root / "data/more"
    put(folder / "flights.csv", FLIGHTS_LATER)
    put(folder / "others.csv", FLIGHTS)
    added = add(project, "data/more")
    assert added.erased == 2
    assert pl.read_csv(folder / "flights.csv")["carrier"].to_list() == ["UA", "UA"]
    assert pl.read_csv(folder / "others.csv").height == 3
    assert sorted(path.name for path in folder.iterdir()) == ["flights.csv", "others.csv"]
    assert not [
        path for path in (project.root / "data").iterdir() if path.name.startswith(".") and path.is_dir()
    ]
    put(folder / "flights.csv", FLIGHTS_LATER)  # somebody brings them back
    assert not add(project, "data/more").changed
    (project.root / "data/broken.parquet").write_text("no table")
    with pytest.raises(DataError, match=r"data/broken.parquet cannot be read as a table"):
        add(project, "data/broken.parquet")  # nobody can tell whether they are in it


def test_a_killed_addition_is_undone_by_the_next(project: Project):
    put(project.root / "data/new.parquet", FLIGHTS)
    put(project.root / "data/flights.parquet", FLIGHTS)
    before, head = everything(project.root), git(project.root, "rev-parse", "HEAD")
    code = (
        "import sys; from pathlib import Path\n"
        "from tidemill.data.versioning.add import add\n"
        "from tidemill.project import load_project\n"
        f"add(load_project(Path({str(project.root)!r})), 'data/flights.parquet')\n"
    )
    note = project.root / ".dvc/tmp/tidemill-addition.json"
    child = subprocess.Popen([sys.executable, "-c", code])
    give_up = time.monotonic() + 60
    while not note.exists():
        assert child.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert git(project.root, "rev-parse", "HEAD") == head
    add(project, "data/new.parquet")
    after = everything(project.root)
    assert {name: after[name] for name in before} == before
    assert not note.exists()
    assert git(project.root, "diff", "HEAD~1", "--name-only").split() == ["data/new.parquet.dvc"]


HELD = """
import sys, time
from pathlib import Path
from tidemill.data.repository.dvc_command import ignore_line, run_dvc, temporary_folder
with temporary_folder(Path(sys.argv[1]), "work") as folder:
    (folder / "rows").write_text("1")
    print(folder, flush=True)
    time.sleep(600)
"""


def test_what_killed_processes_left_is_cleared_away_and_what_others_work_in_stays(tmp_path: Path):
    dead, others = (
        subprocess.Popen([sys.executable, "-c", HELD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    )
    left, used = (Path(one.stdout.readline().strip()) for one in (dead, others) if one.stdout)
    theirs = tmp_path / "mine"
    theirs.mkdir()
    dead.communicate(dead.kill())
    assert find_leftovers(tmp_path) == [left]  # as an erasure does
    with temporary_folder(tmp_path, "work") as new:
        assert set(tmp_path.iterdir()) == {used, theirs, new}
    others.communicate(others.kill())
    assert set(tmp_path.iterdir()) == {used, theirs}


def test_an_addition_killed_after_its_commit_is_finished_by_the_next(project: Project):
    root = project.root
    put(root / "data/new.parquet", FLIGHTS)
    pending_addition.begin(root, "data/new.parquet", [])
    with open_dvc(root) as repo:
        repo.add(str(root / "data/new.parquet"), relink=False)
    git(root, "add", "data/new.parquet.dvc")
    git(root, "commit", "-q", "-m", "New")
    (root / "data/new.parquet").unlink()  # killed while it was being linked
    add(project, "data/weather")
    assert pl.read_parquet(root / "data/new.parquet", memory_map=False).equals(FLIGHTS)
    assert [one.message for one in list_versions(project, 1)] == ["New"]


def test_a_remote_that_is_gone_is_told_and_made_up_for_by_the_next(project: Project):
    remote = project.root.parent / "remote"
    shutil.rmtree(remote)
    remote.write_text("in the way")
    put(project.root / "data/new.parquet", FLIGHTS.head(2))
    with pytest.raises(DataError, match=r"version \w{8} is committed, but not copied to the remote"):
        add(project, "data/new.parquet")
    assert "data/new.parquet" in current(project).outputs
    remote.unlink()
    assert not add(project, "data/new.parquet").changed
    md5 = current(project).outputs["data/new.parquet"]
    assert (remote / "files/md5" / md5[:2] / md5[2:]).exists()


def test_two_at_once_wait_for_each_other(project: Project):
    put(project.root / "data/new.parquet", FLIGHTS)
    lock, said = ExitStack(), []

    def tell(step: str, message: str, done: int | None, total: int | None) -> None:
        said.append(message)
        if step == "waiting":
            lock.close()

    lock.enter_context(locked(project.root / ".dvc/tmp/tidemill.lock"))
    with pytest.raises(DataError, match=r"this process, .* has been making a data version for more than 0 s"):
        add(project, "data/new.parquet", patience=0.1)
    assert add(project, "data/new.parquet", tell=tell).changed
    assert any("is making a data version" in message for message in said)
