"""A benchmark leaves no process and no temporary file, however it ends."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tidemill.orphan_reaper import MARK

BENCHMARK = """
import signal, subprocess, sys, tempfile, time
from benchmarks.children import clean_up_after

def main():
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    child = subprocess.Popen(sleep, start_new_session=True)  # as Ray's daemons and HAProxy are
    print(child.pid, tempfile.mkdtemp(), flush=True)
    time.sleep(600)

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs these tests may ignore it
clean_up_after(main)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_benchmark_that_is_stopped_leaves_nothing(number: signal.Signals, monkeypatch):
    monkeypatch.delenv(MARK)  # of these tests: a child of a benchmark leaves the cleaning up to its parent
    benchmark = subprocess.Popen(
        [sys.executable, "-c", BENCHMARK], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert benchmark.stdout is not None
    child, folder = benchmark.stdout.readline().split()
    assert psutil.pid_exists(int(child))
    assert Path(folder).is_dir()
    benchmark.send_signal(number)
    benchmark.communicate()
    end = time.monotonic() + 20
    while (alive(int(child)) or Path(folder).exists()) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(int(child))
    assert not Path(folder).exists()


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
