"""Runs DVC's command line as a child that ends with this process, and waits for other DVC processes."""

import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from tidemill.data.repository.git import own_environment
from tidemill.data.repository.private_dvc import LockError
from tidemill.errors import DataError
from tidemill.files.drafts import discard_draft, new_draft_folder
from tidemill.orphan_reaper import start_command

__all__ = [
    "CommandResult",
    "Tell",
    "ignore_line",
    "ignore_progress",
    "last_lines",
    "reading_folder",
    "retry_while_locked",
    "run_dvc",
    "scratch_folder",
    "site_cache",
    "temporary_folder",
]

T = TypeVar("T")

Tell = Callable[[str, str, int | None, int | None], None]
"""A callback for the progress of long work: step, message, amount done, total amount."""

_OF_A_STAGE = frozenset({"DVC_ROOT", "DVC_STAGE"})
_KEPT_LINES = 200
_SHOWN_LINES = 15
_BUSY = re.compile(r"^ERROR: .*(Unable to acquire lock|is busy, it is being blocked by)")


@dataclass(frozen=True)
class CommandResult:
    """The result of a command."""

    code: int
    """Exit code; 128 and more: a signal of the number above 128 ended it."""
    lines: tuple[str, ...]
    """The last lines of its output."""


def scratch_folder(root: Path) -> Path:
    """Return the folder of DVC's own temporary files, which git ignores."""
    return root / ".dvc" / "tmp"


def reading_folder(root: Path) -> Path:
    """Return a folder for temporary files of a reading command: the system's, if the project is read-only."""
    scratch = scratch_folder(root)
    try:
        scratch.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(gettempdir())
    writable = os.access(scratch, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
    return scratch if writable else Path(gettempdir())


@contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """Give a new folder in ``parent`` and delete it at the end.

    It is a draft: what killed processes leave is deleted by the next one, and seen by an erasure.
    """
    folder = new_draft_folder(parent / name)
    try:
        yield folder
    finally:
        discard_draft(folder)


def site_cache(root: Path) -> Path:
    """Return the folder of DVC's indexes, inside the repository, so that ``/var/tmp`` stays clean."""
    folder = reading_folder(root)
    return folder / "site" if folder == scratch_folder(root) else folder / f"tidemill-site-{os.getuid()}"


def run_dvc(root: Path, *arguments: str, on_line: Callable[[str], None], patience: float) -> CommandResult:
    """Run ``dvc`` in ``root``, and wait up to ``patience`` seconds while another process holds DVC's lock.

    Stage commands find our own Python first on the PATH. The child and all its descendants end with this
    process, even if it is killed.

    Raises:
        DataError: the lock was not free in time.
    """

    def once() -> CommandResult:
        finished = _run(root, arguments, on_line)
        if finished.code and any(_BUSY.match(line) for line in finished.lines):
            raise LockError("\n".join(finished.lines[-5:]))
        return finished

    return retry_while_locked(root, once, on_line, patience)


def retry_while_locked(
    root: Path, call: Callable[[], T], on_line: Callable[[str], None], patience: float
) -> T:
    """Return ``call()``, called again until no other process holds DVC's lock in ``root``.

    Raises:
        DataError: the lock was not free within ``patience`` seconds.
    """

    def tell(state: RetryCallState) -> None:
        if state.attempt_number == 1:
            on_line(f"another DVC process is working in {root}: waiting up to {patience:.0f} s for it")

    retrying = Retrying(
        retry=retry_if_exception_type(LockError),
        stop=stop_after_delay(patience),
        wait=wait_fixed(1),
        before_sleep=tell,
        reraise=True,
    )
    try:
        return retrying(call)
    except LockError as error:
        raise DataError(
            f"{root}: another DVC process held its lock for more than {patience:.0f} s: {error}",
            hint="wait for it, or end it, and run again",
        ) from error


def _run(root: Path, arguments: tuple[str, ...], on_line: Callable[[str], None]) -> CommandResult:
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    # -P: the project's folders (`serving`, `monitoring`, …) must not shadow modules of ours or of DVC.
    dvc = [sys.executable, "-P", "-m", "tidemill.data.repository.dvc_process", *arguments]
    process = start_command(dvc, root, _environment(root))
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            for line in process.stdout:
                lines.append(line.rstrip())
                on_line(lines[-1])
        finally:
            process.stdin.close()  # kills what still runs
            process.wait()
    return CommandResult(process.returncode, tuple(lines))


def _environment(root: Path) -> dict[str, str]:
    environment = {key: value for key, value in own_environment().items() if key not in _OF_A_STAGE}
    path = environment.get("PATH", os.defpath)
    return {
        **environment,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{path}",
        "PYTHONUNBUFFERED": "1",  # a stage's lines are shown when they are written
        "DVC_NO_ANALYTICS": "1",
        "DVC_STUDIO_OFFLINE": "1",
        "DVC_SITE_CACHE_DIR": str(site_cache(root)),
    }


def last_lines(lines: Sequence[str]) -> str:
    """Return the last lines of a failed command's output, for an error message.

    >>> print(last_lines(["Traceback:", "", "ValueError: no flights"]))
    <BLANKLINE>
      Traceback:
      ValueError: no flights
    """
    said = [line for line in lines if line.strip()]
    return "\n  ".join(["", *said[-_SHOWN_LINES:]]) if said else "it said nothing"


def ignore_line(_line: str) -> None:
    """Ignore a line of output."""


def ignore_progress(_step: str, _message: str, _done: int | None, _total: int | None) -> None:
    """Ignore the progress of long work."""
