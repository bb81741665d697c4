"""Locks on files, which the kernel takes back when the holder's process ends, however it ends (``flock``).

A lock says who holds it: the holder writes its process into the file.
"""

import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tidemill.errors import TidemillError

__all__ = ["is_locked", "locked", "try_lock"]

_PAUSE = 0.05  # seconds between two tries


@contextmanager
def locked(
    path: Path,
    *,
    busy: Callable[[str], Exception] | None = None,
    wait_seconds: float | None = 0.0,
    on_wait: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Hold the lock file ``path``, or an existing folder, for the length of the block.

    Args:
        path: a file of its own, which is made and stays; or a folder, which cannot tell who holds it.
        busy: makes the error to raise from who holds the lock, such as ``"process 4711 (tidemill train),
            since 2013-04-01 12:00:00 UTC"``; default: a `TidemillError`.
        wait_seconds: how long to wait for another holder; none waits for ever.
        on_wait: told once who holds the lock, before waiting for it.

    Raises:
        Exception: what ``busy`` makes: another thread or process still holds it after ``wait_seconds``.
        TidemillError: the file cannot be made or opened.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "turn.lock")
    >>> with locked(path):
    ...     is_locked(path)
    True
    >>> is_locked(path)
    False
    """
    descriptor, is_folder = _open(path)
    try:
        _acquire(descriptor, path, busy or _busy(path), wait_seconds, on_wait)
        if is_folder:
            yield
            return
        _write_holder(descriptor)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Return whether somebody holds the lock file ``path``; no, if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(descriptor)
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Lock an open file until it is closed, and return True; return False if somebody else holds it.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open(path: Path) -> tuple[int, bool]:
    try:
        if path.is_dir():
            return os.open(path, os.O_RDONLY), True
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644), False
    except OSError as error:
        raise TidemillError(
            f"the lock {path} cannot be opened: {error.strerror or error}",
            hint="make its folder writable",
        ) from error


def _acquire(
    descriptor: int,
    path: Path,
    busy: Callable[[str], Exception],
    wait_seconds: float | None,
    on_wait: Callable[[str], None] | None,
) -> None:
    if try_lock(descriptor):
        return
    if on_wait is not None and wait_seconds != 0:
        on_wait(_holder(path))
    end = None if wait_seconds is None else time.monotonic() + wait_seconds
    while end is None or time.monotonic() < end:
        time.sleep(_PAUSE)
        if try_lock(descriptor):
            return
    raise busy(_holder(path))


def _busy(path: Path) -> Callable[[str], Exception]:
    return lambda holder: TidemillError(f"{path} is locked by {holder}", hint="wait for it to end")


def _write_holder(descriptor: int) -> None:
    # Only the program and its command: further arguments may be secret, or personal data.
    words = [Path(sys.argv[0]).name, *(word for word in sys.argv[1:2] if word.isalpha())]
    about = {
        "pid": os.getpid(),
        "host": os.uname().nodename,
        "program": " ".join(words),
        "since": datetime.now(UTC).isoformat(sep=" ", timespec="seconds"),
    }
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(about).encode(), 0)


def _holder(path: Path) -> str:
    """Return who holds a lock, as a message says it."""
    try:
        about = json.loads(path.read_bytes())
        pid, host, since = int(about["pid"]), about["host"], datetime.fromisoformat(about["since"])
        program = f" ({about['program']})" if about["program"] else ""
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
    where = "" if host == os.uname().nodename else f" on {host}"
    who = "this process" if not where and pid == os.getpid() else f"process {pid}{where}{program}"
    return f"{who}, since {since:%Y-%m-%d %H:%M:%S} UTC"
