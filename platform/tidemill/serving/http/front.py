"""The one ASGI callable of a replica: few routes that must be fast, in front of the FastAPI application.

FastAPI declares the fast routes as well, so that OpenAPI has them; it never gets to answer them.
"""

import asyncio
import functools
import logging
import time
import types
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from typing import Any, NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from tidemill.serving.http.admission import Admission
from tidemill.serving.http.failures import failure_of
from tidemill.serving.http.fast_lane import LARGE, TICKET
from tidemill.serving.http.replies import Reply, label_of, reply_to
from tidemill.serving.http.served_protocols import Route
from tidemill.serving.inference.batching import Engine
from tidemill.serving.inference.calls import (
    Answer,
    Call,
    Codec,
    Failure,
    Headers,
    Overloaded,
    Refused,
)
from tidemill.serving.inference.hooks import Meter
from tidemill.serving.observability.request_tracing import Tracing
from tidemill.serving.protocols.predict_codec import PLAIN

__all__ = ["Front", "Ticket"]

_log = logging.getLogger(__name__)
_BROKEN = Reply(500, b'{"detail":"internal error; the replica\'s log says more"}')


class Ticket(NamedTuple):
    """What was decided about a request by its head."""

    codec: Codec
    headers: Headers
    began: float
    """By `time.perf_counter`."""
    caller: str | None
    refusal: Failure | None
    """Why it is answered without its body; none: it is in flight."""


class _Gone(Exception):
    """The client has closed the connection."""


class Front:
    """Answers the fast routes itself, and has the application answer all others.

    Whoever may pass is decided for all of them, before the body is read.
    """

    def __init__(
        self,
        app: ASGIApp,
        engine: Engine,
        routes: Iterable[Route],
        gate: Admission,
        meter: Meter,
        *,
        max_in_flight: int,
        max_bytes: int,
        find: Callable[[str, str], Codec | None] = lambda method, path: None,
        speaker: Callable[[str], Codec] = lambda path: PLAIN,
        tracing: Tracing | None = None,
    ) -> None:
        """Take the parts.

        Args:
            app: answers everything else, and has the lifespan.
            engine: answers calls.
            routes: the fast ones.
            gate: decides who may pass.
            meter: counts.
            max_in_flight: fast requests under way; one more is refused at once.
            max_bytes: the largest body of a fast request.
            find: knows further fast routes, whose paths are not fixed.
            speaker: says refusals at paths that are no fast route.
            tracing: makes traces of fast requests; none: nobody asked for traces.
        """
        self.app = app
        self._engine = engine
        self._routes = {(route.method, route.path): route.codec for route in routes}
        self._gate = gate
        self._meter = meter
        self._max_in_flight = max_in_flight
        self._max_bytes = max_bytes
        self._find = find
        self._speaker = speaker
        self._tracing = tracing
        self._in_flight = 0

    def takes(self, scope: Scope) -> bool:
        """Say whether this is for a fast route."""
        if scope["type"] != "http":
            return False
        return self._codec(scope["method"], scope["path"]) is not None

    def begin(self, method: str, path: str, headers: Sequence[tuple[bytes, bytes]]) -> "Ticket | None":
        """Decide about a request for a fast route by its head; none if it is for another, or is traced."""
        codec = self._codec(method, path) if self._tracing is None else None
        return None if codec is None else self._begin(codec, method, path, dict(headers), None)

    def is_refused(self, ticket: "Ticket") -> bool:
        """Say whether the answer is known without the body."""
        return ticket.refusal is not None

    def leave(self, ticket: "Ticket") -> None:
        """Forget a request that ended before its body was here."""
        if ticket.refusal is None:
            self._count_in_flight(-1)

    def answer(self, ticket: "Ticket", body: bytes, reply: Callable[[Reply], None]) -> None:
        """Answer a request whose body is here, or that is refused without."""
        if ticket.refusal is not None:
            reply(self._failed(ticket.codec, ticket.refusal))
            return
        try:
            call = self._parse(ticket, body, b"")
            future = self._engine.submit(call, ticket.began)
        except Exception as error:  # noqa: BLE001 — it becomes an answer in the protocol's own shape
            self._count_in_flight(-1)
            reply(self._why(ticket.codec, error))
        else:
            future.add_done_callback(lambda future: self._settle(ticket, call, future, reply))

    def _settle(
        self, ticket: "Ticket", call: Call, future: "asyncio.Future[Answer]", reply: Callable[[Reply], None]
    ) -> None:
        self._count_in_flight(-1)
        try:
            content = self._rendered(ticket, call, future.result())
        except Exception as error:  # noqa: BLE001 — as above
            content = self._why(ticket.codec, error)
        reply(content)

    def _why(self, codec: Codec, error: Exception) -> Reply:
        try:
            return self._failed(codec, failure_of(error))
        except Exception:  # noqa: BLE001 — a codec that fails twice
            _log.exception("there is no way to say why a request got no answer")
            return _BROKEN

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":  # nothing here speaks it, and nobody was asked for a key
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            if scope["type"] == "lifespan" and self._tracing is not None:
                await asyncio.get_running_loop().run_in_executor(None, self._tracing.close)
            return
        method, path = scope["method"], scope["path"]
        codec, headers = self._codec(method, path), dict(scope["headers"])
        if codec is not None:
            ticket = scope.get(TICKET) or self._begin(codec, method, path, headers, scope.get("client"))
            if ticket.refusal is not None:
                await _send(send, self._failed(codec, ticket.refusal))
            else:
                await self._serve(ticket, scope, headers, receive, send)
            return
        admitted = self._gate.admit(method, path, headers, scope.get("client"))
        if isinstance(admitted, Failure):
            await _send(send, self._failed(self._speaker(path), admitted))
        else:
            scope["tidemill.caller"], scope["tidemill.admin"] = admitted.caller, admitted.admin
            await self.app(scope, receive, send)

    async def _serve(
        self, ticket: "Ticket", scope: Scope, headers: Headers, receive: Receive, send: Send
    ) -> None:
        codec, query = ticket.codec, scope["query_string"]
        trace = None if self._tracing is None else self._tracing.begin(scope, codec.name, headers)
        answer, kind = None, None
        try:
            body = await self._body(receive, ticket.began)
            if len(body) <= LARGE:
                call = self._parse(ticket, body, query)
            else:
                call = await self._engine.aside(self._parse, ticket, body, query)
            if trace is not None:
                call = call._replace(trace=trace)
            future = self._engine.submit(call, ticket.began)
            answer = await future if len(body) <= LARGE else await _unless_gone(future, receive)
            reply = self._rendered(ticket, call, answer)
        except _Gone:
            return
        except Exception as error:  # noqa: BLE001 — each becomes an answer in the protocol's own shape
            failure = failure_of(error)
            kind = label_of(failure.kind)
            reply = self._failed(codec, failure)
        finally:
            self._count_in_flight(-1)
        if trace is not None:
            trace.tracing.end(trace, reply.status, () if answer is None else answer.predictions, kind)
        await _send(send, reply)

    def _codec(self, method: str, path: str) -> Codec | None:
        return self._routes.get((method, path)) or self._find(method, path)

    def _begin(self, codec: Codec, method: str, path: str, headers: Headers, client: object) -> "Ticket":
        """Decide by the head; who is not refused is in flight from here."""
        began = time.perf_counter()
        if self._in_flight >= self._max_in_flight:
            return Ticket(codec, headers, began, None, failure_of(_overloaded()))
        admitted = self._gate.admit(method, path, headers, client)
        if isinstance(admitted, Failure):
            return Ticket(codec, headers, began, None, admitted)
        self._count_in_flight(1)
        return Ticket(codec, headers, began, admitted.caller, None)

    def _parse(self, ticket: "Ticket", body: bytes, query: bytes) -> Call:
        if len(body) > self._max_bytes:
            raise _too_large(self._max_bytes)
        call = ticket.codec.parse(body, ticket.headers, query)
        return call if ticket.caller is None else call._replace(caller=ticket.caller)

    def _rendered(self, ticket: "Ticket", call: Call, answer: Answer) -> Reply:
        content = ticket.codec.render(call, answer)
        self._count(ticket.codec, answer, time.perf_counter() - ticket.began)
        return Reply(200, *content)

    def _failed(self, codec: Codec, failure: Failure) -> Reply:
        self._meter.failed(codec.name, label_of(failure.kind), failure.version)
        return reply_to(failure, codec)

    def _count_in_flight(self, more: int) -> None:
        self._in_flight += more
        self._meter.in_flight(self._in_flight)

    async def _body(self, receive: Receive, began: float) -> bytes:
        reading = _read(receive, self._max_bytes)
        try:
            waits_for = reading.send(None)
        except StopIteration as done:  # all of it was here: nearly always, and a timer costs more than that
            body: bytes = done.value
            return body
        try:
            async with asyncio.timeout(began + self._engine.timeout_seconds - time.perf_counter()):
                return await _resumed(reading, waits_for)
        except TimeoutError:
            raise Refused(Failure("slow_body", "the body did not arrive in time")) from None

    def _count(self, codec: Codec, answer: Answer, seconds: float) -> None:
        predictions = answer.predictions
        if len(predictions) == 1:
            self._meter.answered(codec.name, predictions[0].role, predictions[0].version, 1, seconds)
            return
        parts = Counter((one.role, one.version) for one in predictions)
        for place, ((role, version), rows) in enumerate(parts.items()):
            self._meter.answered(codec.name, role, version, rows, seconds, further=place > 0)


