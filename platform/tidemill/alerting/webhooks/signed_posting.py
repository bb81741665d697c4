"""Posts one signed message to a webhook."""

import hmac
import io
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, responses
from typing import Any, Final

from tidemill.errors import NotDelivered

__all__ = ["EVENT", "SIGNATURE", "TIMESTAMP", "post_signed", "signature"]

EVENT: Final = "X-Tidemill-Event"
TIMESTAMP: Final = "X-Tidemill-Timestamp"
SIGNATURE: Final = "X-Tidemill-Signature"
_SECONDS = 10.0


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return what the header `SIGNATURE` has: HMAC-SHA256 (RFC 2104) of the timestamp, a point and the body.

    >>> signature("a secret of sixteen characters", "1364774400", b"{}")[:23]
    'sha256=1d748c88e7f7064c'
    """
    return "sha256=" + hmac.digest(secret.encode(), timestamp.encode() + b"." + body, "sha256").hex()


def post_signed(
    name: str, address: str, secret: str, event: str, message: Mapping[str, Any], timestamp: int
) -> None:
    """Post a message as JSON; only an answer of 200 to 299 means that it was taken.

    Args:
        name: of the webhook, for messages.
        address: begins with http:// or https://.
        secret: signs it.
        event: for the header `EVENT`.
        message: JSON values.
        timestamp: seconds since 1970, of the attempt.

    Raises:
        NotDelivered: it was not taken; the message has no part of the address.
    """
    if not address.startswith(("http://", "https://")):
        raise NotDelivered(f"webhook {name!r}: its address does not begin with http:// or https://")
    body, at = json.dumps(message).encode(), str(timestamp)
    headers = {
        "Content-Type": "application/json",
        EVENT: event,
        TIMESTAMP: at,
        SIGNATURE: signature(secret, at, body),
    }
    request = urllib.request.Request(address, data=body, headers=headers, method="POST")  # noqa: S310
    try:
        with _OPENER.open(request, timeout=_SECONDS) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        error.close()
        said = f"{error.code} {responses.get(error.code, '')}".rstrip()  # its own words may be anything
        raise NotDelivered(f"webhook {name!r} answered {said}") from error
    except (OSError, ValueError, HTTPException) as error:
        raise NotDelivered(f"webhook {name!r} cannot be reached: {type(error).__name__}") from error


class _UntilDeadline(io.RawIOBase):
    """Reads from a socket for so long in all: a timeout of the socket counts anew with each byte."""

    def __init__(self, raw: Any, connection: socket.socket) -> None:
        self._raw, self._connection, self._deadline = raw, connection, time.monotonic() + _SECONDS

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        self._connection.settimeout(left)
        found: int | None = self._raw.readinto(buffer)
        return found

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(HTTPResponse):
    def __init__(self, sock: socket.socket, *given: Any, **named: Any) -> None:
        super().__init__(sock, *given, **named)
        self.fp = io.BufferedReader(_UntilDeadline(self.fp.detach(), sock))


class _Plain(HTTPConnection):
    response_class = _Answer


class _Encrypted(HTTPSConnection):
    response_class = _Answer


class _PlainHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_Plain, req)


class _EncryptedHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_Encrypted, req)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: a POST would become a GET, and nobody would have taken the message."""

    def redirect_request(self, *given: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect, _PlainHandler, _EncryptedHandler)
