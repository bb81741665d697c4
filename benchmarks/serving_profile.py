"""Where the time of one prediction goes, in the replica's own process: no network, no HAProxy, no Ray.

The front of a replica is asked as its server asks it, by one client and by 32 at once (which makes batches of
32). Each step is then left out in turn, from the last to the first, and what that saves is its share; an echo
that reads the body and sends the same answer is what remains. CPU time of the process, the least of some
rounds.

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

import uvloop

from benchmarks.serving import prepare, write_requests
from tidemill.features.online import FeatureRow
from tidemill.project import Project
from tidemill.serving import asgi, rows
from tidemill.serving.calls import Answer, Prediction, Reply
from tidemill.serving.loaded import LoadedModel
from tidemill.serving.predictor import Predictor
from tidemill.serving.wiring import build_api

Scope = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]
CLIENTS = (1, 32)
REQUESTS, ROUNDS = 1200, 5
ANSWER = Answer((Prediction("pred_0", "1", "champion", 0.5, {"risk": "high"}, ()),))
HEAD: Scope = {
    "type": "http",
    "method": "POST",
    "path": "/predict",
    "query_string": b"",
    "headers": [
        (b"host", b"127.0.0.1:8000"),
        (b"content-type", b"application/json"),
        (b"content-length", b"180"),
    ],
    "client": ("127.0.0.1", 1),
}


async def ask(app: App, body: bytes) -> None:
    """Send one request, as uvicorn does once it has it."""
    status = 0

    async def receive() -> Scope:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Scope) -> None:
        nonlocal status
        status = message.get("status", status)

    await app(dict(HEAD), receive, send)
    if status != 200:
        raise SystemExit(f"answered with {status}")


async def measure(app: App, bodies: Sequence[bytes], clients: int) -> float:
    """Return CPU microseconds a request."""

    async def client(number: int, count: int) -> None:
        for index in range(count):
            await ask(app, bodies[(number * 37 + index) % len(bodies)])

    best = float("inf")
    each = REQUESTS // clients
    for _ in range(ROUNDS):
        began = time.process_time()
        await asyncio.gather(*(client(number, each) for number in range(clients)))
        best = min(best, (time.process_time() - began) / (each * clients))
    return best * 1e6


async def echo(scope: Scope, receive: Any, send: Any) -> None:
    """Read a body, and answer with what is always the same."""
    await asgi._read(receive, 1 << 20)
    await asgi._send(send, Reply(200, b"x" * 300))


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
        ("model", (rows, "_call", lambda model, features, name: [0.5] * len(features))),
        ("features", (type(model.features), "read", lambda self, keys, at: [row] * len(keys))),
        (
            "keys, decision, pseudonyms, records",
            (Predictor, "_answer", lambda self, calls: [ANSWER for _ in calls]),
        ),
    ]


async def table(front: Any, bodies: Sequence[bytes], find: Callable[[type], Any]) -> None:
    """Print the steps, their microseconds and shares."""
    print(f"{'':40}" + "".join(f"{f'c = {clients}':>14}" for clients in CLIENTS))
    whole = [await measure(front, bodies, clients) for clients in CLIENTS]
    predictor, model = find(Predictor), find(LoadedModel)
    found: list[tuple[str, list[float]]] = []
    with contextlib.ExitStack() as stack:
        before = whole
        for name, how in steps(predictor, model):
            stack.enter_context(without(how))
            now = [await measure(front, bodies, clients) for clients in CLIENTS]
            found.append((name, [a - b for a, b in zip(before, now, strict=True)]))
            before = now
    floor = [await measure(echo, bodies, clients) for clients in CLIENTS]
    found.append(
        (
            "parse, validate, batch, count, render",
            [a - b for a, b in zip(before, floor, strict=True)],
        )
    )
    found.append(("echo: read the body, send an answer", floor))
    for name, times in reversed(found):
        shares = (f"{each:7.1f} µs {each / total:4.0%}" for each, total in zip(times, whole, strict=True))
        print(f"{name:40}" + "".join(shares))
    print(f"{'all':40}" + "".join(f"{each:7.1f} µs     " for each in whole))


async def run(project: Project, bodies: Sequence[bytes], profiled: int) -> None:
    """Measure, and profile if asked to."""
    front = build_api(project, "profile")

    def find(kind: type) -> Any:
        return next(each for each in gc.get_objects() if isinstance(each, kind))

    async with running(front):
        await measure(front, bodies, 8)
        if not profiled:
            await table(front, bodies, find)
            return
        profile = cProfile.Profile()
        with profile:
            await measure(front, bodies, profiled)
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
        bodies = [json.dumps(each["body"]).encode() for each in asked]
        uvloop.run(run(project, bodies, given.cprofile))


if __name__ == "__main__":
    main()
