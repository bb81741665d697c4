"""Runs DVC's command line in processes forked from one that has imported it: tests run it a hundred times."""

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

from tests.warm_commands import listening_at
from tests.warm_path import warm_path
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


_start_command = orphan_reaper.start_command


def fork_dvc() -> None:
    """Fork DVC's command line in this process, whenever the module that runs it is imported."""
    vars(orphan_reaper)["start_command"] = start_forked
    if "tidemill.data.repository.dvc_command" in sys.modules:
        vars(sys.modules["tidemill.data.repository.dvc_command"])["start_command"] = start_forked


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
        return _start_command(command, folder, environment)
    environment = dict(environment)
    if command[4] == "repro":
        environment["PATH"] = f"{warm_path()}{os.pathsep}{environment['PATH']}"
    stdin, ours = os.pipe()
    reading, out = os.pipe()
    ended, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with tempfile.TemporaryFile() as file, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as wire:
        what = {"command": list(command), "folder": str(folder), "environment": environment}
        file.write(json.dumps(what).encode())  # longer than a packet may be
        file.seek(0)
        wire.connect(listening_at("dvc", __name__))
        socket.send_fds(wire, [b"ask"], [file.fileno(), stdin, out, theirs.fileno()])
    os.close(stdin)
    os.close(out)
    theirs.close()
    return Forked(ours, reading, ended)


def _serve(listening: socket.socket) -> None:
    import gc

    gc.disable()
    for module in MODULES:
        importlib.import_module(module)
    threads = threading.enumerate()
    assert len(threads) == 1, f"{threads}: a process with threads must not be forked"
    gc.freeze()
    gc.enable()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those that asked wait
    while True:  # until this process is killed at the end of the tests, as all that has their mark
        wire, _ = listening.accept()
        said, given, *_ = socket.recv_fds(wire, 100, 4)
        wire.close()
        if said and os.fork() == 0:
            listening.close()
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
