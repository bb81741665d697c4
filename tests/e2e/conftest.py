"""A small world: the reference project on a few weeks, with thresholds that are sure to be passed."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.warm_commands import command
from tests.warm_ray_workers import with_warm_workers
from tidemill.data.versioning.params_file import set_values
from tidemill.project.scaffold import copy_project, reference_project

SMALL = {
    "split.validation_days": 5,
    "split.holdout_days": 5,
    "train.trials": 2,
    "train.max_rows": 4000,
    "gate.min_rows": 200,
    "gate.min_gain": -1.0,
    "demo.start": "2013-02-01T05:00:00Z",
    "demo.end": "2013-02-20T05:00:00Z",
    "demo.requests_per_day": 24,
    "demo.clients": 4,
    "demo.later.start": "2013-03-01T05:00:00Z",
    "demo.later.end": "2013-03-03T05:00:00Z",
    "demo.later.challenger_params": {"gate.min_gain": 0.5},
    "demo.later.challenger_reason": "nobody can be that much better",
}
MONITORS = """\
monitors:
  - name: eager
    window: 7d
    every: 7d
    min_rows: 100
    min_labelled: 50
    data_drift: {share: 0.01, numerical: 0.01}
"""
POLICIES = """\
policies:
  - name: eager
    alerts: [data_drift]
    cooldown: 14d
"""


@pytest.fixture
def small_project(tmp_path: Path) -> Path:
    """A copy of the reference project that turns its loop within two minutes."""
    folder = tmp_path / "project"
    copy_project(reference_project(), folder)
    params = folder / "params.yaml"
    # One process of Ray is enough: each takes 3 s of CPU.
    alone = params.read_text().replace("\ntrain:\n", "\ntrain:\n  max_concurrent: 1\n")
    params.write_text(set_values(alone, SMALL))
    (folder / "monitoring" / "monitors.yaml").write_text(MONITORS)
    (folder / "monitoring" / "policies.yaml").write_text(POLICIES)
    return folder


def tidemill(*arguments: object) -> list[str]:
    """The command line, in a process that is forked."""
    return command("-m", "tidemill.cli.main", *arguments)


def run(*arguments: object, timeout: float = 400) -> subprocess.CompletedProcess[str]:
    return subprocess.run(tidemill(*arguments), capture_output=True, text=True, timeout=timeout)


def run_with_warm_workers(*arguments: object, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run a command that starts a stack; it is forked, and so are the stack's workers."""
    file, *words = with_warm_workers("tidemill.cli.main", trials=True)[1:]
    script = f"import runpy; runpy.run_path({file!r}, run_name='__main__')"
    line = command("-c", script, *words, *arguments)
    return subprocess.run(line, capture_output=True, text=True, timeout=timeout)


def wait_for(what: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def leaves_no_process() -> Iterator[None]:
    """Fails if any process is left that was not there before and that came from us."""
    mark = f"{os.getpid()}-{time.time_ns()}"
    os.environ["TIDEMILL_TEST_MARK"] = mark
    yield
    del os.environ["TIDEMILL_TEST_MARK"]

    def left() -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                marked = process.environ().get("TIDEMILL_TEST_MARK") == mark
                if marked and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    deadline = time.monotonic() + 20
    while left() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert [" ".join(process.cmdline())[:120] for process in left()] == []
