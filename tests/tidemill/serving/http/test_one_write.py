"""How answers reach the socket: by a real uvicorn, whose writes are watched."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvicorn
import uvloop

from tidemill.serving.http.one_write import JoinedWrites, OneWrite


class Sink:
    """A transport that remembers what it was told."""

    def __init__(self):
        self.told = []

    def write(self, data):
        self.told.append(data)

    def write_eof(self):
        self.told.append("eof")

    def close(self):
        self.told.append("close")

    def is_closing(self):
        return "close" in self.told

    def get_extra_info(self, name):
        return name


async def app(scope, receive, send):
    head = {"type": "http.response.start", "status": 200, "headers": []}
    if scope["path"] == "/stream":
        await send(head)
        await asyncio.sleep(0.05)
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await asyncio.sleep(0.05)
        await send({"type": "http.response.body", "body": b"two"})
    elif scope["path"] == "/empty":
        await send({**head, "status": 204})
        await send({"type": "http.response.body", "body": b""})
    else:
        await send({**head, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"HTTP/1.1 !"})


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[int]:
    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None, access_log=False, http=OneWrite)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None
    task = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await task


async def ask(port, *paths):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number, path in enumerate(paths):
        last = b"Connection: close\r\n" if number == len(paths) - 1 else b""
        writer.write(b"GET %s HTTP/1.1\r\nHost: here\r\n%s\r\n" % (path, last))
    answer = await reader.read()
    writer.close()
    return answer


@pytest.fixture
def written(monkeypatch):
    """What goes to the socket, a write each."""
    found, write = [], JoinedWrites.write

    class Watched:
        def __init__(self, transport):
            self._transport = transport

        def __getattr__(self, name):
            return getattr(self._transport, name)

        def write(self, data):
            found.append(bytes(data))
            self._transport.write(data)

    def watched(self, data):
        if not isinstance(self._transport, Watched):
            self._transport = Watched(self._transport)
        write(self, data)

    monkeypatch.setattr(JoinedWrites, "write", watched)
    return found


async def _once(*paths):
    async with served() as port:
        return await ask(port, *paths)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_an_answer_is_one_write(written, run):
    answer = run(_once(b"/", b"/empty", b"/"))  # pipelined
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.endswith(b"\r\n\r\nHTTP/1.1 !")
    assert b"".join(written) == answer
    assert [one.split(b" ")[1] for one in written] == [b"200", b"204", b"200"]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_the_head_of_a_stream_does_not_wait_for_its_body(written, run):
    answer = run(_once(b"/stream"))
    assert answer.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
    assert written[0].endswith(b"\r\n\r\n")
    assert b"".join(written) == answer


def test_views_are_joined_large_bodies_are_not_copied_and_nothing_overtakes():
    sink = Sink()
    transport = JoinedWrites(sink, lambda later: None)
    transport.write(memoryview(b"HTTP/1.1 1"))
    transport.write(memoryview(b"one"))
    assert sink.told == [b"HTTP/1.1 1one"]
    large = b"x" * 70_000
    transport.write(b"HTTP/1.1 2")
    transport.write(large)
    assert sink.told[1] == b"HTTP/1.1 2"
    assert sink.told[2] is large
    transport.write(b"HTTP/1.1 3")
    transport.writelines([b"a", b"b"])
    assert sink.told[3:] == [b"HTTP/1.1 3ab"]


def test_a_whole_answer_waits_for_nothing_and_overtakes_nothing():
    sink = Sink()
    transport = JoinedWrites(sink, lambda later: None)
    transport.write_whole(b"HTTP/1.1 1")
    transport.write(b"HTTP/1.1 2")
    transport.write_whole(b"HTTP/1.1 3")
    assert sink.told == [b"HTTP/1.1 1", b"HTTP/1.1 2", b"HTTP/1.1 3"]


def test_nothing_is_written_to_who_is_gone():
    sink, soon = Sink(), []
    transport = JoinedWrites(sink, soon.append)
    transport.write(b"HTTP/1.1 200 OK")
    sink.close()
    soon[0]()
    assert sink.told == ["close"]


@pytest.mark.parametrize("ends", ["close", "write_eof"])
def test_nothing_that_waits_is_lost_at_the_end(ends):
    sink, soon = Sink(), []
    transport = JoinedWrites(sink, soon.append)
    transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
    assert sink.told == []
    getattr(transport, ends)()
    for later in soon:
        later()
    assert sink.told[0] == b"HTTP/1.1 200 OK\r\n\r\n"
    assert len(sink.told) == 2
    assert transport.get_extra_info("peername") == "peername"
