"""Data versions with real git and DVC."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from tests.tidemill.data.clean_check import is_clean
from tidemill.data.repository.git import git
from tidemill.data.versioning.data_versions import (
    current,
    fetch,
    init_workspace,
    list_versions,
    reproduce,
)
from tidemill.errors import ConfigError, DataError, VersionNotFound
from tidemill.project import Project, load_project

pytestmark = pytest.mark.engine

APRIL = {"data.last_month": "2013-04", "data.as_of": "2013-05-01T00:00:00+00:00"}


def runs(project: Project) -> list[str]:
    return (project.root / "runs.log").read_text().split()


def wait_for(happened: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    give_up = time.monotonic() + 120
    while not happened():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.05)


def elsewhere(project: Project, overrides: dict[str, object]) -> subprocess.Popen[str]:
    """Reproduce in a process of its own."""
    code = (
        "import sys; from pathlib import Path\n"
        "from tidemill.data.versioning.data_versions import reproduce\n"
        "from tidemill.project import load_project\n"
        f"reproduce(load_project(Path({str(project.root)!r})), {overrides!r}, 'elsewhere', print)\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_a_version_is_made_committed_and_kept(tiny: Project) -> None:
    lines: list[str] = []
    version = reproduce(tiny, APRIL, "Data to April", lines.append)

    assert version == current(tiny)
    assert set(version.outputs) == {"data/first.txt", "data/out.txt", "models/second.txt"}
    assert (tiny.root / "data/out.txt").read_text() == "2013-04 as of 2013-05-01T00:00:00+00:00"
    assert is_clean(tiny)
    assert git(tiny.root, "status", "--porcelain") == ""
    assert git(tiny.root, "log", "-1", "--format=%s").strip() == "Data to April"
    assert f"python is {sys.executable}" in lines
    remote = tiny.root.parent / "remote"
    assert {path.parent.name + path.name for path in remote.rglob("*") if path.is_file()} >= set(
        version.outputs.values()
    )
    params = (tiny.root / "params.yaml").read_text()
    assert '  last_month: "2013-04"  # YYYY-MM\n  as_of: "2013-05-01T00:00:00+00:00"\n' in params
    assert params.startswith("# what this project declares\nproject:\n  name: tiny   # its name\n")


def test_nothing_is_left_outside_the_workspace(tiny: Project, tmp_path: Path) -> None:
    everywhere = Path("/var/tmp/dvc/repo")  # where DVC keeps its indexes otherwise
    before = set(everywhere.glob("*"))
    version = reproduce(tiny, {}, "First")
    fetch(tiny, version.revision, "data/out.txt", tmp_path)
    assert is_clean(tiny)
    assert set(everywhere.glob("*")) == before


def test_the_same_again_does_nothing(tiny: Project) -> None:
    first = reproduce(tiny, APRIL, "Data to April")
    assert reproduce(tiny, APRIL, "Data to April") == first
    assert reproduce(tiny, {}, "Nothing new") == first
    assert runs(tiny) == ["first", "second"]
    assert len(list_versions(tiny)) == 1


def test_only_what_changed_is_run_again_and_older_versions_stay(tiny: Project, tmp_path: Path) -> None:
    reproduce(tiny, APRIL, "Data to April")
    reproduce(tiny, {"data.as_of": "2013-06-01"}, "Known in June")
    assert runs(tiny) == ["first", "second", "second"]

    newest, oldest = list_versions(tiny)
    assert (newest.message, oldest.message) == ("Known in June", "Data to April")
    assert newest.revision == current(tiny).revision
    assert newest.outputs["data/first.txt"] == oldest.outputs["data/first.txt"]
    assert newest.outputs["data/out.txt"] != oldest.outputs["data/out.txt"]
    assert timedelta(0) <= datetime.now(UTC) - newest.time < timedelta(minutes=5)

    old = fetch(tiny, oldest.revision[:8], "data/out.txt", tmp_path / "old" / "april.txt")
    assert old.read_text() == "2013-04 as of 2013-05-01T00:00:00+00:00"
    assert (tiny.root / "data/out.txt").read_text() == "2013-04 as of 2013-06-01"
    assert is_clean(tiny)
    assert git(tiny.root, "status", "--porcelain") == ""
    old.write_text("mine now")  # it is a copy, not a link into the cache
    assert fetch(tiny, oldest.revision, "data/out.txt", tmp_path).read_text().endswith("05-01T00:00:00+00:00")

    reproduce(tiny, {"data.as_of": APRIL["data.as_of"]}, "Back to what was known in May")
    assert current(tiny).outputs == oldest.outputs
    assert len(runs(tiny)) == 3  # DVC remembered


def test_a_version_comes_back_from_the_remote(tiny: Project, tmp_path: Path) -> None:
    version = reproduce(tiny, APRIL, "Data to April")
    shutil.rmtree(tiny.root / ".dvc" / "cache")
    assert "2013-04" in fetch(tiny, version.revision, "data/out.txt", tmp_path).read_text()

    (tmp_path / "remote").rename(tmp_path / "moved")
    init_workspace(tiny.root, tmp_path / "moved")
    assert "2013-04" in fetch(tiny, version.revision, "data/out.txt", tmp_path).read_text()

    shutil.rmtree(tiny.root / ".dvc" / "cache", ignore_errors=True)
    shutil.rmtree(tmp_path / "moved")
    with pytest.raises(DataError, match=r"data/out.txt of version \w+ cannot be brought back"):
        fetch(tiny, version.revision, "data/out.txt", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_unknown_versions_and_files_are_told(tiny: Project, tmp_path: Path) -> None:
    with pytest.raises(VersionNotFound, match=r"no data version yet"):
        current(tiny)
    assert list_versions(tiny) == []
    assert not is_clean(tiny)
    version = reproduce(tiny, {}, "First")
    for revision in ("deadbeef", "--all", ""):
        with pytest.raises(VersionNotFound, match="has no version"):
            fetch(tiny, revision, "data/out.txt", tmp_path)
    with pytest.raises(
        VersionNotFound, match=r"has no file data/none.txt; its outputs: data/first.txt, data/o"
    ):
        fetch(tiny, version.revision, "data/none.txt", tmp_path)


def test_a_failing_stage_is_named_and_leaves_everything_as_it_was(tiny: Project) -> None:
    good = reproduce(tiny, {}, "Good")
    params = (tiny.root / "params.yaml").read_bytes()
    with pytest.raises(DataError) as caught:
        reproduce(tiny, {"data.last_month": "2013-09", "data.fail": True}, "Bad")
    assert "stage 'second' failed" in str(caught.value)
    assert "no flights after the last month" in str(caught.value)
    assert "Running stage" not in str(caught.value)
    assert "failed to reproduce" not in str(caught.value)
    assert (tiny.root / "params.yaml").read_bytes() == params
    assert current(tiny) == good
    assert (tiny.root / "data/out.txt").read_text() == "2013-03 as of None"
    assert is_clean(tiny)
    assert git(tiny.root, "status", "--porcelain") == ""

    assert runs(tiny) == ["first", "second"] * 2
    reproduce(tiny, {"data.last_month": "2013-09"}, "Mended")
    assert runs(tiny) == ["first", "second"] * 2 + ["second"]  # what had finished was not repeated


def test_a_first_run_that_fails_leaves_no_version(tiny: Project) -> None:
    with pytest.raises(DataError, match="stage 'second' failed"):
        reproduce(tiny, {"data.fail": True}, "Bad")
    assert not (tiny.root / "dvc.lock").exists()
    assert git(tiny.root, "status", "--porcelain") == ""


def test_an_interrupted_run_ends_its_stage_and_is_undone(tiny: Project) -> None:
    params = (tiny.root / "params.yaml").read_bytes()

    def interrupt(line: str) -> None:
        if line == "second at work":
            wait_for((tiny.root / "second.pid").exists)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce(tiny, {"data.wait": 300}, "Never", interrupt)
    pid = int((tiny.root / "second.pid").read_text())
    wait_for(lambda: not psutil.pid_exists(pid))  # it was killed; the kernel may still have its number
    assert (tiny.root / "params.yaml").read_bytes() == params
    assert git(tiny.root, "status", "--porcelain") == ""
    reproduce(tiny, {}, "Next")


def test_after_a_kill_nothing_runs_on_and_the_next_run_works(tiny: Project) -> None:
    reproduce(tiny, {}, "Good")
    killed = elsewhere(tiny, {**APRIL, "data.wait": 300})
    wait_for((tiny.root / "second.pid").exists, killed)
    stage = int((tiny.root / "second.pid").read_text())
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    wait_for(lambda: not psutil.pid_exists(stage))
    assert not is_clean(tiny)
    # As bad as it gets: files half written, and a lock left behind.
    (tiny.root / "dvc.lock").write_text("schema: '2.0'\nstages:\n  first: {cmd: [")
    (tiny.root / ".dvc/tmp/rwlock").write_text('{"write": {')
    (tiny.root / ".git/index.lock").touch()

    lines: list[str] = []
    reproduce(tiny, {"data.as_of": "2013-06-01"}, "Next", lines.append)
    assert any("was killed" in line for line in lines)
    assert (tiny.root / "data/out.txt").read_text() == "2013-03 as of 2013-06-01"
    assert load_project(tiny.root).params["data"]["wait"] == 0
    assert is_clean(tiny)
    assert [version.message for version in list_versions(tiny)] == ["Next", "Good"]


def test_a_dead_process_whose_number_was_given_away_blocks_nothing(tiny: Project) -> None:
    note = f'{{"write": {{"{tiny.root}/data/first.txt": {{"pid": {os.getpid()}, "cmd": "repro"}}}}}}'
    (tiny.root / ".dvc/tmp/rwlock").write_text(note)
    reproduce(tiny, {}, "First", patience=5)
    assert [version.message for version in list_versions(tiny)] == ["First"]


def test_two_at_once_wait_for_each_other(tiny: Project) -> None:
    other = elsewhere(tiny, {"data.wait": 4})
    wait_for((tiny.root / "second.pid").exists, other)
    lines: list[str] = []
    version = reproduce(tiny, {"data.last_month": "2013-05", "data.wait": 0}, "Second", lines.append)
    said, _ = other.communicate()
    assert other.returncode == 0, said
    assert any("waiting up to 600 s" in line for line in lines)
    assert [found.message for found in list_versions(tiny)] == ["Second", "elsewhere"]
    assert version.revision == current(tiny).revision
    assert (tiny.root / "data/out.txt").read_text() == "2013-05 as of None"


def test_patience_ends(tiny: Project) -> None:
    other = elsewhere(tiny, {"data.wait": 300})
    wait_for((tiny.root / "second.pid").exists, other)
    with pytest.raises(DataError, match=r"process \d+ .* has been making a data version for more than 1 s"):
        reproduce(tiny, {}, "Never", patience=1)
    other.kill()
    other.communicate()


def test_a_dvc_started_by_hand_is_waited_for(tiny: Project, tmp_path: Path) -> None:
    params = tiny.root / "params.yaml"
    params.write_text(params.read_text().replace("wait: 0", "wait: 6"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    quiet = {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(tmp_path / "site")}
    environment = {**os.environ, "PATH": path, **quiet}
    hand = subprocess.Popen(
        [sys.executable, "-P", "-m", "dvc", "repro", "-q"], cwd=tiny.root, env=environment
    )
    wait_for((tiny.root / "second.pid").exists)
    lines: list[str] = []
    reproduce(tiny, {"data.last_month": "2013-05"}, "After the hand", lines.append)
    assert hand.wait() == 0
    assert any("another DVC process is working" in line for line in lines)
    assert (tiny.root / "data/out.txt").read_text() == "2013-05 as of None"


def test_a_parameter_that_is_not_declared_is_refused(tiny: Project) -> None:
    with pytest.raises(
        ConfigError, match=r"no parameter 'data.last_moth': data has last_month, as_of, fail, wait"
    ):
        reproduce(tiny, {"data.last_moth": "2013-04"}, "Never")
    assert git(tiny.root, "status", "--porcelain") == ""


def test_a_folder_without_git_or_dvc_is_refused(tmp_path: Path, tiny: Project) -> None:
    shutil.rmtree(tiny.root / ".dvc")
    for call in (current, list_versions):
        with pytest.raises(DataError, match="is not the root of a DVC repository"):
            call(tiny)


def test_a_workspace_is_made_once(tmp_path: Path, tiny: Project) -> None:
    head = git(tiny.root, "rev-parse", "HEAD")
    init_workspace(tiny.root, tmp_path / "remote")
    assert git(tiny.root, "rev-parse", "HEAD") == head
    assert git(tiny.root, "status", "--porcelain") == ""
    assert git(tiny.root, "branch", "--show-current").strip() == "main"
    config = (tiny.root / ".dvc/config").read_text()
    for line in ("analytics = False", "autostage = False", "check_update = False", "url = ../../remote"):
        assert line in config
    assert 'type = "reflink,hardlink,copy"' in config


def test_a_workspace_needs_no_identity_of_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    root = tmp_path / "new"
    root.mkdir()
    (root / "params.yaml").write_text("a: 1\n")
    init_workspace(root, tmp_path / "remote")
    assert git(root, "log", "--format=%an <%ae>").strip() == "Tidemill <tidemill@localhost>"
    assert "params.yaml" in git(root, "ls-files").split()


def test_what_git_hooks_leave_in_the_environment_misleads_nobody(
    tiny: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "elsewhere"))
    assert reproduce(tiny, {}, "First").outputs


def test_a_push_that_fails_is_told_and_made_up_for(tiny: Project, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    shutil.rmtree(remote)
    remote.write_text("in the way")
    with pytest.raises(DataError, match=r"version \w{8} is committed, but not copied to the remote"):
        reproduce(tiny, {}, "First")
    remote.unlink()
    reproduce(tiny, {}, "First")
    assert any(path.is_file() for path in remote.rglob("*"))
    assert len(list_versions(tiny)) == 1
