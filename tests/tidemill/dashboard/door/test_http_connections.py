"""Clients that send too slowly, too much or nothing, against the server's own connections."""

import socket
import time
from contextlib import ExitStack, closing, contextmanager, suppress

import pytest
import uvicorn

from tidemill.dashboard.door import http_connections
from tidemill.dashboard.door.http_connections import HEAD_BYTES, BoundedConnection
from tidemill.threads import BackgroundThread

pytestmark = pytest.mark.slow


async def echo(scope, receive, send):
    """Answer with the body's length; at /slow after longer than anybody may take to ask."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
    if scope["path"] == "/slow":
        time.sleep(1)
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-length", b"%d" % len(str(size)))],
        }
    )
    await send({"type": "http.response.body", "body": str(size).encode()})


@pytest.fixture
def hasty(monkeypatch):
    """Let the server wait for half a second only, for what comes before a body and for each piece of one."""
    monkeypatch.setattr(http_connections, "_HEAD_SECONDS", 0.5)
    monkeypatch.setattr(http_connections, "_PIECE_SECONDS", 0.5)


@pytest.fixture
def patient(monkeypatch):
    """Let the server wait for longer than any test."""
    monkeypatch.setattr(http_connections, "_HEAD_SECONDS", 300.0)


@pytest.fixture
def port(monkeypatch):
    monkeypatch.setattr(http_connections, "_MOST", 10)
    config = uvicorn.Config(
        echo, http=BoundedConnection, ws="none", port=0, h11_max_incomplete_event_size=HEAD_BYTES,
        lifespan="off", log_level="error", timeout_keep_alive=2,
    )  # fmt: skip
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as listening:
        thread = BackgroundThread("server", lambda: server.run([listening]))
        thread.start()
        yield listening.getsockname()[1]
        server.should_exit = True
        assert thread.join(10)


@contextmanager
def client(port):
    with closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as made:
        yield made


def rest(connection):
    """Return what comes until the server hangs up; it fails if the server does not."""
    found = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65_536):
            found += piece
    return found


def trickle(connection, piece):
    """Send a piece every tenth of a second until the server hangs up; return what it said."""
    began = time.monotonic()
    while time.monotonic() - began < 60:
        try:
            connection.sendall(piece)
            connection.settimeout(0.1)
            if not (found := connection.recv(65_536)):
                return b""
            return found
        except TimeoutError:
            continue
        except OSError:
            return b""
    pytest.fail("the server listens to the end of time")


@pytest.mark.usefixtures("hasty")
def test_who_sends_nothing_or_never_ends_its_headers_is_hung_up_on(port):
    with client(port) as silent, client(port) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        assert trickle(slow, b"X-More: 1\r\n").startswith(b"HTTP/1.1 408 ")
        assert rest(silent) == b""


@pytest.mark.usefixtures("hasty")
def test_a_body_that_pauses_is_not_waited_for(port):
    with client(port) as slow:
        slow.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
        assert rest(slow) == b""


@pytest.mark.usefixtures("hasty")
def test_who_asks_in_time_is_answered_however_long_the_answer_takes(port):
    with client(port) as patient:
        for _ in range(2):  # again on the same connection
            patient.sendall(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
            found = patient.recv(1000)
            assert found.startswith(b"HTTP/1.1 200 ")
            assert found.endswith(b"3")


@pytest.mark.usefixtures("patient")
def test_many_that_only_connect_keep_nobody_out(port):
    with ExitStack() as opened:
        idle = [opened.enter_context(client(port)) for _ in range(25)]
        with client(port) as last:
            last.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert last.recv(1000).startswith(b"HTTP/1.1 200 ")
        for one in idle[:16]:  # of 26, ten may stay: those that came last
            assert rest(one) == b""


def test_headers_without_measure_are_no_request(port):
    with client(port) as large:
        large.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Large: ")
        with suppress(OSError):  # it does not listen any more
            large.sendall(b"x" * 1_000_000)
        found = rest(large)
    assert found == b"" or found.startswith(b"HTTP/1.1 400 ")


def test_what_wants_a_websocket_gets_a_plain_answer(port):
    with client(port) as asking:
        asking.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert asking.recv(1000).startswith(b"HTTP/1.1 200 ")