@types.coroutine
def _resumed(begun: Coroutine[Any, Any, bytes], waits_for: Any) -> Generator[Any, Any, bytes]:
    """Go on with a coroutine that was begun outside, and waits: what ends its wait is its own to handle."""
    while True:
        try:
            sent = yield waits_for
        except GeneratorExit:
            begun.close()
            raise
        except BaseException as error:  # noqa: BLE001 — it goes on to whom it is for
            step = functools.partial(begun.throw, error)
        else:
            step = functools.partial(begun.send, sent)
        try:
            waits_for = step()
        except StopIteration as done:
            body: bytes = done.value
            return body


async def _read(receive: Receive, limit: int) -> bytes:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise _Gone
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= limit:
        return body
    parts, size = [body], len(body)
    while size <= limit and message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if size > limit:
        raise _too_large(limit)
    return b"".join(parts)


async def _unless_gone(future: "asyncio.Future[Answer]", receive: Receive) -> Answer:
    """Wait for an answer as long as the client does: what nobody waits for is not worked on."""
    watch = asyncio.ensure_future(receive())
    try:
        both: set[asyncio.Future[Any]] = {future, watch}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not future.done() and watch.result()["type"] == "http.disconnect":
            future.cancel()
            raise _Gone
        return await future
    finally:
        watch.cancel()


async def _send(send: Send, reply: Reply) -> None:
    headers: Sequence[tuple[bytes, bytes]] = [
        (b"content-type", reply.content_type),
        (b"content-length", b"%d" % len(reply.body)),
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def _too_large(limit: int) -> Refused:
    return Refused(Failure("too_large", f"the body is larger than {limit:,} bytes"))


def _overloaded() -> Overloaded:
    return Overloaded("too many requests are under way", hint="serve.max_in_flight says how many may be")
