"""Runs DVC's command line in processes forked from one that has imported it: tests run it a hundred times."""

import atexit
import functools
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

from tidemill import orphan_reaper

DVC = "tidemill.data.repository.dvc_process"
MODULES = (
    "tidemill.data.repository.private_dvc",
    "dvc.cli.parser",
    "dvc.commands.add",
    "dvc.commands.init",
    "dvc.commands.repro",
    "dvc.repo.add",
    "dvc.repo.init",
    "dvc.repo.reproduce",
)


def fork_dvc() -> None:
    """Fork DVC's command line in this process, if the module that runs it is imported by now."""
    if "tidemill.data.repository.dvc_command" in sys.modules:
        sys.modules["tidemill.data.repository.dvc_command"].start_command = start_forked  # type: ignore[attr-defined]


class Forked:
    """As much of a process as `tidemill.orphan_reaper.start_command` is asked for."""

    def __init__(self, stdin: int, stdout: int, ended: socket.socket) -> None:
        self.stdin = os.fdopen(stdin, "w")
        self.stdout = os.fdopen(stdout, encoding="utf-8", errors="replace")
        self.returncode: int | None = None
        self._ended = ended

    def wait(self) -> int:
        """Wait until it has ended; return its exit code."""
        if self.returncode is None:
            self.returncode = int(self._ended.recv(100) or -signal.SIGKILL)
            self._ended.close()
        return self.returncode

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, *_: object) -> None:
        self.stdout.close()
        self.stdin.close()
        self.wait()


def start_forked(
    command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> "Forked | subprocess.Popen[str]":
    """Do what `tidemill.orphan_reaper.start_command` does."""
    if list(command[1:4]) != ["-P", "-m", DVC]:
        return orphan_reaper.start_command(command, folder, environment)
    stdin, ours = os.pipe()
    reading, out = os.pipe()
    ended, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with tempfile.TemporaryFile() as file:  # longer than a packet may be
        what = {"command": list(command), "folder": str(folder), "environment": dict(environment)}
        file.write(json.dumps(what).encode())
        file.seek(0)
        socket.send_fds(_server(os.getpid()), [b"ask"], [file.fileno(), stdin, out, theirs.fileno()])
    os.close(stdin)
    os.close(out)
    theirs.close()
    return Forked(ours, reading, ended)


@functools.cache
def _server(_process: int) -> socket.socket:
    """Start the process that is forked; it ends when this one does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # It outlives the test that starts it, which may look for what it has left.
    env = {name: value for name, value in os.environ.items() if name != "TIDEMILL_TEST_MARK"}
    command = [sys.executable, "-m", "tests.warm_dvc", str(theirs.fileno())]
    root = Path(__file__).parents[1]
    process = subprocess.Popen(command, cwd=root, env=env, pass_fds=[theirs.fileno()])
    process.returncode = 0  # nobody waits for it
    theirs.close()
    atexit.register(ours.close)
    return ours


def _serve(wire: socket.socket) -> None:
    import gc

    gc.disable()
    for module in MODULES:
        importlib.import_module(module)
    threads = threading.enumerate()
    assert len(threads) == 1, f"{threads}: a process with threads must not be forked"
    gc.freeze()
    gc.enable()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those that asked wait
    while True:
        said, given, *_ = socket.recv_fds(wire, 100, 4)
        if not said:
            return
        if os.fork() == 0:
            wire.close()
            _reap(*given)
        for each in given:
            os.close(each)


def _reap(asked: int, stdin: int, out: int, ended: int) -> NoReturn:
    """Be the process that runs the command and ends what it leaves, and tell how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with open(asked) as file:
        what = json.load(file)
    os.environ.clear()
    os.environ.update(what["environment"])
    os.chdir(what["folder"])
    for stream, number in ((stdin, 0), (out, 1), (out, 2)):
        os.dup2(stream, number)
    os.close(stdin)
    os.close(out)
    _Dvc.tells = ended
    vars(orphan_reaper)["subprocess"] = SimpleNamespace(Popen=_Dvc, DEVNULL=subprocess.DEVNULL)
    code = orphan_reaper.main(os.getppid(), "run", *what["command"])
    os.write(ended, str(code).encode())
    os._exit(code)


class _Dvc:
    """The process of DVC itself, forked."""

    tells = -1
    """What it must not keep open."""

    def __init__(self, command: Sequence[str], stdin: int) -> None:
        assert stdin == subprocess.DEVNULL
        self._number = os.fork()
        if self._number == 0:
            os.close(self.tells)
            _become_dvc(command[4:])

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self._number, 0)[1])


def _become_dvc(arguments: Sequence[str]) -> NoReturn:
    from tests.warm_python import end_after

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # as after an exec
    signal.signal(signal.SIGINT, signal.default_int_handler)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.argv = [DVC, *arguments]
    del sys.path[0]  # -P
    end_after(lambda: runpy.run_module(DVC, run_name="__main__", alter_sys=True))


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
