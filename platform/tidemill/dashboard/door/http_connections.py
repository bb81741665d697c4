"""Connections of the dashboard's server: who sends too slowly, or nothing, is hung up on."""

import asyncio
import itertools
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["HEAD_BYTES", "BoundedConnection"]

HEAD_BYTES: Final = 131_072
"""Of what comes before the body of a request; more is no request. The door admits less, in better words."""
_HEAD_SECONDS = 10.0
_PIECE_SECONDS = 30.0
_MOST = 400
_moments = itertools.count(1)
"""Numbers what connections do in order: the time of a loop is the same for all that come in one round."""


class BoundedConnection(H11Protocol):
    """A connection with limits on how long its client may take.

    The lines before a body must be there in 10 s, however they trickle in; a body must not pause for 30 s.
    Of more than 400 connections, those that have asked for nothing for longest are closed.
    """

    _timer: asyncio.TimerHandle | None = None
    _asked = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._asked = next(_moments)
        self._wait(_HEAD_SECONDS)
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what was sent; look how long the client may take for the rest."""
        super().data_received(data)
        state = self.conn.their_state
        if state is h11.SEND_BODY and not self._is_answered:
            self._stop()
            self._wait(_PIECE_SECONDS)
        elif state in (h11.IDLE, h11.SEND_BODY):
            self._wait(_HEAD_SECONDS)  # goes on if it waits already
        else:
            self._stop()

    def on_response_complete(self) -> None:
        """Note when the connection was last of use."""
        self._asked = next(_moments)
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong with what is no request; ``msg`` says only that it is none."""
        super().send_400_response(
            f"{msg} It is not HTTP, or its first lines are longer than {HEAD_BYTES:,} bytes."
        )

    def _should_upgrade(self) -> bool:
        return False  # nothing here speaks websockets

    @property
    def _is_answered(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(seconds, self._hang_up)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hang_up(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self.flow.read_paused:  # it is we who take nothing
            self._wait(_PIECE_SECONDS)
            return
        if (
            self.conn.their_state is h11.IDLE
            and self.conn.our_state is h11.IDLE
            and self.conn.trailing_data[0]
        ):
            self._say_late()
        self.transport.close()

    def _say_late(self) -> None:
        headers: list[tuple[Any, Any]] = [
            ("content-type", "text/plain; charset=utf-8"),
            ("connection", "close"),
        ]
        said = f"The request did not come in {_HEAD_SECONDS:.0f} s."
        self.transport.write(
            self.conn.send(h11.Response(status_code=408, headers=headers, reason=b"Request Timeout")) or b""
        )
        self.transport.write(self.conn.send(h11.Data(data=said.encode())) or b"")
        self.transport.write(self.conn.send(h11.EndOfMessage()) or b"")

    def _make_room(self) -> None:
        # Those that are closed already stay among the connections until the loop's next round.
        own = [one for one in self.connections if isinstance(one, BoundedConnection)]
        alive = [one for one in own if not one.transport.is_closing()]
        if len(alive) > _MOST:
            idle = [one for one in alive if one._is_idle]
            min(idle, key=lambda one: one._asked, default=self).transport.close()
