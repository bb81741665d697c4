"""Notices what changes in the records: one look for all visitors, at the latest rows of a few tables."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool

from tidemill.errors import TidemillError
from tidemill.state.record_reader import Records

__all__ = ["TOPICS", "Change", "RecordChanges", "TooManyListeners", "latest_rows"]

TOPICS: dict[str, tuple[str, ...]] = {
    "acts": ("asked_acts",),
    "alerts": ("alerts",),
    "decisions": ("promotions", "gate_decisions", "turns", "rollouts", "policy_decisions"),
    "monitoring": ("monitor_runs",),
    "serving": ("jobs", "batch_runs"),
}
"""What pages are about → the tables whose latest rows are looked at."""
_LATEST = 20
_EVERY = 3.0
_LISTENERS = 200
_WAITING = 100
_log = logging.getLogger(__name__)


class TooManyListeners(Exception):
    """So many visitors listen already that this one must ask again later."""


@dataclass(frozen=True)
class Change:
    """Something about a model has changed."""

    topic: str
    model: str


@dataclass(eq=False)
class _Listener:
    waiting: "asyncio.Queue[Change]" = field(default_factory=lambda: asyncio.Queue(_WAITING))


class RecordChanges:
    """Tells listeners what has changed; it looks only while somebody listens."""

    def __init__(self, look: Callable[[], dict[Change, Any]], every: float = _EVERY) -> None:
        """Take what returns the state of things, and how often it is asked, in seconds."""
        self._look = look
        self._every = every
        self._listeners: set[_Listener] = set()
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def listen(self) -> AsyncIterator["asyncio.Queue[Change]"]:
        """Give a queue of changes until the block ends.

        Raises:
            TooManyListeners: there are as many as there may be.
        """
        if len(self._listeners) >= _LISTENERS:
            raise TooManyListeners
        one = _Listener()
        self._listeners.add(one)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch())
        try:
            yield one.waiting
        finally:
            self._listeners.discard(one)

    async def _watch(self) -> None:
        known: dict[Change, Any] | None = None
        while self._listeners:
            try:
                found = await run_in_threadpool(self._look)
            except TidemillError as error:
                _log.warning("the records cannot be looked at for changes: %s", error)
            else:
                changed = [] if known is None else [one for one in found if found[one] != known.get(one)]
                known = found
                self._tell(changed)
            await asyncio.sleep(self._every)

    def _tell(self, changed: list[Change]) -> None:
        for one in self._listeners:
            for change in changed:
                if not one.waiting.full():  # whoever is so far behind loads the page again anyway
                    one.waiting.put_nowait(change)


def latest_rows(records: Records) -> dict[Change, Any]:
    """Return the latest rows of each topic's tables, by topic and model.

    Ids sort by time, so that each look reads the ends of a few indexes, however long the tables are.

    Raises:
        TidemillError: the records cannot be read.
    """
    found: dict[Change, list[str]] = {}
    for topic, tables in TOPICS.items():
        for table in tables:
            for row in records.select(table, "1 = 1", order="id DESC", limit=_LATEST):
                found.setdefault(Change(topic, row.model), []).append(repr(row))
    return {change: tuple(rows) for change, rows in found.items()}
