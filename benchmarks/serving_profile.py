"""Profiles one prediction in the replica's own process, without network, HAProxy and Ray.

A replica's protocol is given the bytes of requests, by one client and by 32 at once (which makes batches of
32), and what it writes is taken. Each step is then left out in turn, from the last to the first, and what
that saves is its share; an echo that reads requests and writes the same answer is what remains. CPU time of
the process, the least of some rounds.

    python -m benchmarks.serving_profile [--workspace DIR] [--cprofile 32]
"""

import argparse
import asyncio
import contextlib
import cProfile
import gc
import json
import pstats
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from uvicorn.server import ServerState

from benchmarks.children import clean_up_after
from benchmarks.load import encode
from benchmarks.serving import prepare, write_requests
from tidemill.features.request_features import FeatureRow
from tidemill.project import Project
from tidemill.serving.http.fast_lane import FastAnswers, FastLaneProtocol
from tidemill.serving.http.replies import Reply
from tidemill.serving.inference import row_scoring
from tidemill.serving.inference.calls import Answer, Headers, Prediction
from tidemill.serving.inference.predictor import Predictor
from tidemill.serving.routing.loaded_version import LoadedModel
from tidemill.serving.runtime.replica.wiring import build_api

Scope = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]
CLIENTS = (1, 32)
REQUESTS, ROUNDS = 1200, 5
ANSWER = Answer((Prediction("pred_0", "1", "champion", 0.5, {"risk": "high"}, ()),))


class Wire:
    """One connection: a transport that keeps what is written to it, and the protocol that reads it."""

    def __init__(self, app: App) -> None:
        config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False)
        config.load()
        state = ServerState()
        state.default_headers = [(b"date", b"Mon, 01 Apr 2013 12:00:00 GMT"), (b"server", b"uvicorn")]
        self._protocol = FastLaneProtocol(config, state, {}, asyncio.get_running_loop())
        self._protocol.access_log = False
        self._protocol.connection_made(self)
        self._answer: asyncio.Future[bytes] | None = None

    async def ask(self, request: bytes) -> None:
        """Send one request, as HAProxy passes it on."""
        self._answer = asyncio.get_running_loop().create_future()
        self._protocol.data_received(request)
        answer = await self._answer
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(f"answered with {answer[:200]!r}")

    def write(self, data: bytes) -> None:
        """Take the answer."""
        if self._answer is not None:
            self._answer.set_result(data)

    def is_closing(self) -> bool:
        """Say that this goes on."""
        return False

    def close(self) -> None:
        """End after an idle time."""

    def get_extra_info(self, name: str) -> None:
        """Say nothing about the peer."""

    def resume_reading(self) -> None:
        """Have never paused."""


class Echo:
    """Answers whatever it is asked with what is always the same."""

    def head(self, method: str, path: str, headers: Headers) -> bool:
        """Take every request."""
        return True

    def answer(self, head: bool, body: bytes, reply: Callable[[Reply], None]) -> None:
        """Answer."""
        reply(Reply(200, b"x" * 300))


async def measure(app: App, fast: FastAnswers, requests: Sequence[bytes], clients: int) -> float:
    """Return CPU microseconds a request."""
    FastLaneProtocol.fast = fast

    async def client(number: int, count: int) -> None:
        wire = Wire(app)
        for index in range(count):
            await wire.ask(requests[(number * 37 + index) % len(requests)])

    best = float("inf")
    each = REQUESTS // clients
    for _ in range(ROUNDS):
        began = time.process_time()
        await asyncio.gather(*(client(number, each) for number in range(clients)))
        best = min(best, (time.process_time() - began) / (each * clients))
    return best * 1e6


@contextlib.asynccontextmanager
async def running(front: App) -> AsyncIterator[None]:
    """Run the lifespan of the application around the block."""
    queue: asyncio.Queue[Scope] = asyncio.Queue()
    said: asyncio.Queue[Scope] = asyncio.Queue()
    task = asyncio.ensure_future(front({"type": "lifespan", "state": {}}, queue.get, said.put))
    await queue.put({"type": "lifespan.startup"})
    await said.get()
    yield
    await queue.put({"type": "lifespan.shutdown"})
    await said.get()
    await task


@contextlib.contextmanager
def without(*replaced: tuple[Any, str, Any]) -> Iterator[None]:
    """Replace attributes for the time of the block."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in replaced]
    for owner, name, value in replaced:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def steps(predictor: Predictor[Any], model: LoadedModel) -> list[tuple[str, tuple[Any, str, Any]]]:
    """Return the steps from the last to the first, and how each is left out."""
    names = [name for _, name in model.features.features]
    row = FeatureRow(dict.fromkeys(names, 0.5), ())
    log = type(predictor.log)
    return [
        ("log: JSON and one write", (log, "append", lambda self, records: True)),
        ("model", (row_scoring, "_call", lambda model, features, name: [0.5] * len(features))),
        ("features", (type(model.features), "read", lambda self, keys, at: [row] * len(keys))),
        (
            "keys, decision, pseudonyms, records",
            (Predictor, "_answer", lambda self, calls: [ANSWER for _ in calls]),
        ),
    ]


async def table(front: Any, requests: Sequence[bytes], find: Callable[[type], Any]) -> None:
    """Print the steps, their microseconds and shares."""
    print(f"{'':40}" + "".join(f"{f'c = {clients}':>14}" for clients in CLIENTS))
    whole = [await measure(front, front.predictions, requests, clients) for clients in CLIENTS]
    predictor, model = find(Predictor), find(LoadedModel)
    found: list[tuple[str, list[float]]] = []
    with contextlib.ExitStack() as stack:
        before = whole
        for name, how in steps(predictor, model):
            stack.enter_context(without(how))
            now = [await measure(front, front.predictions, requests, clients) for clients in CLIENTS]
            found.append((name, [a - b for a, b in zip(before, now, strict=True)]))
            before = now
    floor = [await measure(front, Echo(), requests, clients) for clients in CLIENTS]
    found.append(
        (
            "parse, validate, batch, count, render",
            [a - b for a, b in zip(before, floor, strict=True)],
        )
    )
    found.append(("echo: read a request, write an answer", floor))
    for name, times in reversed(found):
        shares = (f"{each:7.1f} µs {each / total:4.0%}" for each, total in zip(times, whole, strict=True))
        print(f"{name:40}" + "".join(shares))
    print(f"{'all':40}" + "".join(f"{each:7.1f} µs     " for each in whole))


async def run(project: Project, requests: Sequence[bytes], profiled: int) -> None:
    """Measure, and profile if asked to."""
    front = build_api(project, "profile")

    def find(kind: type) -> Any:
        return next(each for each in gc.get_objects() if isinstance(each, kind))

    async with running(front):
        await measure(front, front.predictions, requests, 8)
        if not profiled:
            await table(front, requests, find)
            return
        profile = cProfile.Profile()
        with profile:
            await measure(front, front.predictions, requests, profiled)
        pstats.Stats(profile).sort_stats("tottime").print_stats(40)


def main() -> None:
    """Prepare a champion, and print where its time goes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspace", type=Path, help="kept and used again; default: a temporary folder")
    parser.add_argument("--cprofile", type=int, default=0, help="print cProfile's view with so many clients")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as scratch:
        project = prepare(given.workspace or Path(scratch) / "flights")
        asked = json.loads(write_requests(project)["ours"].read_text())
        requests = [
            encode(each["path"], json.dumps(each["body"]).encode(), {}, "localhost") for each in asked
        ]
        uvloop.run(run(project, requests, given.cprofile))


if __name__ == "__main__":
    clean_up_after(main)
