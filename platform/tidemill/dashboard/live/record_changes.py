"""Notices what changes in the records: one look for all visitors, at the latest rows of a few tables."""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool

from tidemill.errors import TidemillError
from tidemill.state.record_reader import Records
from tidemill.state.served_records import ServedRecords

__all__ = ["TOPICS", "Change", "RecordChanges", "TooManyListeners", "latest_rows", "watch_rows"]

TOPICS: dict[str, tuple[str, ...]] = {
    "acts": ("asked_acts",),
    "alerts": ("alerts",),
    "decisions": ("promotions", "gate_decisions", "turns", "rollouts", "policy_decisions"),
    "monitoring": ("monitor_runs",),
    "serving": ("jobs", "batch_runs"),
}
"""What pages are about → the tables whose latest rows are looked at."""
_LATEST = 20
_OLDER = {"alerts": f"id IN (SELECT alert_id FROM alert_steps ORDER BY id DESC LIMIT {_LATEST})"}  # noqa: S608
"""Table → which of its rows are looked at beside the latest: old alerts that somebody acknowledges."""
_COLUMNS = {"monitor_runs": "id, model"}
"""Table → the columns that are read, where not all are: runs do not change, and their results are long."""
_EVERY = 3.0
_LOOKS_ALONE = 4
_KEPT = 500
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
        self._told = deque[Change](maxlen=_KEPT)
        self._many = 0
        self._mark = ""

    @property
    def place(self) -> str:
        """Where in the changes this moment is, for `missed`."""
        return f"{self._mark}-{self._many}"

    def missed(self, place: str) -> list[Change] | None:
        """Return what has changed since a place; None if that is not known any more.

        A page that listens anew after a moment has a gap in what it heard.
        """
        mark, _, many = place.rpartition("-")
        if mark != self._mark or not many.isdecimal():
            return None
        behind = self._many - int(many)
        return list(self._told)[len(self._told) - behind :] if 0 <= behind <= len(self._told) else None

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
            self._mark = secrets.token_hex(4)  # nobody has looked for a while
            self._task = asyncio.create_task(self._watch())
        try:
            yield one.waiting
        finally:
            self._listeners.discard(one)

    async def _watch(self) -> None:
        known: dict[Change, Any] | None = None
        alone = 0
        while alone < _LOOKS_ALONE:  # who listens anew in a moment is told what they missed
            alone = 0 if self._listeners else alone + 1
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
        self._told.extend(changed)
        self._many += len(changed)
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
            for where in ("1 = 1", *filter(None, [_OLDER.get(table)])):
                for row in records.select(
                    table, where, order="id DESC", limit=_LATEST, columns=_COLUMNS.get(table, "*")
                ):
                    found.setdefault(Change(topic, row.model), []).append(repr(row))
    return {change: tuple(rows) for change, rows in found.items()}


def watch_rows(records: ServedRecords) -> Callable[[], dict[Change, Any]]:
    """Return what gives the `latest_rows`; it reads them only where the records have changed since."""
    mark: Hashable = None
    rows: dict[Change, Any] | None = None

    def look() -> dict[Change, Any]:
        nonlocal mark, rows
        now = records.mark()
        if rows is None or now != mark:
            rows, mark = latest_rows(records), now
        return rows

    return look
