"""End the processes that a stack or a Ray of our own leaves behind when its owner ends, SIGKILL included.

Ray's processes end with their owner only partly: agents linger for minutes, and what they started in turn
is orphaned. So every process that the owner starts carries a mark in its environment, and a small
process, this module, waits for the owner's end of a pipe to close, kills whatever carries the mark, and
removes the owner's temporary folder.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["MARK", "OrphanReaper", "kill_marked", "marked_processes"]

MARK = "TIDEMILL_STACK_MARK"
"""Environment variable that every process of a stack, or of a Ray of our own, has."""


@dataclass(frozen=True)
class OrphanReaper:
    """A process that ends what this one leaves behind."""

    mark: str
    process: "subprocess.Popen[bytes]"

    @classmethod
    def start(cls, folder: Path | None = None) -> "OrphanReaper":
        """Start one; from now on, processes with its mark and ``folder``, if any, end with this one."""
        mark = secrets.token_hex(8)
        environment = {name: value for name, value in os.environ.items() if name != MARK}
        command = [sys.executable, "-m", "tidemill.orphan_reaper", mark]
        command += [str(folder)] if folder is not None else []
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, env=environment, start_new_session=True, cwd="/"
        )
        return cls(mark, process)

    def stop(self, timeout: float = 30.0) -> None:
        """End and remove everything now, and wait until it is gone."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


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
    deadline = time.monotonic() + seconds
    left = marked_processes(mark)
    while left and time.monotonic() < deadline:
        for process in left:
            try:
                process.kill()
            except psutil.Error:
                continue
        psutil.wait_procs(left, timeout=0.5)
        left = marked_processes(mark)
    return left


def main(mark: str, folder: str | None = None) -> None:
    """Wait for the owner's end, then clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    kill_marked(mark)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
