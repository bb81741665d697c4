"""The front of a replica with its real parts behind it, asked as a server would ask it."""

import asyncio
import contextlib
import json
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.tidemill.serving.small_project import KNOWN
from tidemill.prediction_log.prediction_log import read_predictions
from tidemill.project import load_project
from tidemill.project.serve_config import BatchConfig, LimitsConfig
from tidemill.serving.observability.request_tracing import Tracing
from tidemill.serving.runtime.replica.wiring import build_api

pytestmark = pytest.mark.engine
AT = (KNOWN + timedelta(hours=1)).isoformat()
JSON = ((b"content-type", b"application/json"),)


def body(*depots):
    return json.dumps({"instances": [{"depot": depot} for depot in depots], "at": AT}).encode()


class Asker:
    """Asks an ASGI application directly; what it sends is kept."""

    def __init__(self, front):
        self.front = front

    async def ask(
        self, content=b"", method="POST", path="/predict", headers=JSON, query=b"", receive=None, **scope
    ):
        """Return status, headers and body; none if nothing was sent."""
        scope = {
            **scope,
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "headers": list(headers),
            "client": ("127.0.0.1", 1),
            "http_version": "1.1",
            "scheme": "http",
            "server": ("127.0.0.1", 8000),
            "root_path": "",
        }
        messages = [{"type": "http.request", "body": content, "more_body": False}]
        sent = []

        async def pending():
            return messages.pop() if messages else await asyncio.Event().wait()

        async def send(message):
            sent.append(message)

        await self.front(scope, receive or pending, send)
        if not sent:
            return None
        content = b"".join(message.get("body", b"") for message in sent[1:])
        return sent[0]["status"], dict(sent[0]["headers"]), json.loads(content) if content else None

    async def ask_directly(self, content=b"", headers=JSON):
        """Ask as a server does that has read the whole request."""
        reply = asyncio.get_running_loop().create_future()
        predictions = self.front.predictions
        predictions.answer(predictions.head("POST", "/predict", dict(headers)), content, reply.set_result)
        status, answer, kind, further = await reply
        sent = {b"content-type": kind, b"content-length": b"%d" % len(answer), **dict(further)}
        return status, sent, json.loads(answer)


@contextlib.asynccontextmanager
async def running(front):
    """Run the application's lifespan around the block, as a server does."""
    queue, said = asyncio.Queue(), asyncio.Queue()
    task = asyncio.create_task(front({"type": "lifespan", "state": {}}, queue.get, said.put))
    await queue.put({"type": "lifespan.startup"})
    assert (await said.get())["type"] == "lifespan.startup.complete"
    try:
        yield Asker(front)
    finally:
        await queue.put({"type": "lifespan.shutdown"})
        await said.get()
        await task


def scenario(project, steps):
    """Run coroutine ``steps`` with an asker of the project's API."""

    async def main():
        async with running(build_api(project, "r1")) as api:
            return await steps(api)

    return asyncio.run(main())


def tune(project, **serve):
    """The same project, served otherwise."""
    serving = project.config.serve.model_copy(update=serve)
    return replace(project, config=project.config.model_copy(update={"serve": serving}))


@pytest.mark.parametrize(
    ("content", "headers", "serve", "status"),
    [
        (body("north", "south"), JSON, {}, 200),
        (body("N0RTH"), JSON, {}, 422),
        (b"{", JSON, {}, 422),
        (body("north"), ((b"content-type", b"text/plain"),), {}, 415),
        (body("north"), (*JSON, (b"host", b"evil.example")), {}, 421),
        (body("north"), (*JSON, (b"content-length", b"99999999999")), {}, 413),
        (body("north") + b" " * 2_000, JSON, {"limits": LimitsConfig(body_bytes=1_500)}, 413),
    ],
)
def test_both_ways_say_the_same(served_parcels, content, headers, serve, status):
    async def steps(api):
        asked = await asyncio.gather(
            *(way(content, headers=headers) for way in (api.ask, api.ask_directly) for _ in range(3))
        )
        for _, sent, answer in asked:
            sent.pop(b"content-length")  # ids are of one length, scores are not
            for prediction in answer.get("predictions", ()):
                assert prediction.pop("prediction_id")
        return asked

    first, *others = scenario(tune(served_parcels, **serve), steps)
    assert first[0] == status
    assert others == [first] * 5


def test_both_ways_refuse_what_is_too_much(served_parcels):
    async def steps(api):
        release = asyncio.Event()

        async def slow():
            await release.wait()
            return {"type": "http.request", "body": body("north"), "more_body": False}

        waiting = asyncio.create_task(api.ask(receive=slow))
        await asyncio.sleep(0)
        refused = [await way(body("north")) for way in (api.ask, api.ask_directly)]
        release.set()
        assert (await waiting)[0] == 200
        assert (await api.ask_directly(body("north")))[0] == 200
        return refused

    first, second = scenario(tune(served_parcels, max_in_flight=1), steps)
    assert (first[0], first[1][b"retry-after"]) == (503, b"1")
    assert first == second


