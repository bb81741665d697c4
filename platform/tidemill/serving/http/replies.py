"""HTTP replies of every protocol, and the status of each failure."""

from collections.abc import Mapping
from typing import NamedTuple

from tidemill.serving.inference.calls import ErrorCodec, Failure, Kind

__all__ = ["Reply", "label_of", "reply_to", "status_of"]

_STATUSES: Mapping[Kind, int] = {
    "malformed": 422,
    "media_type": 415,
    "unsupported": 422,
    "too_large": 413,
    "slow_body": 408,
    "unauthenticated": 401,
    "forbidden": 403,
    "misdirected": 421,
    "over_rate": 429,
    "keys_unknown": 503,
    "not_found": 404,
    "conflict": 409,
    "gone": 410,
    "overloaded": 503,
    "timeout": 504,
    "no_model": 503,
    "not_ready": 400,  # the Open Inference Protocol wants 4xx
    "features": 503,
    "model": 500,
    "unavailable": 503,
    "internal": 500,
    "refused": 400,
}
_LABELS: Mapping[Kind, str] = {
    "media_type": "malformed",
    "slow_body": "timeout",
    "unauthenticated": "refused",
    "forbidden": "refused",
    "misdirected": "refused",
    "over_rate": "refused",
    "keys_unknown": "refused",
    "conflict": "refused",
    "gone": "refused",
    "not_ready": "no_model",
    "unavailable": "internal",
}
_SAY_400 = frozenset({"open_inference", "mlflow"})
"""Protocols in which a body that does not fit is 400, not 422."""
_RETRY: frozenset[Kind] = frozenset({"overloaded", "no_model", "keys_unknown"})
_CHALLENGE = (b"www-authenticate", b'Bearer realm="tidemill"')


class Reply(NamedTuple):
    """An HTTP reply."""

    status: int
    body: bytes
    content_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Further ones."""


def status_of(kind: Kind, protocol: str = "http") -> int:
    """Return the HTTP status of a failure.

    >>> status_of("malformed"), status_of("malformed", "mlflow"), status_of("over_rate")
    (422, 400, 429)
    """
    status = _STATUSES[kind]
    return 400 if status == 422 and protocol in _SAY_400 else status


def label_of(kind: Kind) -> str:
    """Return a failure's label in metrics, from a small set."""
    return _LABELS.get(kind, kind)


def reply_to(failure: Failure, codec: ErrorCodec, status: int | None = None) -> Reply:
    """Return the reply for a failure, in the form of its protocol.

    Args:
        failure: why there is no answer.
        codec: of the protocol.
        status: another status than the failure's own.
    """
    content = codec.error(failure)
    headers = content.headers
    wait = failure.retry_after or (1 if failure.kind in _RETRY else None)
    if wait is not None:
        headers = (*headers, (b"retry-after", b"%d" % wait))
    if failure.kind == "unauthenticated":
        headers = (*headers, _CHALLENGE)
    return Reply(status or status_of(failure.kind, codec.name), content.body, content.content_type, headers)
