"""Locks files with ``flock``, which the kernel releases when the holder's process ends in any way.

A child that the holder forks shares the lock while it has the file open, so closing the file is not enough:
`close_locked` releases the lock itself.

The holder writes its process id and command into the lock file, so that others can name it.
"""

import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tidemill.errors import NotWritable, TidemillError

__all__ = [
    "close_locked",
    "holder_words",
    "is_locked",
    "locked",
    "share_lock",
    "this_process",
    "try_lock",
]

_PAUSE = 0.05  # seconds between two tries
_LOOK = 0.01  # seconds: more than `is_locked` has a lock for


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
        path: a dedicated file, which is created and kept; or a folder, which cannot record its holder.
        busy: makes the error to raise from a text about the holder, such as ``"process 4711 (tidemill train),
            since 2013-04-01 12:00:00 UTC"``; default: a `TidemillError`.
        wait_seconds: how long to wait for another holder; None waits without limit.
        on_wait: called once with the holder, before waiting.

    Raises:
        Exception: another thread or process still holds the lock after ``wait_seconds``; made by ``busy``.
        NotWritable: the file cannot be made or opened.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "turn.lock")
    >>> with locked(path):
    ...     is_locked(path)
    True
    >>> is_locked(path)
    False
    """
    descriptor, is_folder = _open(path)
    process = os.getpid()
    try:
        _acquire(descriptor, path, busy or _busy(path), wait_seconds, on_wait)
        if is_folder:
            yield
            return
        _write_holder(descriptor)
        try:
            yield
        finally:
            if os.getpid() == process:
                os.ftruncate(descriptor, 0)
    finally:
        close_locked(descriptor, process)


def is_locked(path: Path) -> bool:
    """Return whether the lock file ``path`` is locked; False if the file does not exist."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _share(descriptor, fcntl.LOCK_NB)  # together with others who look
    finally:
        close_locked(descriptor)


def try_lock(descriptor: int) -> bool:
    """Lock an open file until it is closed, and return True; return False if it is already locked.

    Raises:
        OSError: the file system does not support locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def close_locked(descriptor: int, process: int | None = None) -> None:
    """Unlock and close a file, so that children forked meanwhile do not keep the lock.

    Args:
        descriptor: of the locked file.
        process: id of the process that took the lock, the only one that unlocks it; default: this one.
    """
    try:
        if process in (None, os.getpid()):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def share_lock(descriptor: int, *, wait: bool) -> bool:
    """Lock an open file together with others until it is closed; return False if that is not possible.

    Args:
        descriptor: of the file or folder.
        wait: whether to wait while another process holds it alone.
    """
    try:
        return _share(descriptor, 0 if wait else fcntl.LOCK_NB)
    except OSError:  # a file system without locks
        return False


def _share(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | how)
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
        raise NotWritable(
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
    time.sleep(_LOOK)
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


def this_process() -> dict[str, Any]:
    """Return what tells others which process this is: ``pid``, ``host``, ``program`` and ``since``, now."""
    # Only the program and its command: further arguments may be secrets or personal data.
    words = [Path(sys.argv[0]).name, *(word for word in sys.argv[1:2] if word.isalpha())]
    return {
        "pid": os.getpid(),
        "host": os.uname().nodename,
        "program": " ".join(words),
        "since": datetime.now(UTC).isoformat(sep=" ", timespec="seconds"),
    }


def holder_words(about: Mapping[str, Any]) -> str:
    """Return the text about a process, for messages, from what `this_process` returned there.

    Raises:
        ValueError, KeyError, TypeError: it is not of that form.
    """
    pid, host, since = int(about["pid"]), about["host"], datetime.fromisoformat(about["since"])
    program = f" ({about['program']})" if about["program"] else ""
    where = "" if host == os.uname().nodename else f" on {host}"
    who = "this process" if not where and pid == os.getpid() else f"process {pid}{where}{program}"
    return f"{who}, since {since:%Y-%m-%d %H:%M:%S} UTC"


def _write_holder(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(this_process()).encode(), 0)


def _holder(path: Path) -> str:
    """Return the text about the holder of a lock, for messages."""
    try:
        return holder_words(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
