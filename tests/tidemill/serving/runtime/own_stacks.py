"""Projects for stacks of their own, and stacks in the foreground."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from tests.warm_ray_workers import with_warm_workers
from tidemill.orphan_reaper import marked_processes
from tidemill.project import load_project
from tidemill.serving.runtime.daemon import up
from tidemill.serving.runtime.local_stack import status
from tidemill.settings import Settings

COMMAND = (sys.executable, "-m", "tidemill.cli.main")
SUPERVISOR = "tidemill.serving.runtime.stack_supervisor"


def wait_for(condition, seconds=120.0, every=0.05):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(every)


def copy_of(template, folder, **settings):
    return load_project(shutil.copytree(template, folder), Settings(num_cpus=2, **settings))


def up_with_warm_workers(project):
    """Start a stack as `tidemill.serving.runtime.daemon.up` does, whose workers are forked."""
    spawn = os.posix_spawn

    def spawn_warm(program, arguments, *more, **options):
        if SUPERVISOR in arguments:
            arguments = [*with_warm_workers(SUPERVISOR), *arguments[3:]]
        return spawn(program, arguments, *more, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "posix_spawn", spawn_warm)
        return up(project)


@contextmanager
def in_foreground(project, command=COMMAND):
    """Start `tidemill up --foreground`; it is killed at the end of the block, if it has not ended.

    Args:
        project: its stack.
        command: what does what ``tidemill`` does.
    """
    process = subprocess.Popen(
        [*command, "up", "--foreground", "-p", str(project.root)],
        env={**os.environ, **project.settings.variables()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def said(word):
        assert process.poll() is None, "it ended before"
        info = status(project)
        return info is not None and word in (info.state, info.message)

    try:
        yield process, lambda word: wait_for(lambda: said(word), 120)
    finally:
        process.kill()
        process.wait()


def end_by_ctrl_c(project, process):
    mark = status(project).mark
    assert marked_processes(mark)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does: to everybody in the group
    assert process.wait(60) == 0
    wait_for(lambda: not marked_processes(mark))
    assert status(project) is None
