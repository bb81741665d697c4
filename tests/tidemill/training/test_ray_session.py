"""A Ray of our own listens on loopback alone, and ends with its owner, however that ends."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tidemill.errors import TrainingError
from tidemill.orphan_reaper import MARK, marked_processes
from tidemill.serving.runtime.bind_policy import is_loopback
from tidemill.training.ray_session import check_address, hold_ctrl_c

pytestmark = pytest.mark.engine

OWNER = f"""
import os, signal, sys
from types import SimpleNamespace
from tidemill.settings import Settings
from tidemill.training.ray_session import ray_session
import ray
from ray._private import ray_constants

signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
before = os.environ.get("{MARK}")
with ray_session(SimpleNamespace(settings=Settings(num_cpus=1))):
    assert os.environ.get("{MARK}") == before
    print(ray.get(ray.remote(lambda: os.environ["{MARK}"]).remote()), flush=True)
    sys.stdin.read()
assert os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER") is None
assert ray_constants.ENABLE_RAY_CLUSTER
signal.raise_signal(signal.SIGTERM)  # Ray, as it ends, takes all handlers away
"""


@pytest.fixture
def owner():
    """A process in the middle of a session, and the mark that Ray's processes have."""
    command = [sys.executable, "-W", "ignore", "-c", OWNER]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        yield process, process.stdout.readline().strip()
        process.kill()


def test_all_of_it_listens_on_loopback_and_it_ends_with_the_block(owner):
    process, mark = owner
    found = {
        (one.name(), listener.laddr.ip)
        for one in [psutil.Process(process.pid), *marked_processes(mark)]
        for listener in one.net_connections("inet")
        if listener.status == psutil.CONN_LISTEN
    }
    assert {"gcs_server", "raylet"} <= {name for name, _ in found}
    assert [one for one in found if not is_loopback(one[1])] == []
    process.stdin.close()
    assert process.wait(30) == 143
    assert marked_processes(mark) == []


def test_sigterm_ends_a_session_by_the_handler_of_its_owner(owner):
    process, mark = owner
    process.terminate()
    assert process.wait(30) == 143  # Ray's own handlers print the stack of their code, and abort
    assert "SIGTERM received" not in process.stderr.read()
    assert marked_processes(mark) == []


def test_nothing_outlives_an_owner_that_is_killed(owner):
    process, mark = owner
    assert {"gcs_server", "raylet"} <= {one.name() for one in marked_processes(mark)}
    os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while marked_processes(mark):
        assert time.monotonic() < deadline, [one.cmdline() for one in marked_processes(mark)]
        time.sleep(0.1)


def test_an_address_where_nothing_answers_is_an_error_at_once():
    with pytest.raises(TrainingError, match=r"no Ray at 127\.0\.0\.1:1"):
        check_address("127.0.0.1:1")


def press_ctrl_c(times, done):
    with hold_ctrl_c():
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
        done.append(times)


@pytest.fixture
def raises_on_ctrl_c():
    """As in a terminal; a worker of pytest-xdist ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("raises_on_ctrl_c")
def test_ctrl_c_while_ray_starts_counts_when_it_has_started_and_a_second_one_at_once():
    done = []
    for times in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            press_ctrl_c(times, done)
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
