"""Server-sent events: pages hear what has changed, and fetch that part of themselves again."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Final

from fastapi import Depends, FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from tidemill.dashboard.live.record_changes import Change, RecordChanges, TooManyListeners, watch_rows
from tidemill.dashboard.page import permissions, requirement
from tidemill.dashboard.records.bounded_reading import READINGS

if TYPE_CHECKING:
    from tidemill.accounts.roles import Permission
    from tidemill.dashboard.visit import Visit

__all__ = ["COMPUTED", "NEEDS", "add_to"]

COMPUTED: Final = "computed"
"""The topic of readings that take long: their events carry a ticket in place of a model, and no more."""
NEEDS: Final[dict[str, "Permission"]] = {
    "acts": ("read", "version"),
    "alerts": ("read", "alert"),
    "decisions": ("read", "version"),
    "monitoring": ("read", "monitor"),
    "serving": ("read", "serving"),
}
"""Topic → what a visitor must be allowed to hear of it."""
_SECONDS = 60.0
"""After so long the browser asks anew, at the door: what ends a session ends this."""
_BEAT = 10.0
_log = logging.getLogger(__name__)


def add_to(app: FastAPI) -> None:
    """Add the stream."""
    needs: Permission = ("read", "model")
    door = Depends(requirement(needs))
    app.add_api_route("/events", _events, dependencies=[door], include_in_schema=False)
    permissions(app)["/events"] = needs


async def _events(request: Request) -> Response:
    visit: Visit = request.state.visit
    state = request.app.state
    if not hasattr(state, "changes"):
        state.changes = RecordChanges(watch_rows(visit.installation.records))
    changes: RecordChanges = state.changes
    heard = await asyncio.to_thread(_heard, visit)
    stream = _stream(changes, heard, request.headers.get("last-event-id"))
    try:
        first = await anext(stream)
    except TooManyListeners:
        return PlainTextResponse("too many pages listen already", 503, {"Retry-After": "30"})
    return StreamingResponse(_after(first, stream), media_type="text/event-stream")


def _heard(visit: "Visit") -> frozenset[tuple[str, str]]:
    """Return the topics and models that a visitor may hear of."""
    return frozenset(
        (topic, one.model)
        for one in visit.projects
        for topic, needs in NEEDS.items()
        if visit.verdict(needs, one.model) == "allowed"
    )


async def _after(first: str, stream: AsyncIterator[str]) -> AsyncIterator[str]:
    yield first
    async for each in stream:
        yield each


async def _stream(
    changes: RecordChanges, heard: frozenset[tuple[str, str]], last: str | None = None
) -> AsyncIterator[str]:
    """Tell what changes, and first what has since the place in ``last``, up to which the page has heard."""
    clock = asyncio.get_running_loop().time
    end = clock() + _SECONDS
    async with changes.listen() as waiting:
        with READINGS.heard(_from_thread(waiting)) as ended:
            missed = [] if last is None else changes.missed(last)
            late = heard if missed is None else {(one.topic, one.model) for one in missed} & heard
            begin = "".join(_event(topic, model) for topic, model in sorted(late))
            begin += "".join(_event(COMPUTED, ticket) for ticket in ended)
            yield f"retry: 2000\nid: {changes.place}\n\n{begin}"
            while (left := end - clock()) > 0:
                try:
                    change = await asyncio.wait_for(waiting.get(), min(_BEAT, left))
                except TimeoutError:
                    yield _event("serving", None)  # figures of the moment are never the same
                    continue
                if change.topic == COMPUTED or (change.topic, change.model) in heard:
                    place = f"id: {changes.place}\n" if waiting.empty() else ""
                    yield place + _event(change.topic, change.model)


def _from_thread(waiting: "asyncio.Queue[Change]") -> Callable[[str], None]:
    """Return what puts the ticket of a reading that has ended into a queue, from the reading's thread."""
    loop = asyncio.get_running_loop()

    def put(ticket: str) -> None:
        if not waiting.full():
            waiting.put_nowait(Change(COMPUTED, ticket))

    def tell(ticket: str) -> None:
        try:
            loop.call_soon_threadsafe(put, ticket)
        except RuntimeError:
            _log.debug("nobody listens any more: the server ends")

    return tell


def _event(topic: str, model: str | None) -> str:
    return f"event: changed\ndata: {json.dumps({'topic': topic, 'model': model})}\n\n"
