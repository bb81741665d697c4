"""Earlier versions come back into a folder of their own, as links that cannot harm the cache."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.tidemill.data.conftest import FLIGHTS
from tidemill.data.repository.contents import ensure_space
from tidemill.data.repository.git import git
from tidemill.data.repository.revisions import outputs_at, resolve
from tidemill.data.versioning.checkout import checkout
from tidemill.errors import DataError, UsageError, VersionNotFound
from tidemill.project import Project

pytestmark = pytest.mark.engine

FIRST = "HEAD~3"  # before there was a stage whose output nobody has


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def cached(project: Project, revision: str, path: str) -> Path:
    md5 = outputs_at(project, resolve(project, revision))[path].md5
    return project.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]


def test_an_earlier_version_comes_back_as_links_and_the_working_tree_stays(project: Project, tmp_path: Path):
    before = {path: path.stat().st_ino for path in project.root.glob("data/**/*")}
    done = checkout(project, FIRST, [], tmp_path / "out/first")
    out = tmp_path / "out/first"
    assert files(out) == ["data/flights.parquet", "data/weather/01.csv", "data/weather/02.csv"]
    assert (out / "data/weather/02.csv").read_text() == "day,rain\n1,2\n2,0\n"
    assert pl.read_parquet(out / "data/flights.parquet", memory_map=False).equals(FLIGHTS)
    assert sum(done.links.values()) == done.files == 3
    (way,) = done.links
    flights, cache = out / "data/flights.parquet", cached(project, FIRST, "data/flights.parquet")
    if way == "hardlink":  # shared with the cache: nobody may write to it
        assert flights.stat().st_ino == cache.stat().st_ino
        assert not flights.stat().st_mode & 0o222
    else:
        assert flights.stat().st_ino != cache.stat().st_ino
    assert done.size == sum((out / name).stat().st_size for name in files(out))
    assert {path: path.stat().st_ino for path in project.root.glob("data/**/*")} == before
    assert git(project.root, "status", "--porcelain") == ""
    shutil.rmtree(out)
    assert cache.exists()


def test_parts_come_back_and_unknown_ones_are_told(project: Project, tmp_path: Path):
    checkout(project, "HEAD", ["data/weather/03.csv"], tmp_path / "one")
    assert files(tmp_path / "one") == ["data/weather/03.csv"]
    (tmp_path / "empty").mkdir()
    checkout(project, "HEAD", ["data/weather", "data/flights.parquet"], tmp_path / "empty")
    assert len(files(tmp_path / "empty")) == 4
    for path in ("data/weather/04.csv", "models", "data/flight"):
        with pytest.raises(VersionNotFound, match=f"has no {path}"):
            checkout(project, "HEAD", [path], tmp_path / "none")
    with pytest.raises(VersionNotFound, match="has no version 'v9'"):
        checkout(project, "v9", [], tmp_path / "none")
    with pytest.raises(DataError, match=r"data/deep/kept.json of version \w+ was not kept"):
        checkout(project, "HEAD", ["data/deep/kept.json"], tmp_path / "none")
    with pytest.raises(UsageError, match="is not an empty folder"):
        checkout(project, "HEAD", ["data/weather"], tmp_path / "one")
    with pytest.raises(UsageError, match=r"lies in .git"):
        checkout(project, "HEAD", ["data/weather"], project.root / ".git/x")
    assert not (tmp_path / "none").exists()


def test_what_git_keeps_comes_back_too(project: Project, tmp_path: Path):
    (project.root / "data/deep").mkdir(exist_ok=True)
    (project.root / "data/deep/kept.json").write_text("{}\n")
    git(project.root, "add", "--force", "data/deep/kept.json")
    git(project.root, "commit", "-q", "-m", "Kept in git")
    done = checkout(project, "HEAD", ["data/deep/kept.json", "data/weather"], tmp_path / "out")
    assert (tmp_path / "out/data/deep/kept.json").read_text() == "{}\n"
    assert done.links["copy"] == 1


@pytest.mark.skipif(
    not Path("/dev/shm").is_dir() or Path("/dev/shm").stat().st_dev == Path("/tmp").stat().st_dev,
    reason="needs a second file system",
)
def test_on_another_disk_it_is_a_copy(project: Project):
    out = Path("/dev/shm") / f"tidemill-test-{os.getpid()}"
    try:
        assert checkout(project, FIRST, [], out).links == {"copy": 3}
        (out / "data/weather/01.csv").write_text("mine")  # it is one's own
        assert cached(project, FIRST, "data/flights.parquet").stat().st_nlink >= 1
    finally:
        shutil.rmtree(out, ignore_errors=True)


def test_what_the_cache_lacks_is_fetched_once_dvcs_lock_is_free(project: Project, tmp_path: Path):
    shutil.rmtree(project.root / ".dvc/cache")
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, zc.lockfile; lock = zc.lockfile.LockFile(sys.argv[1]); print('mine', flush=True); "
            "sys.stdin.read(1)",
            str(project.root / ".dvc/tmp/lock"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    said: list[tuple[str, str]] = []

    def tell(step: str, message: str, done: int | None, total: int | None) -> None:
        said.append((step, message))
        if step == "waiting" and holder.poll() is None:
            holder.communicate(b"x")

    checkout(project, FIRST, [], tmp_path / "out", tell)
    assert len(files(tmp_path / "out")) == 3
    assert any(step == "waiting" and "another DVC process" in message for step, message in said)
    assert any(step == "fetching" for step, _ in said)


def test_content_that_is_nowhere_is_named_and_nothing_is_written(project: Project, tmp_path: Path):
    shutil.rmtree(project.root.parent / "remote")
    cached(project, FIRST, "data/flights.parquet").unlink()
    with pytest.raises(
        DataError, match=r"the content of data/flights.parquet is in neither DVC's cache nor its"
    ):
        checkout(project, FIRST, [], tmp_path / "out")
    with pytest.raises(DataError, match=r"the content of data/deep/out.txt is in neither"):
        checkout(project, "HEAD", [], tmp_path / "out")
    cached(project, FIRST, "data/weather").unlink()
    with pytest.raises(DataError, match=r"data/flights.parquet, data/weather is in neither"):
        checkout(project, FIRST, [], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_what_a_killed_checkout_left_is_cleared_away(project: Project, tmp_path: Path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = tmp_path / f".out.tidemill-{gone.pid}"
    (left / "data").mkdir(parents=True)
    checkout(project, FIRST, ["data/weather"], tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "out"]


def test_too_full_a_disk_is_told_before_anything_is_written(tmp_path: Path):
    ensure_space(tmp_path / "not/there/yet", 1, "fetching")
    with pytest.raises(
        DataError, match=r"fetching needs 1,000,000,000,000.0 MB, and only [\d,.]+ MB are free"
    ):
        ensure_space(tmp_path, 10**18, "fetching")


def test_what_was_written_into_through_a_link_is_noticed_and_comes_from_the_remote(
    project: Project, tmp_path: Path
):
    cache = cached(project, FIRST, "data/flights.parquet")
    harmed = tmp_path / "harmed"
    os.link(
        cache, harmed
    )  # what a checkout is where there are no reflinks; root may write to it all the same
    harmed.chmod(0o644)
    harmed.write_bytes(b"a single bad line")
    harmed.chmod(0o444)
    checkout(project, FIRST, ["data/flights.parquet"], tmp_path / "out")
    assert pl.read_parquet(tmp_path / "out/data/flights.parquet", memory_map=False).equals(FLIGHTS)
    assert harmed.read_bytes() == b"a single bad line"  # theirs, and no longer the cache's
    shutil.rmtree(project.root.parent / "remote")
    (project.root.parent / "remote").mkdir()
    cache.chmod(0o644)
    cache.write_bytes(b"again")
    with pytest.raises(DataError, match=r"data/flights.parquet is in neither") as told:
        checkout(project, FIRST, [], tmp_path / "again")
    assert "changed the cache" in str(told.value.hint)
