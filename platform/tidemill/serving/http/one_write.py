"""Write head and body of an answer at once: the head waits for the body of the same event loop turn.

uvicorn 0.54 writes the head of an answer and its body one after the other: two system calls, each of which
can wake HAProxy, and that the client, to read half an answer. A killed replica could leave such a half.
If the body comes later (a stream), the head has been sent already.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, cast

from tidemill.serving.http.private_uvicorn import HttpToolsProtocol

__all__ = ["JoinedWrites", "OneWrite"]

_HEAD = b"HTTP/"
_SMALL = 65_536
"""Bytes of a body beyond which copying it costs more than a second write."""


class JoinedWrites:
    """A transport that holds the beginning of an answer until the next write, or the end of this turn."""

    def __init__(self, transport: asyncio.Transport, soon: Callable[[Callable[[], None]], Any]) -> None:
        """Wrap a transport; ``soon`` is the event loop's ``call_soon``."""
        self._transport = transport
        self._soon = soon
        self._head = b""
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        """Delegate everything that does not write to the wrapped transport."""
        return getattr(self._transport, name)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write, or hold the data if an answer begins here."""
        if self._head and len(data) <= _SMALL:
            data, self._head = b"".join((self._head, data)), b""
        elif self._head:
            self.flush()
        elif bytes(data[: len(_HEAD)]) == _HEAD:
            self._head = bytes(data)
            self._soon(self.flush)
            return
        self._transport.write(data)

    def write_whole(self, answer: bytes) -> None:
        """Write a whole answer, without waiting for more of it."""
        self.flush()
        self._transport.write(answer)

    def writelines(self, parts: Iterable[bytes | bytearray | memoryview]) -> None:
        """Write parts as one."""
        self.write(b"".join(parts))

    def flush(self) -> None:
        """Write the held data, if the connection is still open."""
        head, self._head = self._head, b""
        if head and not self.is_closing():
            self._transport.write(head)

    def write_eof(self) -> None:
        """Write the held data, and end the output."""
        self.flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Write the held data, and close."""
        self.flush()
        self._transport.close()


class OneWrite(HttpToolsProtocol):
    """uvicorn's protocol on such a transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin a connection."""
        super().connection_made(cast("asyncio.Transport", JoinedWrites(transport, self.loop.call_soon)))
