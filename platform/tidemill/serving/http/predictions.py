"""Answer requests for predictions, in the same way for every transport: admit, decode, predict, encode.

Transports bring a `RequestHead` and a body, and send the reply: the web framework's routes (`openapi`), and
`fast_lane`. Which requests may pass, how many may be under way and which are traced is decided here, once.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from starlette.types import Receive

from tidemill.serving.http.admission import Admission
from tidemill.serving.http.failures import failure_of
from tidemill.serving.http.replies import Reply, label_of, reply_to
from tidemill.serving.http.request_bodies import ClientGone, read_body, too_large
from tidemill.serving.inference.calls import Answer, Call, Codec, Failure, Headers, Overloaded, Refused
from tidemill.serving.inference.data_plane import DataPlane
from tidemill.serving.inference.hooks import Meter
from tidemill.serving.observability.request_tracing import TracedRequest, Tracing

__all__ = ["LARGE", "Predictions", "RequestHead"]

LARGE = 65_536
"""Bytes of a body beyond which it is decoded in a thread, and its client is watched."""
_log = logging.getLogger(__name__)
_BROKEN = Reply(500, b'{"detail":"internal error; the replica\'s log says more"}')


class RequestHead(NamedTuple):
    """The head of a request for predictions."""

    codec: Codec
    method: str
    path: str
    headers: Headers
    query: bytes
    began: float
    """When it came, by `time.perf_counter`."""


class _Admitted(NamedTuple):
    """An admitted request that is under way."""

    head: RequestHead
    caller: str | None
    trace: TracedRequest | None


class Predictions:
    """Answers requests for predictions. All methods belong to the event loop's thread."""

    def __init__(
        self,
        plane: DataPlane,
        find: Callable[[str, str], Codec | None],
        admission: Admission,
        meter: Meter,
        *,
        max_in_flight: int,
        tracing: Tracing | None = None,
    ) -> None:
        """Take the parts.

        Args:
            plane: answers calls.
            find: returns the protocol of a method and a path; None if they are for something else.
            admission: decides who may pass, and how large a body may be.
            meter: counts.
            max_in_flight: requests under way; one more is refused at once.
            tracing: makes traces of some requests; None: of none.
        """
        self._plane = plane
        self._admission = admission
        self._meter = meter
        self._max_in_flight = max_in_flight
        self._find = find
        self._tracing = tracing
        self._in_flight = 0

    def takes(self, method: str, path: str) -> bool:
        """Return whether a request is for predictions."""
        return self._find(method, path) is not None

    def head(self, method: str, path: str, headers: Headers, query: bytes = b"") -> RequestHead | None:
        """Return the head of a request for predictions; None if it is for something else."""
        codec = self._find(method, path)
        if codec is None:
            return None
        return RequestHead(codec, method, path, headers, query, time.perf_counter())

    def answer(self, head: RequestHead, body: bytes, reply: Callable[[Reply], None]) -> None:
        """Answer a request with a small, complete body; ``reply`` is called once, now or later.

        Raises nothing: failures become replies.
        """
        admitted = self._admit(head)
        if isinstance(admitted, Failure):
            reply(self._failed(head.codec, admitted))
            return
        try:
            call = self._decode(admitted, body)
        except Exception as error:  # noqa: BLE001 — it becomes an answer in the protocol's own shape
            reply(self._end(admitted, None, error))
        else:
            deliver = lambda outcome: reply(self._end(admitted, call, outcome))  # noqa: E731
            self._plane.predict_for(call, head.began, deliver)

    async def respond(self, head: RequestHead, receive: Receive) -> Reply | None:
        """Return the reply to a request whose body may still be on its way; None if its client has gone."""
        admitted = self._admit(head)
        if isinstance(admitted, Failure):
            return self._failed(head.codec, admitted)
        call: Call | None = None
        try:
            body = await read_body(receive)
            if len(body) <= LARGE:
                call = self._decode(admitted, body)
                outcome: Answer | Exception = await self._plane.predict(call, head.began)
            else:
                call = await self._plane.aside(self._decode, admitted, body)
                outcome = await _unless_gone(self._plane.predict(call, head.began), receive)
        except ClientGone:
            self._count_in_flight(-1)
            return None
        except asyncio.CancelledError:
            self._count_in_flight(-1)
            raise
        except Exception as error:  # noqa: BLE001 — it becomes an answer in the protocol's own shape
            outcome = error
        return self._end(admitted, call, outcome)

    def _admit(self, head: RequestHead) -> _Admitted | Failure:
        """Decide by the head; a request that is not refused is in flight from here on."""
        if self._in_flight >= self._max_in_flight:
            return failure_of(_overloaded())
        admitted = self._admission.admit(head.method, head.path, head.headers)
        if isinstance(admitted, Failure):
            return admitted
        self._count_in_flight(1)
        trace = None
        if self._tracing is not None:
            trace = self._tracing.begin(head.method, head.path, head.codec.name, head.headers)
        return _Admitted(head, admitted.caller, trace)

    def _decode(self, request: _Admitted, body: bytes) -> Call:
        head, caller, trace = request
        limit = self._admission.body_limit(head.path)
        if len(body) > limit:
            raise Refused(too_large(limit))
        call = head.codec.parse(body, head.headers, head.query)
        return call if caller is None and trace is None else call._replace(caller=caller, trace=trace)

    def _end(self, request: _Admitted, call: Call | None, outcome: Answer | Exception) -> Reply:
        """Return the reply, and count it, trace it, and let the next request in."""
        self._count_in_flight(-1)
        codec, kind = request.head.codec, None
        try:
            if call is None or isinstance(outcome, Exception):
                raise outcome if isinstance(outcome, Exception) else AssertionError("no call")
            content = codec.render(call, outcome)
            self._count(codec, outcome, time.perf_counter() - request.head.began)
            reply = Reply(200, *content)
        except Exception as error:  # noqa: BLE001 — it becomes an answer in the protocol's own shape
            reply, kind = self._why(codec, error)
        if request.trace is not None:
            made = () if kind is not None or isinstance(outcome, Exception) else outcome.predictions
            request.trace.tracing.end(request.trace, reply.status, made, kind)
        return reply

    def _why(self, codec: Codec, error: Exception) -> tuple[Reply, str]:
        try:
            failure = failure_of(error)
            return self._failed(codec, failure), label_of(failure.kind)
        except Exception:  # noqa: BLE001 — a codec that fails twice
            _log.exception("a request got no answer, and its protocol cannot say why")
            return _BROKEN, "internal"

    def _failed(self, codec: Codec, failure: Failure) -> Reply:
        self._meter.failed(codec.name, label_of(failure.kind), failure.version)
        return reply_to(failure, codec)

    def _count_in_flight(self, more: int) -> None:
        self._in_flight += more
        self._meter.in_flight(self._in_flight)

    def _count(self, codec: Codec, answer: Answer, seconds: float) -> None:
        predictions = answer.predictions
        if len(predictions) == 1:
            self._meter.answered(codec.name, predictions[0].role, predictions[0].version, 1, seconds)
            return
        parts = Counter((one.role, one.version) for one in predictions)
        for place, ((role, version), rows) in enumerate(parts.items()):
            self._meter.answered(codec.name, role, version, rows, seconds, further=place > 0)


async def _unless_gone(future: "asyncio.Future[Answer]", receive: Receive) -> Answer:
    """Wait for an answer, and cancel it when its client disconnects."""
    watch = asyncio.ensure_future(receive())
    try:
        both: set[asyncio.Future[Any]] = {future, watch}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not future.done() and watch.result()["type"] == "http.disconnect":
            future.cancel()
            raise ClientGone
        return await future
    finally:
        watch.cancel()


def _overloaded() -> Overloaded:
    return Overloaded("too many requests are under way", hint="serve.max_in_flight says how many may be")