def test_what_is_read_is_in_flight_until_it_is_answered(served_parcels):
    async def steps(api):
        coming = asyncio.Event()

        async def slow():
            await coming.wait()
            return {"type": "http.request", "body": body("north"), "more_body": False}

        waiting = asyncio.create_task(api.ask(receive=slow))
        await asyncio.sleep(0.05)
        assert (await api.ask_directly(body("north")))[0] == 503
        assert (await api.ask_directly(body("north")))[0] == 503  # was refused: it held no place
        coming.set()
        assert (await waiting)[0] == 200
        assert (await api.ask_directly(b"{"))[0] == 422
        assert (await api.ask_directly(body("north")))[0] == 200

    scenario(tune(served_parcels, max_in_flight=1), steps)


def test_an_answer_that_cannot_be_said_is_500_all_the_same(served_parcels, monkeypatch):
    def broken(*_):
        raise ValueError("this cannot be said")

    async def steps(api):
        codec = api.front.predictions.head("POST", "/predict", dict(JSON)).codec
        for name in ("render", "error"):
            monkeypatch.setattr(type(codec), name, broken)
        return [(await api.ask_directly(each))[0] for each in (body("north"), b"{")]

    assert scenario(served_parcels, steps) == [500, 500]


def test_both_ways_trace_the_requests_of_a_trace_and_no_others(served_parcels, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    settings = replace(served_parcels.settings, trace_share=0.0)
    ended = []
    monkeypatch.setattr(
        Tracing, "end", lambda self, traced, status, made, error: ended.append((status, error))
    )
    parent = (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")

    async def steps(api):
        for way in (api.ask, api.ask_directly):
            for content in (body("north"), b"{"):
                await way(content)
                await way(content, headers=(*JSON, parent))

    scenario(replace(served_parcels, settings=settings), steps)
    assert ended == [(200, None), (422, "malformed")] * 2


def test_requests_that_come_together_each_get_their_own_answer_and_record(served_parcels):
    depots = ["north", "south", "atlantis"] * 10

    async def steps(api):
        return await asyncio.gather(*(api.ask(body(depot)) for depot in depots))

    answers = scenario(served_parcels, steps)
    assert {status for status, _, _ in answers} == {200}
    made = {
        answer["predictions"][0]["prediction_id"]: depot
        for (_, _, answer), depot in zip(answers, depots, strict=True)
    }
    log = read_predictions(served_parcels.predictions, "parcel-delay", KNOWN, KNOWN + timedelta(days=1))
    wind = {"north": 1.0, "south": 9.0, "atlantis": None}
    assert {row["prediction_id"]: row["feature.wind"] for row in log.iter_rows(named=True)} == {
        name: wind[depot] for name, depot in made.items()
    }


def test_one_bad_request_of_a_batch_is_refused_alone(served_parcels):
    async def steps(api):
        return await asyncio.gather(api.ask(body("north")), api.ask(body("N0RTH")), api.ask(body("south")))

    assert [status for status, _, _ in scenario(served_parcels, steps)] == [200, 422, 200]


def test_one_request_of_a_batch_that_business_logic_breaks_on_fails_alone(served_parcels):
    whole = (served_parcels.root / "parcels_app.py").read_text()
    broken = 'def decide(parcel, probability):\n    assert parcel.depot != "boom"\n'
    module = served_parcels.root / "parcels_breaking.py"
    module.write_text(whole.replace("def decide(parcel, probability):\n", broken))
    names = served_parcels.config.project.model_copy(update={"application": "parcels_breaking:application"})
    project = replace(served_parcels, config=served_parcels.config.model_copy(update={"project": names}))

    async def steps(api):
        return await asyncio.gather(*(api.ask(body(depot)) for depot in ("north", "boom", "south")))

    answers = scenario(project, steps)
    assert [status for status, _, _ in answers] == [200, 500, 200]
    made = {answer["predictions"][0]["prediction_id"] for _, _, answer in (answers[0], answers[2])}
    log = read_predictions(served_parcels.predictions, "parcel-delay", KNOWN, KNOWN + timedelta(days=1))
    assert set(log["prediction_id"]) == made


def test_too_many_at_once_are_refused_at_once_and_the_others_answered(served_parcels):
    async def steps(api):
        release = asyncio.Event()

        async def slow():
            await release.wait()
            return {"type": "http.request", "body": body("north"), "more_body": False}

        waiting = [asyncio.create_task(api.ask(receive=slow)) for _ in range(3)]
        await asyncio.sleep(0)
        status, headers, content = await api.ask(body("north"))
        assert (status, headers[b"retry-after"]) == (503, b"1")
        assert "too many" in content["detail"]
        assert (await api.ask(method="GET", path="/healthz"))[0] == 200
        release.set()
        assert [status for status, _, _ in await asyncio.gather(*waiting)] == [200] * 3
        assert (await api.ask(body("north")))[0] == 200

    scenario(tune(served_parcels, max_in_flight=3), steps)


def test_a_body_that_does_not_come_is_408_and_one_whose_client_goes_is_nothing(served_parcels):
    async def gone():
        return {"type": "http.disconnect"}

    async def steps(api):
        began = time.perf_counter()
        assert (await api.ask(receive=asyncio.Event().wait))[0] == 408
        assert time.perf_counter() - began >= 0.2
        for path in ("/feedback", "/invocations", "/v2/models/parcel-delay/infer"):
            assert (await api.ask(receive=asyncio.Event().wait, path=path))[0] == 408
        await api.ask(receive=gone)
        assert (await api.ask(body("north")))[0] == 200

    scenario(tune(served_parcels, timeout_seconds=0.2), steps)


def test_a_body_that_comes_in_pieces_is_read_to_its_end(served_parcels):
    async def steps(api):
        pieces = [body("north")[:9], body("north")[9:]]

        async def receive():
            await asyncio.sleep(0.02)
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

        assert (await api.ask(receive=receive))[0] == 200
        assert pieces == []

    scenario(served_parcels, steps)


def test_what_ends_a_wait_for_the_body_reaches_whoever_waits(served_parcels):
    async def steps(api):
        async def patient():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await asyncio.Event().wait()
            await asyncio.sleep(0.02)
            return {"type": "http.request", "body": body("north"), "more_body": False}

        async def broken():
            failed = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0.02, failed.set_exception, OSError("gone"))
            with contextlib.suppress(OSError):
                await failed
            return {"type": "http.request", "body": body("north"), "more_body": False}

        assert (await api.ask(receive=patient))[0] == 200
        assert (await api.ask(receive=broken))[0] == 200

    scenario(served_parcels, steps)


def test_a_client_that_goes_while_its_large_request_waits_is_not_answered(served_parcels):
    messages = [
        {"type": "http.disconnect"},
        {"type": "http.request", "body": body("north") + b" " * 70_000, "more_body": False},
    ]

    async def leaving():
        return messages.pop()

    async def steps(api):
        await api.ask(receive=leaving)

    scenario(tune(served_parcels, batch=BatchConfig(wait_ms=50)), steps)
    assert not list(served_parcels.predictions.rglob("*.ndjson"))


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (None, 200),
        (b"application/json; charset=utf-8", 200),
        (b"Application/JSON", 200),
        (b"application/vnd.parcels+json", 200),
        (b"text/plain", 415),
        (b"application/x-www-form-urlencoded", 415),
    ],
)
def test_content_types(api_of, kind, status):
    headers = () if kind is None else ((b"content-type", kind),)
    assert api_of(lambda api: api.ask(body("north"), headers=headers))[0] == status


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_told_which_one_there_is(api_of, method):
    status, headers, _ = api_of(lambda api: api.ask(method=method))
    assert (status, headers[b"allow"]) == (405, b"POST")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b'{"instances": [{"depot": "north", "weight": NaN}]}',
        b'{"instances": [{"depot": "north", "weight": Infinity}]}',
        b'{"instances": [{"depot": "north", "weight": 1e999}]}',
        b'{"instances": ' + b"[" * 65 + b"]" * 65 + b"}",
        b"[" * 100_000,
        b'{"instances": [{"depot": "\\ud800"}]}',
    ],
)
def test_what_is_no_json_is_refused(api_of, content):
    status, _, answer = api_of(lambda api: api.ask(content))
    assert status == 422
    assert answer["detail"][0]["type"] in ("json_invalid", "string_unicode")
    assert answer["detail"][0]["loc"][0] == "body"


def test_openapi_documents_what_the_fast_route_does(api_of):
    _, _, document = api_of(lambda api: api.ask(method="GET", path="/openapi.json"))
    responses = document["paths"]["/predict"]["post"]["responses"]
    assert {"200", "408", "413", "415", "422", "500", "503", "504"} <= set(responses)


@pytest.fixture(scope="module")
def api_of(served_template, tmp_path_factory):
    """Ask one API something; it lives as long as the module's tests."""
    import shutil

    root = shutil.copytree(served_template, tmp_path_factory.mktemp("asgi") / "project")
    front = build_api(load_project(root), "r1")
    loop = asyncio.new_event_loop()
    life = running(front)
    asker = loop.run_until_complete(life.__aenter__())
    yield lambda ask: loop.run_until_complete(ask(asker))
    loop.run_until_complete(life.__aexit__(None, None, None))
    loop.close()
