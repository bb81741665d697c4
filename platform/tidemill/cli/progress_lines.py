"""Shows the progress of long work on stderr: bars on a terminal, plain lines elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from tidemill.cli.output import errors_console
from tidemill.threads import BackgroundThread

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["Lines", "Tell", "progress"]

Tell = Callable[[str, str, int | None, int | None], None]
"""Takes step, message, done and total."""
_EVERY = 30.0
"""Seconds between two lines about the same step."""
_QUIET = 2.0
"""Work that is done within so many seconds writes no line."""
_WIDE = 110
"""Terminals from so many columns on have room for long bars."""
_STEP = 10
"""Columns of the name of a step, at least."""
_FIXED = 13
"""Columns of the mark, the time, and the spaces between all."""


@contextmanager
def progress() -> Iterator[Tell]:
    """Give a function that shows each step of long work on stderr until the context ends.

    On a terminal it is one line a step, with a bar where there is something to count. Elsewhere, and with
    ``--json`` too, it is a plain line when a step begins, when it ends, and every 30 seconds in between; work
    that is done within two seconds writes none.
    """
    if sys.stderr.isatty():
        with _bars() as tell:
            yield tell
    else:
        with Lines(sys.stderr) as lines:
            yield lines.tell


class Lines:
    """Writes plain lines about the steps of long work.

    Args:
        stream: where they go.
        quiet: seconds at the beginning in which nothing is written.
        every: seconds between two lines about the same step.
    """

    def __init__(self, stream: TextIO, quiet: float = _QUIET, every: float = _EVERY) -> None:
        self._stream, self._quiet, self._every = stream, quiet, every
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = BackgroundThread("progress-lines", self._repeat, stopping=self._ended)
        self._speaks = quiet <= 0
        self._step = self._message = ""
        self._began = 0.0

    def __enter__(self) -> "Lines":
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._thread.stop()
        with self._lock:
            self._end("failed" if kind else "done")

    def tell(self, step: str, message: str, done: int | None, total: int | None) -> None:
        """Note how far the work is; write a line if another step begins."""
        counted = "" if done is None or total is None else f"{done:,} of {total:,}"
        with self._lock:
            another = step != self._step
            if another:
                self._end("done")
                self._step, self._began = step, time.monotonic()
            self._message = ", ".join(filter(None, (message, counted)))
            if another:
                self._write("begins", self._message)

    def _repeat(self) -> None:
        ended = self._ended.wait(self._quiet)
        while not ended:
            with self._lock:
                self._speaks = True
                if self._step:
                    self._write(f"{time.monotonic() - self._began:.0f} s so far", self._message)
            ended = self._ended.wait(self._every)

    def _end(self, how: str) -> None:
        if self._step:
            self._write(f"{how} after {time.monotonic() - self._began:.1f} s")
        self._step = ""

    def _write(self, what: str, message: str = "") -> None:
        if self._speaks:
            self._stream.write(f"{self._step}: {what}{f': {message}' if message else ''}\n")
            self._stream.flush()


@contextmanager
def _bars() -> Iterator[Tell]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    bars = Progress(
        SpinnerColumn(finished_text="[green]✓[/]"),
        TextColumn(f"{{task.description:<{_STEP}}}", markup=False),
        BarColumn(bar_width=_bar(errors_console().width)),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[message]}", style="dim", markup=False),
        console=errors_console(),
    )
    tasks: dict[str, Any] = {}
    widest = 0

    def tell(step: str, message: str, done: int | None, total: int | None) -> None:
        nonlocal widest
        widest = max(widest, 2 * len(str(total or 1)) + 1, len(str(done or 0)) + 2)
        if step not in tasks:
            for finished in tasks.values():
                _finish(bars, finished)
            tasks[step] = bars.add_task(step, total=None, message="")
        wide = bars.console.width
        steps = max(_STEP, *map(len, tasks))
        room = wide - _bar(wide) - steps - widest - _FIXED
        bars.update(tasks[step], completed=done, total=total, message=_fitted(message, room))

    with bars:
        yield tell
        for task in tasks.values():
            _finish(bars, task)


def _bar(wide: int) -> int:
    """Return the width of a bar on a terminal of so many columns: what is said comes first."""
    return 24 if wide >= _WIDE else 8


def _fitted(message: str, room: int) -> str:
    """Return a message that fits into ``room`` columns, cut between words.

    >>> _fitted("8 trials, 0 failed; the best is linear", 24), _fitted("version 1", 24)
    ('8 trials, 0 failed; the…', 'version 1')
    """
    if len(message) <= room:
        return message
    kept = message[: max(room, 1)].rpartition(" ")[0] or message[: max(room - 1, 0)]
    return f"{kept.rstrip(' ,;:')}…"


def _finish(bars: "Progress", task: Any) -> None:
    total = next(t.total for t in bars.tasks if t.id == task)
    bars.update(task, total=total or 1, completed=total or 1)
