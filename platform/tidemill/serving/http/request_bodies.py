"""Read the bodies of requests, with limits on their size and time."""

import asyncio
import functools
import time
import types
from collections.abc import Coroutine, Generator
from typing import Any

from starlette.types import Message, Receive

from tidemill.serving.inference.calls import Failure, Refused

__all__ = ["ClientGone", "limited", "read_body", "too_large"]


class ClientGone(Exception):
    """The client has closed the connection before its request was here."""


def limited(receive: Receive, limit: int, seconds: float) -> Receive:
    """Wrap ``receive`` so that it refuses a body that is too large or too slow.

    Args:
        receive: as ASGI has it.
        limit: of the body, bytes.
        seconds: from now, in which all of it must have come.
    """
    read, whole, deadline = 0, False, time.perf_counter() + seconds

    async def receive_limited() -> Message:
        nonlocal read, whole
        if whole:  # the next message is the disconnect, which has no time limit
            return await receive()
        message = await _until(deadline, receive)
        whole = not message.get("more_body", False)
        read += len(message.get("body", b""))
        if read > limit:
            raise Refused(too_large(limit))
        return message

    return receive_limited


async def read_body(receive: Receive) -> bytes:
    """Return the whole body.

    Raises:
        ClientGone: the client has gone.
        Refused: it is too large or too slow, see `limited`.
    """
    message = await receive()
    parts: list[bytes] = []
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGone
        body: bytes = message.get("body", b"")
        if not message.get("more_body", False):
            return b"".join((*parts, body)) if parts else body
        parts.append(body)
        message = await receive()


def too_large(limit: int) -> Failure:
    """Return the refusal of a body that is larger than ``limit`` bytes."""
    return Failure("too_large", f"the body is larger than {limit:,} bytes")


async def _until(deadline: float, receive: Receive) -> Message:
    receiving: Any = receive()
    try:
        waits_for = receiving.send(None)
    except StopIteration as done:  # the usual case: the body is here already, and needs no timer
        message: Message = done.value
        return message
    try:
        async with asyncio.timeout(deadline - time.perf_counter()):
            return await _resumed(receiving, waits_for)
    except TimeoutError:
        raise Refused(Failure("slow_body", "the body did not arrive in time")) from None


@types.coroutine
def _resumed(begun: Coroutine[Any, Any, Message], waits_for: Any) -> Generator[Any, Any, Message]:
    """Go on with a coroutine that has begun outside and waits; what ends its wait is its own to handle."""
    while True:
        try:
            sent = yield waits_for
        except GeneratorExit:
            begun.close()
            raise
        except BaseException as error:  # noqa: BLE001 — the coroutine decides what becomes of it
            step = functools.partial(begun.throw, error)
        else:
            step = functools.partial(begun.send, sent)
        try:
            waits_for = step()
        except StopIteration as done:
            message: Message = done.value
            return message
