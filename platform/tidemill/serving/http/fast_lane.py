"""Answer small requests for predictions where their bytes are read, without a task for each.

uvicorn makes a task for every request, which calls the application, which calls back for the body and twice
for the answer: more than a third of what a small prediction costs. A small request for predictions that comes
as a whole needs none of it. All others go uvicorn's way, such as those that are large, come slowly, have
a query, are pipelined, or end their connection. Nothing is decided about a request before
it is whole, so uvicorn's way has nothing to take over.

Headers after the body (trailers) are ignored: a proxy in between could not have removed them.
``serve.fast_lane: false`` turns this way off.
"""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, cast

from tidemill.serving.http.one_write import JoinedWrites, OneWrite
from tidemill.serving.http.predictions import LARGE
from tidemill.serving.http.private_uvicorn import HTTP_PROTOCOLS, STATUS_LINE
from tidemill.serving.http.replies import Reply
from tidemill.serving.inference.calls import Headers

__all__ = ["FastAnswers", "FastLaneProtocol", "install"]

_PATIENCE = 0.05
"""Seconds that a body may take here; slower ones go uvicorn's way."""


class FastAnswers(Protocol):
    """Answers requests: `tidemill.serving.http.predictions.Predictions`."""

    def head(self, method: str, path: str, headers: Headers) -> Any | None:
        """Return the head of a request, or None if it is not for predictions. Admits nothing yet."""

    def answer(self, head: Any, body: bytes, reply: Callable[[Reply], None]) -> None:
        """Call ``reply`` once, now or later on the event loop; raise nothing."""


class FastLaneProtocol(OneWrite):
    """uvicorn's protocol with the fast lane beside it."""

    fast: ClassVar[FastAnswers | None] = None
    """Answers the fast requests of this process; None: all go uvicorn's way."""

    _head: Any = None
    """Of the request whose body is being read."""
    _parts: "list[bytes]"
    _size = 0
    _timer: asyncio.TimerHandle | None = None
    _whole: "tuple[Any, bytes, _RequestCycle] | None" = None

    def data_received(self, data: bytes) -> None:
        """Read incoming bytes, and answer complete requests."""
        super().data_received(data)
        if self._whole is not None:
            (head, body, reply), self._whole = self._whole, None
            if FastLaneProtocol.fast is not None:
                FastLaneProtocol.fast.answer(head, body, reply)
        elif self._head is not None and self._timer is None:
            self._timer = self.loop.call_later(_PATIENCE, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Discard the request being read."""
        self._end_reading()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """End after the requests under way."""
        if self._head is not None:
            self._give_up()
        super().shutdown()

    def on_headers_complete(self) -> None:
        """Decide which way the request goes."""
        self._head = self._begin()
        if self._head is None:
            super().on_headers_complete()
        else:
            self._parts, self._size = [], 0
        if not self.parser.should_upgrade():
            self.headers = []  # for trailers, which are not read

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._head is None:
            super().on_body(body)
            return
        self._parts.append(body)
        self._size += len(body)
        if self._size > LARGE:
            self._give_up()

    def on_message_complete(self) -> None:
        """Take the request as a whole."""
        if self._head is None:
            super().on_message_complete()
        else:
            self._complete(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))

    def _begin(self) -> Any | None:
        fast, parser, url = FastLaneProtocol.fast, self.parser, self.url
        if (
            fast is None
            or (self.cycle is not None and not self.cycle.response_complete)
            or b"?" in url
            or b"%" in url
            or self.expect_100_continue
            or not parser.should_keep_alive()
            or parser.should_upgrade()
            or parser.get_http_version() != "1.1"
            or self.flow.write_paused
            or self.root_path
            or self.limit_concurrency is not None
            or self.access_log
        ):
            return None
        return fast.head(parser.get_method().decode("ascii"), url.decode("latin-1"), dict(self.headers))

    def _complete(self, body: bytes) -> None:
        answering = _RequestCycle(self)
        self._whole = self._end_reading(), body, answering
        self.cycle = answering  # type: ignore[assignment]

    def _give_up(self) -> None:
        """Hand the request being read over to uvicorn's way."""
        parts = self._parts
        self._end_reading()
        super().on_headers_complete()
        for part in parts:
            super().on_body(part)

    def _end_reading(self) -> Any | None:
        head, self._head, self._parts = self._head, None, []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return head


class _RequestCycle:
    """The state that uvicorn's protocol needs of a request under way; called with its answer."""

    __slots__ = ("_protocol", "disconnected", "keep_alive", "message_event", "response_complete")

    def __init__(self, protocol: FastLaneProtocol) -> None:
        self._protocol: FastLaneProtocol | None = protocol
        self.response_complete = False
        self.disconnected = False
        self.keep_alive = True
        self.message_event = _NO_WAITER

    def __call__(self, reply: Reply) -> None:
        protocol, self._protocol = self._protocol, None  # breaks a reference cycle
        self.response_complete = True
        if protocol is None or self.disconnected or protocol.transport.is_closing():
            return
        parts = [STATUS_LINE[reply.status]]
        for name, value in protocol.server_state.default_headers:
            parts += (name, b": ", value, b"\r\n")
        parts += (
            b"content-type: ",
            reply.content_type,
            b"\r\ncontent-length: %d\r\n" % len(reply.body),
        )
        for name, value in reply.headers:
            parts += (name, b": ", value, b"\r\n")
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
        parts += (b"\r\n", reply.body)
        cast("JoinedWrites", protocol.transport).write_whole(b"".join(parts))
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()


class _Event:
    def set(self) -> None:
        """Do nothing: no task waits."""


_NO_WAITER = _Event()


def install() -> None:
    """Make this protocol the default of servers that this process starts from now on."""
    HTTP_PROTOCOLS["auto"] = f"{__name__}:{FastLaneProtocol.__name__}"
