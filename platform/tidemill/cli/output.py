"""How the command line speaks: JSON for machines, rich text for people, errors and progress on stderr."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column, Table

__all__ = ["as_json", "columns", "emit", "errors_console", "out_console", "progress", "when"]

out_console = Console(highlight=False, markup=False)
"""What people write (reasons, paths, errors) goes out as it is: it may hold square brackets."""
errors_console = Console(stderr=True, highlight=False, markup=False)


def as_json(value: Any) -> str:
    """Return ``value`` as JSON; moments in ISO 8601.

    >>> from datetime import UTC
    >>> as_json({"at": datetime(2013, 4, 1, tzinfo=UTC), "path": Path("a")})
    '{"at": "2013-04-01T00:00:00+00:00", "path": "a"}'
    """
    return json.dumps(value, default=_plain, allow_nan=False)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def emit(value: Any, as_machine: bool, render: Callable[[Console], None]) -> None:
    """Write ``value`` as one line of JSON, or let ``render`` show it to a person."""
    if as_machine:
        sys.stdout.write(as_json(value) + "\n")
    else:
        render(out_console)


def columns(*headers: str, title: str | None = None) -> Table:
    """Return a table whose cells are folded, never cut, and whose ids stay in one piece: they get copied."""
    whole = ("id", "prediction")
    return Table(*(Column(h, overflow="fold", no_wrap=h in whole) for h in headers), title=title)


def when(moment: datetime | None) -> str:
    """Return a moment as people read it, to the minute.

    >>> when(None)
    '–'
    """
    return "–" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


@contextmanager
def progress(hidden: bool = False) -> Iterator[Callable[[str, str, int | None, int | None], None]]:
    """Show long work as it goes, on stderr: one line a step, with a bar where there is something to count.

    The value given is called with step, message, done and total.
    """
    bars = Progress(
        SpinnerColumn(finished_text="[green]✓[/]"),
        TextColumn("{task.description:<10}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[message]}", style="dim", markup=False),
        console=errors_console,
        disable=hidden,
    )
    tasks: dict[str, Any] = {}

    def tell(step: str, message: str, done: int | None, total: int | None) -> None:
        if step not in tasks:
            for finished in tasks.values():
                _finish(bars, finished)
            tasks[step] = bars.add_task(step, total=None, message="")
        bars.update(
            tasks[step], completed=done, total=total, message=message[: max(20, bars.console.width - 70)]
        )

    with bars:
        yield tell
        for task in tasks.values():
            _finish(bars, task)


def _finish(bars: Progress, task: Any) -> None:
    total = next(t.total for t in bars.tasks if t.id == task)
    bars.update(task, total=total or 1, completed=total or 1)
