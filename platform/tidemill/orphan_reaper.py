"""End the processes that a process leaves behind when it ends, SIGKILL included.

A small process, this file run as a script, waits until its owner closes a pipe or ends, and then kills what
the owner left:

- the processes of a stack, or of a Ray of our own, by a mark in their environment. Ray's processes end with
  their owner only partly: agents linger for minutes, and what they started in turn is orphaned.
- a command that the script runs itself (DVC's), by descent: it adopts the orphans.

The script imports nothing of Tidemill, so that it runs with any path.
"""

import contextlib
import ctypes
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["MARK", "OrphanReaper", "kill_marked", "marked_processes", "start_command"]

MARK = "TIDEMILL_STACK_MARK"
"""Environment variable that every process of a stack, or of a Ray of our own, has."""

_PR_SET_CHILD_SUBREAPER = 36
_STOPPED = b"."
_PASSED_OVER = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class OrphanReaper:
    """A process that ends what this one leaves behind."""

    mark: str
    process: "subprocess.Popen[bytes]"

    @classmethod
    def start(cls, folder: Path | None = None, last_words: str = "") -> "OrphanReaper":
        """Start one; from now on, processes with its mark and ``folder``, if any, end with this one.

        Args:
            folder: is removed then.
            last_words: are said on standard error where this process ends without having called `stop`.
        """
        mark = secrets.token_hex(8)
        environment = {name: value for name, value in os.environ.items() if name != MARK}
        marked = ["mark", mark, last_words, *([str(folder)] if folder is not None else [])]
        with _signals_held():
            process = subprocess.Popen(
                _script(marked), stdin=subprocess.PIPE, env=environment, start_new_session=True, cwd="/"
            )
        return cls(mark, process)

    def stop(self, timeout: float = 30.0) -> None:
        """End and remove everything now, and wait until it is gone."""
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it was killed
                self.process.stdin.write(_STOPPED)
                self.process.stdin.close()
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_command(
    command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> "subprocess.Popen[str]":
    """Start a command in ``folder``; its output, errors too, is the text of ``stdout``.

    The command and all its descendants are killed when ``stdin`` is closed or this process ends; its
    descendants also when the command ends.
    """
    with _signals_held():
        return subprocess.Popen(
            _script(["run", *command]),
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Let what the block starts wait with signals until it has its handlers, which takes Python some time."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_OVER)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def marked_processes(mark: str) -> list[psutil.Process]:
    """Return the living processes that carry ``mark``."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for process in psutil.process_iter():
        try:
            # Not psutil's environ(): it stops where a process, like Ray's agents, has written its title.
            variables = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
            if wanted in variables and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):  # gone meanwhile, or another user's
            continue
    return found


def kill_marked(mark: str, seconds: float = 20.0) -> list[psutil.Process]:
    """Kill every process that carries ``mark`` until there is none; return those that would not die."""
    return _kill(lambda: marked_processes(mark), seconds)


def main(owner: int, what: str, *arguments: str) -> int:
    """Wait for the end of ``owner``, our parent, or of the command that we run; clean up.

    Returns:
        The exit code of the command.
    """
    for number in _PASSED_OVER:
        signal.signal(number, lambda *_: None)  # unlike SIG_IGN, a command does not inherit a handler
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_OVER)
    if what == "run":
        return _run(owner, arguments)
    mark, last_words, *folders = arguments
    stopped = _wait_for_end(owner)
    kill_marked(mark)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    if last_words and not stopped:
        with contextlib.suppress(OSError):  # nobody reads it any more
            sys.stderr.write(f"{last_words}\n")
    return 0


def _run(owner: int, command: Sequence[str]) -> int:
    if sys.platform == "linux":  # adopt orphans instead of init, so that none escapes
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def end_with_owner() -> None:
        _wait_for_end(owner)
        _kill(_descendants)

    threading.Thread(target=end_with_owner, daemon=True).start()
    code = child.wait()
    _kill(_descendants)
    return code if code >= 0 else 128 - code  # as a shell does for a command that a signal ended


def _wait_for_end(owner: int) -> bool:
    """Return whether the owner has said that it wants no more, rather than ended."""
    # The pipe shows the end at once; the parent's number shows it where a forked process holds the pipe open.
    while os.getppid() == owner:
        if select.select([0], [], [], 1.0)[0]:
            return os.read(0, 1) == _STOPPED
    return False


def _descendants() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _kill(find: Callable[[], list[psutil.Process]], seconds: float = 20.0) -> list[psutil.Process]:
    """Kill what ``find`` returns until that is nothing; return those that would not die."""
    deadline = time.monotonic() + seconds
    left = find()
    while left and time.monotonic() < deadline:
        for process in left:
            with contextlib.suppress(psutil.Error):  # it is looked for again below
                process.kill()
        psutil.wait_procs(left, timeout=0.5)
        left = find()
    return left


def _script(arguments: Sequence[str]) -> list[str]:
    # -P: modules in this folder, or in the one where the command works, must not shadow those of Python.
    return [sys.executable, "-P", __file__, str(os.getpid()), *arguments]


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:]))
