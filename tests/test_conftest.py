"""What tests start ends with them."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tidemill.orphan_reaper import MARK

STARTS_ONE = """
import os, subprocess, sys, time

def test_it(pytestconfig):
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    child = subprocess.Popen(sleep, start_new_session=True)
    (pytestconfig.rootpath / "child").write_text(str(child.pid))
    time.sleep(600)
"""


@pytest.mark.slow
def test_tests_that_are_killed_leave_no_process(tmp_path: Path, monkeypatch):
    monkeypatch.delenv(MARK)
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_configure, pytest_unconfigure\n")
    (tmp_path / "test_one.py").write_text(STARTS_ONE)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:kmock",
        "--rootdir",
        str(tmp_path),
    ]
    tests = subprocess.Popen([*command, str(tmp_path / "test_one.py")], stdout=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text():
        assert time.monotonic() < end
        assert tests.poll() is None
        time.sleep(0.05)
    child = psutil.Process(int((tmp_path / "child").read_text()))
    tests.send_signal(signal.SIGKILL)
    tests.wait()
    psutil.wait_procs([child], timeout=20)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
