"""Runs a command, and kills it and all its descendants when the calling process ends.

Run as a script, ``python supervisor.py COMMAND …``, with an unused pipe as standard input: the pipe breaks
when its other end is closed or its holder dies in any way. The script imports nothing of Tidemill, so that it
runs with any path.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import time
from types import FrameType

import psutil

_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE = 10.0  # seconds to wait for killed processes; one may be stuck in the kernel


def main(command: list[str]) -> int:
    """Run ``command`` and return its exit code; kill all its descendants when it ends."""
    parent = os.getppid()
    if sys.platform == "linux":  # adopt orphans instead of init, so that none escapes
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # Ctrl-C is for the command and for our parent. A handler is not inherited, as SIG_IGN would be.
    signal.signal(signal.SIGINT, _ignore)
    signal.signal(signal.SIGTERM, _end)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_watch_parent, args=[parent], daemon=True).start()
    try:
        return child.wait()
    finally:
        _end_descendants()


def _watch_parent(parent: int) -> None:
    # The pipe shows the parent's end at once; its id shows it if a forked process holds the pipe open.
    while os.getppid() == parent:
        if select.select([0], [], [], 1.0)[0] and not os.read(0, 1):
            break
    _end(signal.SIGKILL, None)


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    return None


def _end(number: int, _frame: FrameType | None) -> None:
    _end_descendants()
    os._exit(128 + number)


def _end_descendants() -> None:
    me = psutil.Process()
    give_up = time.monotonic() + _PATIENCE
    while (running := me.children(recursive=True)) and time.monotonic() < give_up:
        for process in running:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        with contextlib.suppress(ChildProcessError):  # reap adopted orphans
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
