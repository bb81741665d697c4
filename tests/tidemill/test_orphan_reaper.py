"""The guard ends what carries its mark when the owner dies, and nothing else."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from tidemill.orphan_reaper import MARK, OrphanReaper, marked_processes, start_command

OWNER = """
import os, subprocess, sys, time
from pathlib import Path
from tidemill.orphan_reaper import MARK, OrphanReaper
folder = Path(sys.argv[1]); folder.mkdir()
guard = OrphanReaper.start(folder, "what it says last")
# A grandchild whose parent is gone, as Ray's are when Ray dies.
code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
subprocess.run([sys.executable, "-c", code], env={**os.environ, MARK: guard.mark}, start_new_session=True)
print(guard.mark, guard.process.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def owner(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "folder")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    mark, guard = process.stdout.readline().split()
    yield process, mark, int(guard)
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()
    wait_until_gone(mark, int(guard))


def wait_until_gone(mark, guard):
    wait_until(lambda: not (marked_processes(mark) or psutil.pid_exists(guard)))


@pytest.mark.slow
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
    assert process.stderr.read() == "what it says last\n"
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_the_guard_does_not_end_by_a_signal_of_the_terminal(owner):
    _, mark, guard = owner
    for number in (1, 2, 15):
        os.kill(guard, number)
    time.sleep(0.3)
    assert psutil.Process(guard).status() != psutil.STATUS_ZOMBIE
    assert marked_processes(mark)


def test_dismissed_it_cleans_up_at_once(tmp_path, capfd):
    folder = tmp_path / "folder"
    folder.mkdir()
    guard = OrphanReaper.start(folder, "what it says last")
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], env={**os.environ, MARK: guard.mark}
    )
    guard.stop()
    assert child.wait(5) == -9
    assert not folder.exists()
    assert guard.process.returncode == 0
    assert capfd.readouterr().err == ""


FORKED = """
import os, sys, time
from tidemill.orphan_reaper import OrphanReaper
guard = OrphanReaper.start()
if os.fork() == 0:  # it holds the guard's pipe open
    time.sleep(600)
print(guard.process.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_a_forked_child_that_lives_on_does_not_hold_it_up():
    owner = subprocess.Popen([sys.executable, "-c", FORKED], stdout=subprocess.PIPE, text=True)
    guard = int(owner.stdout.readline())
    child = next(one for one in psutil.Process(owner.pid).children() if one.pid != guard)
    owner.kill()
    owner.wait()
    wait_until(lambda: not psutil.pid_exists(guard))
    assert child.is_running()
    child.kill()
    owner.stdout.close()


# A command whose descendant has another parent and an empty environment, so that no mark could find it.
COMMAND = """
import subprocess, sys, time
sleep = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"]
left = subprocess.Popen(sleep, env={}, start_new_session=True, stdout=subprocess.PIPE)
print(int(left.stdout.readline()), flush=True)
if len(sys.argv) > 1:
    sys.exit(int(sys.argv[1]))
time.sleep(600)
"""
STARTER = f"""
import os, time
from pathlib import Path
from tidemill.orphan_reaper import start_command
process = start_command([{sys.executable!r}, "-c", {COMMAND!r}], Path("/"), dict(os.environ))
print(process.pid, process.stdout.readline(), flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_a_command_and_its_descendants_end_with_a_killed_starter():
    starter = subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True)
    numbers = [int(word) for word in starter.stdout.readline().split()]
    command = psutil.Process(numbers[0]).children()[0].pid
    for number in (1, 2, 15):  # they do not end what watches over the command
        os.kill(numbers[0], number)
    starter.kill()
    starter.wait()
    starter.stdout.close()
    wait_until(lambda: not any(map(psutil.pid_exists, [*numbers, command])))


def test_what_a_command_leaves_behind_ends_with_it_and_its_exit_code_is_returned(tmp_path):
    with start_command([sys.executable, "-c", COMMAND, "7"], tmp_path, os.environ) as process:
        left = int(process.stdout.readline())
        assert process.wait(10) == 7
    assert not psutil.pid_exists(left)


def test_a_command_that_a_signal_ends_has_the_exit_code_of_a_shell(tmp_path):
    ended = "import os; os.kill(os.getpid(), 15)"
    with start_command([sys.executable, "-c", ended], tmp_path, os.environ) as process:
        assert process.wait(10) == 143


def wait_until(true):
    deadline = time.monotonic() + 15
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
