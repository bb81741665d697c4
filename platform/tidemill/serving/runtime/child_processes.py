"""Run programs beside the prediction API: each has a log, and is restarted when it ends."""

import contextlib
import logging
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tidemill.errors import ServingError

__all__ = ["ChildProcess"]

_STEADY = 60.0  # seconds of life after which earlier failures are forgiven
_LONGEST_PAUSE = 60.0
_log = logging.getLogger(__name__)


@dataclass
class ChildProcess:
    """One program. It is started at once by `start`, and by `restart_if_ended` whenever it has ended."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    """What its environment has beyond ours."""
    log: Path
    folder: Path
    """Where it runs."""
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)
    _started: float = 0.0
    _failures: int = 0
    _due: float = 0.0

    def start(self) -> None:
        """Start it, appending to its log.

        Raises:
            ServingError: there is no such program.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.log.open("ab") as output:
                self._process = subprocess.Popen(
                    list(self.command),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **self.environment},
                    cwd=self.folder,
                    start_new_session=True,  # Ctrl-C is for us: we end it in order
                )
        except OSError as error:
            raise ServingError(
                f"{self.name} cannot be started: {self.command[0]}: {error}",
                hint="check that the program is installed and can be run",
            ) from error
        self._started = time.monotonic()

    def restart_if_ended(self) -> None:
        """If it has ended, start it again: after 1 second, then 2, 4 … at most 60."""
        if self._process is None or self._process.poll() is None:
            return
        now = time.monotonic()
        if self._due <= self._started:  # seen dead for the first time
            self._failures = 0 if now - self._started > _STEADY else self._failures + 1
            pause = min(2.0 ** max(self._failures - 1, 0), _LONGEST_PAUSE)
            self._due = now + pause
            _log.warning(
                "%s ended with %s; again in %.0f s; see %s",
                self.name,
                self._process.returncode,
                pause,
                self.log,
            )
        elif now >= self._due:
            self.start()

    def require_alive(self) -> None:
        """Raise if it has ended.

        Raises:
            ServingError: it has ended; the message has the last lines of its log.
        """
        if self._process is not None and self._process.poll() is not None:
            raise ServingError(
                f"{self.name} ended with {self._process.returncode}: {tail(self.log)}", hint=f"see {self.log}"
            )

    def stop(self, seconds: float = 10.0) -> None:
        """End it with SIGTERM, then SIGKILL."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def tail(path: Path, lines: int = 5) -> str:
    """Return the last lines of a text file, as one line."""
    try:
        return " | ".join(path.read_text(errors="replace").splitlines()[-lines:]) or "(it said nothing)"
    except OSError:
        return "(no log)"
