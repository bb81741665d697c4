"""The guard ends what carries its mark when the owner dies, and nothing else."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from tidemill.orphan_reaper import MARK, OrphanReaper, marked_processes

OWNER = """
import os, subprocess, sys, time
from pathlib import Path
from tidemill.orphan_reaper import MARK, OrphanReaper
folder = Path(sys.argv[1]); folder.mkdir()
guard = OrphanReaper.start(folder)
# A grandchild whose parent is gone, as Ray's are when Ray dies.
code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
subprocess.run([sys.executable, "-c", code], env={**os.environ, MARK: guard.mark}, start_new_session=True)
print(guard.mark, guard.process.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def owner(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "folder")], stdout=subprocess.PIPE, text=True
    )
    mark, guard = process.stdout.readline().split()
    yield process, mark, int(guard)
    process.kill()
    process.wait()
    process.stdout.close()


def wait_until_gone(mark, guard):
    deadline = time.monotonic() + 15
    while marked_processes(mark) or psutil.pid_exists(guard):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_killed_owner_leaves_nothing(owner, tmp_path):
    process, mark, guard = owner
    assert len(marked_processes(mark)) == 1
    bystander = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], env={**os.environ, MARK: "another"}
    )
    process.kill()
    process.wait()
    wait_until_gone(mark, guard)
    assert not (tmp_path / "folder").exists()
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_the_guard_does_not_end_by_a_signal_of_the_terminal(owner):
    _, mark, guard = owner
    for number in (1, 2, 15):
        os.kill(guard, number)
    time.sleep(0.3)
    assert psutil.pid_exists(guard)
    assert marked_processes(mark)


def test_dismissed_it_cleans_up_at_once(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    guard = OrphanReaper.start(folder)
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], env={**os.environ, MARK: guard.mark}
    )
    guard.stop()
    assert child.wait(5) == -9
    assert not folder.exists()
    assert guard.process.returncode == 0
