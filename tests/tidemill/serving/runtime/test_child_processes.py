"""Programs beside the API are restarted with growing pauses, and end when told."""

import signal
import sys
import time

import pytest

from tidemill.errors import ServingError
from tidemill.serving.runtime.child_processes import ChildProcess


def child(tmp_path, code: str) -> ChildProcess:
    return ChildProcess(
        "the helper", [sys.executable, "-c", code], {"WORD": "tide"}, tmp_path / "helper.log", tmp_path
    )


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_runs_with_its_environment_and_log_and_ends_when_told(tmp_path):
    one = child(tmp_path, "import os, time; print(os.environ['WORD'], flush=True); time.sleep(60)")
    one.start()
    wait_for(lambda: "tide" in one.log.read_text())
    one.restart_if_ended()
    one.require_alive()
    one.stop()
    assert one.log.read_text() == "tide\n"


def test_it_is_started_again_when_it_ends_but_not_at_once(tmp_path):
    one = child(tmp_path, "print('life', flush=True)")
    one.start()
    wait_for(lambda: "life" in one.log.read_text())
    began = time.monotonic()

    def second_life():
        one.restart_if_ended()
        return one.log.read_text().count("life") == 2

    wait_for(second_life)
    assert time.monotonic() - began > 0.9
    one.stop()


def test_the_end_of_one_that_is_needed_is_told_with_its_last_words(tmp_path):
    one = child(tmp_path, "raise SystemExit('no such database')")
    one.start()

    def ended():
        try:
            one.require_alive()
        except ServingError:
            return True
        return False

    wait_for(ended)
    with pytest.raises(ServingError, match="no such database"):
        one.require_alive()


def test_one_that_ignores_the_polite_way_is_killed(tmp_path):
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    one = child(tmp_path, code)
    one.start()
    wait_for(lambda: "deaf" in one.log.read_text())
    process = one._process
    one.stop(seconds=0.3)
    assert process.returncode == -signal.SIGKILL


def test_a_program_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ServingError, match="no-such-program"):
        ChildProcess("it", ["/no-such-program"], {}, tmp_path / "log", tmp_path).start()
