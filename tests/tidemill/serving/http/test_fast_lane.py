"""Which requests a real uvicorn has answered at once, and what becomes of all others."""

import asyncio
import contextlib
import gc
import itertools

import httpx
import pytest
import uvicorn
import uvloop

from tidemill.serving.http import fast_lane
from tidemill.serving.http.fast_lane import FastLaneProtocol
from tidemill.serving.http.replies import Reply
from tidemill.serving.runtime.replica import ray_shortcut


class Fast:
    """Answers with what it was asked; as late as told."""

    def __init__(self):
        self.asked, self.waits = [], []
        self.late = False

    def head(self, method, path, headers):
        return headers if (method, path) == ("POST", "/fast") else None

    def answer(self, head, body, reply):
        self.asked.append((head, body))
        answer = Reply(200, b"direct " + body, b"text/plain", ((b"retry-after", b"1"),))
        if self.late:
            self.waits.append(lambda: reply(answer))
        else:
            reply(answer)


class Front:
    """Has the fast requests answered, and no others."""

    def __init__(self, predictions):
        self.predictions = predictions

    def takes(self, scope):
        return False


scopes = []


async def app(scope, receive, send):
    """The long way, which answers everything."""
    body, more = b"", True
    scopes.append(scope)
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    content = b"usual %d" % len(body)
    headers = [(b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


@pytest.fixture
def fast(monkeypatch):
    made = Fast()
    scopes.clear()
    monkeypatch.setattr(FastLaneProtocol, "fast", None)
    monkeypatch.setattr(ray_shortcut, "_front", None)
    monkeypatch.setitem(uvicorn.config.HTTP_PROTOCOLS, "auto", uvicorn.config.HTTP_PROTOCOLS["auto"])
    fast_lane.install()
    ray_shortcut.install(Front(made))
    return made


@contextlib.asynccontextmanager
async def served(**settings):
    options = {"port": 0, "lifespan": "off", "log_config": None, "access_log": False}
    config = uvicorn.Config(app, **{**options, **settings})
    config.load()
    assert config.http_protocol_class is FastLaneProtocol
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None
    task = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    server.port = server.servers[0].sockets[0].getsockname()[1]
    yield server
    server.should_exit = True
    await task


def request(body=b"hello", path=b"/fast", *headers, version=b"1.1"):
    lines = [
        b"POST %s HTTP/%s" % (path, version),
        b"Host: here",
        b"Content-Length: %d" % len(body),
        *headers,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def ask(server, *pieces, pause=0.05, answers=1):
    """Send pieces with pauses between, and return what comes until so many answers are there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for number, piece in enumerate(pieces):
        if number:
            await asyncio.sleep(pause)
        writer.write(piece)
    got = b""
    async with asyncio.timeout(5):
        while len(_bodies(got)) < answers and (part := await reader.read(100_000)):
            got += part
    writer.close()
    return got


def _bodies(got):
    found = []
    got = got.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    while b"\r\n\r\n" in got:
        head, got = got.split(b"\r\n\r\n", 1)
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        if len(got) < length:
            break
        found.append(got[:length])
        got = got[length:]
    return found


def through(steps, **settings):
    async def main():
        async with served(**settings) as server:
            return await steps(server)

    return [run(main()) for run in (asyncio.run, uvloop.run)]


def test_a_whole_request_is_answered_at_once_and_the_connection_goes_on(fast):
    async def steps(server):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
            return [await client.post("/fast", content=b"hello", headers={"X-Some": "Thing"}) for _ in "123"]

    for answers in through(steps):
        for answer in answers:
            assert (answer.status_code, answer.text) == (200, "direct hello")
            assert answer.headers["content-type"] == "text/plain"
            assert answer.headers["retry-after"] == "1"
            assert {"date", "server", "content-length"} <= set(answer.headers)
    assert len(fast.asked) == 6
    ticket, body = fast.asked[0]
    assert (ticket[b"x-some"], body) == (b"Thing", b"hello")


def test_a_request_without_a_body_is_whole(fast):
    assert [_bodies(got) for got in through(lambda server: ask(server, request(b"")))] == [[b"direct "]] * 2


@pytest.mark.parametrize(
    ("pieces", "length"),
    [
        pytest.param([request(path=b"/other")], 5, id="another path"),
        pytest.param([request(path=b"/fast?explain=true")], 5, id="a query"),
        pytest.param([request(path=b"/f%61st")], 5, id="an escaped path"),
        pytest.param([request(b"x" * 70_000)], 70_000, id="large"),
        pytest.param([request(b"hello", b"/fast", b"Connection: close")], 5, id="the last one"),
        pytest.param([request(version=b"1.0")], 5, id="an old protocol"),
        pytest.param([request(b"hello", b"/fast", b"Connection: upgrade", b"Upgrade: h2c")], 0, id="upgrade"),
    ],
)
def test_others_go_the_usual_way(fast, pieces, length):
    for got in through(lambda server: ask(server, *pieces)):
        assert _bodies(got) == [b"usual %d" % length]
    assert fast.asked == []


@pytest.mark.parametrize("cut", [(-3,), (-5,), (30, -5), (30, -5, -4, -3)])
def test_a_request_in_pieces_is_whole_in_the_end(fast, monkeypatch, cut):
    monkeypatch.setattr(fast_lane, "_PATIENCE", 5)
    sent = request()
    edges = [0, *(at % len(sent) for at in cut), len(sent)]
    pieces = [sent[start:end] for start, end in itertools.pairwise(edges)]
    assert [_bodies(got) for got in through(lambda server: ask(server, *pieces))] == [[b"direct hello"]] * 2


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([request()[:-3], request()[-3:]], id="slow"),
        pytest.param([request(b"x" * 70_000)[:-9], request(b"x" * 9)[-9:]], id="large"),
    ],
)
def test_a_body_that_is_slow_or_large_goes_the_usual_way(fast, monkeypatch, pieces):
    monkeypatch.setattr(fast_lane, "_PATIENCE", 0.02)
    for got in through(lambda server: ask(server, *pieces)):
        assert _bodies(got)[0].startswith(b"usual ")
        assert dict(scopes.pop()["headers"])[b"host"] == b"here"
    assert fast.asked == []


def test_many_small_parts_take_no_longer_than_few(fast):
    head = b"POST /fast HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
    got = through(lambda server: ask(server, head + b"1\r\nx\r\n" * 40_000 + b"0\r\n\r\n"))  # quadratic: 16 s
    assert [len(_bodies(each)[0]) for each in got] == [40_007] * 2


@pytest.mark.parametrize("path", [b"/fast", b"/other"])
@pytest.mark.parametrize("pieces", [1, 2])
def test_what_comes_after_the_body_is_no_header(fast, monkeypatch, path, pieces):
    monkeypatch.setattr(fast_lane, "_PATIENCE", 5)
    sent = b"POST %s HTTP/1.1\r\nHost: here\r\nX-Key: none\r\nTransfer-Encoding: chunked\r\n\r\n" % path
    rest = b"5\r\nhello\r\n0\r\nX-Key: forged\r\nAuthorization: forged\r\n\r\n"
    for got in through(lambda server: ask(server, *([sent, rest] if pieces == 2 else [sent + rest]))):
        assert got.endswith(b"hello" if path == b"/fast" else b"usual 5")
        seen = fast.asked.pop()[0] if path == b"/fast" else dict(scopes.pop()["headers"])
        assert (seen[b"x-key"], b"authorization" in seen) == (b"none", False)


def test_a_server_that_stops_waits_for_a_body_that_has_begun(fast, monkeypatch):
    monkeypatch.setattr(fast_lane, "_PATIENCE", 5)

    async def steps(server):
        asking = asyncio.ensure_future(ask(server, request()[:-3], request()[-3:], pause=0.5))
        await asyncio.sleep(0.2)
        server.should_exit = True
        return await asking

    assert [_bodies(got) for got in through(steps)] == [[b"usual 5"]] * 2


def test_a_client_that_goes_within_its_body_leaves_nothing(fast, monkeypatch):
    monkeypatch.setattr(fast_lane, "_PATIENCE", 0.02)

    async def steps(server):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request()[:-3])
        await asyncio.sleep(0.01)
        writer.transport.abort()
        await asyncio.sleep(0.1)
        return server.server_state.connections, server.server_state.tasks

    assert through(steps) == [(set(), set())] * 2
    assert fast.asked == []


def test_who_waits_to_be_asked_for_the_body_is_asked(fast):
    async def steps(server):
        head, body = request(b"hello", b"/fast", b"Expect: 100-continue").split(b"\r\n\r\n")
        return await ask(server, head + b"\r\n\r\n", body)

    for got in through(steps):
        assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert got.endswith(b"usual 5")


def test_a_chunked_body_that_is_here_is_whole(fast):
    sent = b"POST /fast HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
    sent += b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
    assert [_bodies(got) for got in through(lambda server: ask(server, sent))] == [[b"direct hello"]] * 2


def test_pipelined_requests_are_answered_in_their_order(fast):
    async def steps(server):
        fast.late = True
        sent = request(b"one") + request(b"four") + request(b"seven", b"/other")
        asking = asyncio.ensure_future(ask(server, sent, answers=3))
        while not fast.waits:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        fast.waits.pop()()
        return await asking

    for got in through(steps):
        assert _bodies(got) == [b"direct one", b"usual 4", b"usual 5"]
    assert [body for _, body in fast.asked] == [b"one", b"one"]


def test_an_answer_to_who_is_gone_is_dropped(fast):
    async def steps(server):
        fast.late = True
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request())
        while not fast.waits:
            await asyncio.sleep(0.01)
        writer.close()
        while server.server_state.connections:
            await asyncio.sleep(0.01)
        fast.waits.pop()()
        fast.late = False
        return await ask(server, request())

    assert [_bodies(got) for got in through(steps)] == [[b"direct hello"]] * 2


def test_a_server_that_stops_answers_first_what_it_was_asked(fast):
    async def steps(server):
        fast.late = True
        asking = asyncio.ensure_future(ask(server, request()))
        while not fast.waits:
            await asyncio.sleep(0.01)
        server.should_exit = True
        await asyncio.sleep(0.3)
        fast.waits.pop()()
        return await asking

    for got in through(steps):
        assert b"connection: close\r\n" in got
        assert _bodies(got) == [b"direct hello"]


@pytest.mark.slow
def test_connections_leave_nothing_for_the_garbage_collector(fast):
    async def steps(server):
        gc.freeze()  # what there is already is neither collected nor looked at
        gc.disable()
        try:
            for _ in range(20):
                await ask(server, request())
            while server.server_state.connections:
                await asyncio.sleep(0.01)
            return sum(type(each) is FastLaneProtocol for each in gc.get_objects())
        finally:
            gc.enable()
            gc.unfreeze()

    assert max(through(steps)) <= 2


@pytest.mark.slow
def test_an_idle_connection_ends_after_its_time(fast):
    async def steps(server):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request())
        async with asyncio.timeout(5):
            got = await reader.read()
        writer.close()
        return got

    assert [_bodies(got) for got in through(steps, timeout_keep_alive=1)] == [[b"direct hello"]] * 2


def test_what_is_no_http_is_400_also_within_a_body(fast):
    chunked = b"POST /fast HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\nnothing"
    for sent in (b"hello\r\n\r\n", chunked):
        for got in through(lambda server, sent=sent: ask(server, sent)):
            assert got.startswith(b"HTTP/1.1 400 ")
            assert got.count(b"HTTP/1.1") == 1
    assert fast.asked == []


@pytest.mark.parametrize("settings", [{"root_path": "/behind"}, {"limit_concurrency": 100}])
def test_a_server_with_settings_of_its_own_goes_the_usual_way(fast, settings):
    assert [_bodies(got) for got in through(lambda server: ask(server, request()), **settings)] == [
        [b"usual 5"]
    ] * 2


def test_a_process_with_nothing_fast_goes_the_usual_way(fast, monkeypatch):
    monkeypatch.setattr(FastLaneProtocol, "fast", None)
    assert [_bodies(got) for got in through(lambda server: ask(server, request()))] == [[b"usual 5"]] * 2
