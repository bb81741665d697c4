"""One process at a time, and a message that says which one."""

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tidemill.errors import TidemillError, UsageError
from tidemill.files.locks import is_locked, locked

HOLD = """
import sys
from pathlib import Path
from tidemill.files.locks import locked
sys.argv = ["/usr/bin/tidemill", "train", "--param", "secret=1"]
with locked(Path(PATH)):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path):
    code = HOLD.replace("PATH", repr(str(tmp_path / "turn.lock")))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_message_says_which_process_holds_the_lock_and_none_of_its_arguments(
    tmp_path: Path, holder: subprocess.Popen
):
    def busy(who: str) -> UsageError:
        return UsageError(f"a turn is made by {who}")

    with pytest.raises(UsageError) as raised, locked(tmp_path / "turn.lock", busy=busy):
        pytest.fail("it was held twice")
    assert str(raised.value).startswith(f"a turn is made by process {holder.pid} (tidemill train), since 2")
    assert "secret" not in str(raised.value)


def test_a_lock_of_a_killed_process_is_free(tmp_path: Path, holder: subprocess.Popen):
    assert is_locked(tmp_path / "turn.lock")
    holder.kill()
    holder.wait()
    with locked(tmp_path / "turn.lock"):
        assert str(os.getpid()) in (tmp_path / "turn.lock").read_text()
    assert (tmp_path / "turn.lock").read_text() == ""


def test_whoever_waits_is_told_once_and_gets_the_lock(tmp_path: Path, holder: subprocess.Popen):
    told: list[str] = []
    threading.Timer(0.2, holder.kill).start()
    with locked(tmp_path / "turn.lock", wait_seconds=30, on_wait=told.append):
        assert len(told) == 1
        assert told[0].startswith(f"process {holder.pid} (tidemill train)")


def test_two_threads_do_not_hold_a_lock_at_once(tmp_path: Path):
    with (
        locked(tmp_path / "lock"),
        pytest.raises(TidemillError, match="locked by this process"),
        locked(tmp_path / "lock"),
    ):
        pytest.fail("it was held twice")


def test_an_error_of_the_block_frees_the_lock_and_is_not_taken_for_a_busy_one(tmp_path: Path):
    with (
        pytest.raises(TidemillError, match="inner"),
        locked(tmp_path / "lock", busy=lambda who: UsageError("busy")),
    ):
        raise TidemillError("inner")
    assert not is_locked(tmp_path / "lock")


def test_who_looks_whether_it_is_locked_is_in_nobodys_way(tmp_path: Path):
    path = tmp_path / "lock"
    path.touch()
    with path.open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)  # as `is_locked` does
        assert not is_locked(path)
        threading.Timer(0.002, fcntl.flock, (looking, fcntl.LOCK_UN)).start()
        with locked(path):
            assert is_locked(path)


def test_a_folder_can_be_locked_without_a_file_in_it(tmp_path: Path):
    with locked(tmp_path), pytest.raises(TidemillError, match="locked by another process"), locked(tmp_path):
        pytest.fail("it was held twice")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_cannot_be_made_says_where(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TidemillError, match="cannot be opened"), locked(tmp_path / "file" / "lock"):
        pytest.fail("there is no such folder")


def test_a_forked_child_keeps_no_lock_and_frees_none(tmp_path: Path):
    path = tmp_path / "turn.lock"
    ends, held = os.pipe(), locked(path)
    held.__enter__()
    child = os.fork()
    if child == 0:
        try:
            held.__exit__(None, None, None)  # as when an error leaves the block in the child
            os.read(ends[0], 1)
        finally:
            os._exit(0)
    try:
        time.sleep(0.2)
        assert is_locked(path)
        assert path.read_text()
        held.__exit__(None, None, None)
        assert not is_locked(path)
    finally:
        os.write(ends[1], b"x")
        os.waitpid(child, 0)
