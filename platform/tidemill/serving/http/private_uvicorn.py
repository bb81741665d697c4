"""The names of uvicorn that `one_write` and `fast_lane` reach for, and what they are needed for.

uvicorn documents none of them. Each must exist: a test names those that an upgrade removed.
"""

from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

__all__ = ["ATTRIBUTES", "HTTP_PROTOCOLS", "NAMES", "STATUS_LINE", "HttpToolsProtocol"]

_PROTOCOL = "uvicorn.protocols.http.httptools_impl.HttpToolsProtocol"
NAMES = (
    ("uvicorn.config.HTTP_PROTOCOLS", "has Ray Serve's own servers speak our protocol, as `auto`"),
    ("uvicorn.protocols.http.httptools_impl.STATUS_LINE", "is how an answer begins"),
    (f"{_PROTOCOL}.connection_made", "is where an answer gets its one write"),
    (f"{_PROTOCOL}.connection_lost", "is where what was read of a request is forgotten"),
    (f"{_PROTOCOL}.data_received", "is where a request is answered that is whole"),
    (f"{_PROTOCOL}.on_headers_complete", "is where the way of a request is decided"),
    (f"{_PROTOCOL}.on_body", "is where its body is collected"),
    (f"{_PROTOCOL}.on_message_complete", "is where it is whole"),
    (f"{_PROTOCOL}.on_response_complete", "is told of an answer, so that the connection goes on"),
    (f"{_PROTOCOL}.shutdown", "ends a server, after what has begun"),
)
"""Dotted path, and why it is needed."""
ATTRIBUTES = (
    ("cycle", "the request under way: what is asked meanwhile is pipelined"),
    ("parser", "the method, the version, and whether the connection goes on"),
    ("url", "the path and the query; there once a message has begun"),
    ("headers", "of the request; there once a message has begun"),
    ("expect_100_continue", "whether the client waits to be asked for the body; likewise"),
    ("flow", "whether the client reads too slowly"),
    ("root_path", "a server below a path goes the ordinary way"),
    ("limit_concurrency", "a server with a limit of its own goes the ordinary way"),
    ("access_log", "a server that logs requests goes the ordinary way"),
    ("server_state", "the headers of every answer, and the requests under way"),
    ("transport", "what is written to"),
    ("loop", "the event loop"),
)
"""Attributes of a protocol that serves a connection, and why they are needed."""
