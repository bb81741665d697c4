"""Posts one signed message to a webhook."""

import hmac
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
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
        raise NotDelivered(f"webhook {name!r} answered {error.code} {error.reason}") from error
    except (OSError, ValueError) as error:
        raise NotDelivered(f"webhook {name!r} cannot be reached: {type(error).__name__}") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: a POST would become a GET, and nobody would have taken the message."""

    def redirect_request(self, *given: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)
