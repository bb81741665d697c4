"""The shortest way of a request: answered where its bytes are read, without a task, a scope or messages.

uvicorn makes a task for every request, which calls the application, which calls back for the body and twice
for the answer: more than a third of what a small prediction costs. A small request for a fast route needs
none of it. All others go uvicorn's way, those among them that are large, come slowly, ask something in their
query, are pipelined, or end their connection.

Whether a request may pass is decided by its head, here as there. What a client calls a header after its body
(a trailer) is none: nobody who stands between could have removed it.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, cast

from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from tidemill.serving.http.one_write import Joined, OneWrite
from tidemill.serving.http.replies import Reply

__all__ = ["LARGE", "TICKET", "Direct", "Fast", "install"]

LARGE = 65_536
"""Bytes of a body beyond which it is parsed in a thread, and its client is watched."""
TICKET = "tidemill.ticket"
"""In the scope of a request that went uvicorn's way after it had begun here: what `Fast.begin` gave."""
_PATIENCE = 1.0
"""Seconds that a body may take here; what is slower goes uvicorn's way."""


class Fast(Protocol):
    """Who answers: `tidemill.serving.http.front.Front`."""

    def begin(self, method: str, path: str, headers: Sequence[tuple[bytes, bytes]]) -> Any | None:
        """Decide about a request by its head (names in lower case): a ticket, or none for uvicorn's way.

        Each ticket comes back once: by `answer`, by `leave`, or in a scope.
        """

    def is_refused(self, ticket: Any) -> bool:
        """Say whether the answer is known without the body."""

    def answer(self, ticket: Any, body: bytes, reply: Callable[[Reply], None]) -> None:
        """Have ``reply`` called once, now or later on the event loop; raises nothing."""

    def leave(self, ticket: Any) -> None:
        """Forget a request that ended before its body was here."""


class Direct(OneWrite):
    """uvicorn's protocol with that way beside it."""

    fast: ClassVar[Fast | None] = None
    """Answers the fast requests of this process; none: there are none."""

    _ticket: Any = None
    """Of the request whose body is being read."""
    _parts: "list[bytes]"
    _size = 0
    _timer: asyncio.TimerHandle | None = None
    _whole: "tuple[Any, bytes, _Answering] | None" = None

    def data_received(self, data: bytes) -> None:
        """Read what came, and answer what can be answered."""
        super().data_received(data)
        if self._whole is None and self._ticket is not None:
            if Direct.fast is not None and Direct.fast.is_refused(self._ticket):
                self._complete(b"")  # the rest of its body is dropped, as that of all that is answered
            elif self._timer is None:
                self._timer = self.loop.call_later(_PATIENCE, self._give_up)
        if self._whole is not None:
            (ticket, body, reply), self._whole = self._whole, None
            if Direct.fast is not None:
                Direct.fast.answer(ticket, body, reply)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was read."""
        ticket = self._end_reading()
        if ticket is not None and Direct.fast is not None:
            Direct.fast.leave(ticket)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """End after what has begun."""
        if self._ticket is not None:
            self._give_up()
        super().shutdown()

    def on_headers_complete(self) -> None:
        """Decide which way the request goes."""
        self._ticket = self._begin()
        if self._ticket is None:
            super().on_headers_complete()
        else:
            self._parts, self._size = [], 0
        if not self.parser.should_upgrade():
            self.headers = []  # for trailers, which nobody reads

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._ticket is None:
            super().on_body(body)
            return
        self._parts.append(body)
        self._size += len(body)
        if self._size > LARGE:
            self._give_up()

    def on_message_complete(self) -> None:
        """Take the request as a whole."""
        if self._ticket is None:
            super().on_message_complete()
        else:
            self._complete(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))

    def _begin(self) -> Any | None:
        fast, parser, url = Direct.fast, self.parser, self.url
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
        return fast.begin(parser.get_method().decode("ascii"), url.decode("latin-1"), self.headers)

    def _complete(self, body: bytes) -> None:
        answering = _Answering(self)
        self._whole = self._end_reading(), body, answering
        self.cycle = answering  # type: ignore[assignment]

    def _give_up(self) -> None:
        """Let the request that is being read go uvicorn's way from here."""
        parts = self._parts
        self.scope[TICKET] = self._end_reading()  # type: ignore[literal-required]
        super().on_headers_complete()
        for part in parts:
            super().on_body(part)

    def _end_reading(self) -> Any | None:
        ticket, self._ticket, self._parts = self._ticket, None, []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return ticket


class _Answering:
    """What uvicorn's protocol has to know about a request under way; called with its answer."""

    __slots__ = ("_protocol", "disconnected", "keep_alive", "message_event", "response_complete")

    def __init__(self, protocol: Direct) -> None:
        self._protocol: Direct | None = protocol
        self.response_complete = False
        self.disconnected = False
        self.keep_alive = True
        self.message_event = _NOBODY_WAITS

    def __call__(self, reply: Reply) -> None:
        protocol, self._protocol = self._protocol, None  # which has this: a circle for the garbage collector
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
        cast("Joined", protocol.transport).write_whole(b"".join(parts))
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()


class _Event:
    def set(self) -> None:
        """Wake nobody."""


_NOBODY_WAITS = _Event()


def install() -> None:
    """Have the servers of this process that are started from now on, and are told no other, speak it."""
    HTTP_PROTOCOLS["auto"] = f"{__name__}:{Direct.__name__}"
