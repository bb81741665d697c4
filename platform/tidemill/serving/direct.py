"""The shortest way of a request: answered where its bytes are read, without a task, a scope or messages.

uvicorn makes a task for every request, which calls the application, which calls back for the body and twice
for the answer: more than a third of what a small prediction costs. A small request for a fast route needs
none of it. All others go uvicorn's way, those among them that are large, come slowly, ask something in their
query, are pipelined, or end their connection.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from tidemill.serving.calls import Codec, Reply
from tidemill.serving.one_write import OneWrite

__all__ = ["BEGAN", "LARGE", "Direct", "Fast", "Whole", "install"]

BEGAN = "tidemill.began"
"""In the scope of a request that was waited for here: since when, by `time.perf_counter`."""

LARGE = 65_536
"""Bytes of a body beyond which it is parsed in a thread, and its client is watched."""
_PATIENCE = 1.0
"""Seconds that a body may take here; what is slower goes uvicorn's way."""


class Whole(NamedTuple):
    """A request whose body is here."""

    codec: Codec
    method: str
    path: str
    headers: Sequence[tuple[bytes, bytes]]
    """Names in lower case."""
    body: bytes
    """At most `LARGE` bytes."""


class Fast(Protocol):
    """Who answers: `tidemill.serving.asgi.Front`."""

    def codec(self, method: str, path: str) -> Codec | None:
        """Return who speaks at this path; none if the request is to go uvicorn's way."""

    def answer(self, request: Whole, reply: Callable[[Reply], None]) -> None:
        """Have ``reply`` called once, now or later on the event loop."""


class Direct(OneWrite):
    """uvicorn's protocol with that way beside it."""

    fast: ClassVar[Fast | None] = None
    """Answers the fast requests of this process; none: there are none."""

    _where: tuple[Codec, str, str] | None = None
    """Codec, method and path of a fast request whose body is being read."""
    _parts: Sequence[bytes] = ()
    _timer: asyncio.TimerHandle | None = None
    _began = 0.0
    _whole: "tuple[Whole, _Answering] | None" = None

    def data_received(self, data: bytes) -> None:
        """Read what came, and answer what is whole."""
        super().data_received(data)
        if self._whole is not None:
            (whole, reply), self._whole = self._whole, None
            if Direct.fast is not None and not self.transport.is_closing():
                Direct.fast.answer(whole, reply)
        elif self._where is not None and self._timer is None:
            self._began = time.perf_counter()
            self._timer = self.loop.call_later(_PATIENCE, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was read."""
        self._end_reading()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """End after what has begun."""
        if self._where is not None:
            self._give_up()
        super().shutdown()

    def on_headers_complete(self) -> None:
        """Decide which way the request goes."""
        self._where = self._decide()
        if self._where is None:
            super().on_headers_complete()
        else:
            self._parts = []

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._where is None:
            super().on_body(body)
        else:
            self._parts = (*self._parts, body)
            if sum(map(len, self._parts)) > LARGE:
                self._give_up()

    def on_message_complete(self) -> None:
        """Take the request as a whole."""
        if self._where is None:
            super().on_message_complete()
            return
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        answering = _Answering(self)
        self._whole = Whole(*self._where, self.headers, body), answering
        self._end_reading()
        self.cycle = answering  # type: ignore[assignment]

    def _decide(self) -> tuple[Codec, str, str] | None:
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
        method, path = parser.get_method().decode("ascii"), url.decode("latin-1")
        codec = fast.codec(method, path)
        return None if codec is None else (codec, method, path)

    def _give_up(self) -> None:
        """Let the request that is being read go uvicorn's way from here."""
        parts = self._parts
        if self._timer is not None:
            self.scope[BEGAN] = self._began  # type: ignore[literal-required]
        self._end_reading()
        if not self.transport.is_closing():
            super().on_headers_complete()
            for part in parts:
                super().on_body(part)

    def _end_reading(self) -> None:
        self._where, self._parts = None, ()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Answering:
    """What uvicorn's protocol has to know about a request under way; called with its answer."""

    __slots__ = ("_protocol", "disconnected", "keep_alive", "message_event", "response_complete")

    def __init__(self, protocol: Direct) -> None:
        self._protocol = protocol
        self.response_complete = False
        self.disconnected = False
        self.keep_alive = True
        self.message_event = _NOBODY_WAITS

    def __call__(self, reply: Reply) -> None:
        protocol = self._protocol
        self.response_complete = True
        if self.disconnected:
            return
        parts = [STATUS_LINE[reply.status]]
        for header in (*protocol.server_state.default_headers, *reply.headers):
            parts += (header[0], b": ", header[1], b"\r\n")
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
        parts += (
            b"content-type: ",
            reply.content_type,
            b"\r\ncontent-length: %d\r\n\r\n" % len(reply.body),
            reply.body,
        )
        transport: Any = protocol.transport
        transport.write(b"".join(parts))
        if not self.keep_alive:
            transport.close()
        protocol.on_response_complete()


class _Event:
    def set(self) -> None:
        """Wake nobody."""


_NOBODY_WAITS = _Event()


def install() -> None:
    """Have the servers of this process that are started from now on, and are told no other, speak it."""
    HTTP_PROTOCOLS["auto"] = f"{__name__}:{Direct.__name__}"
