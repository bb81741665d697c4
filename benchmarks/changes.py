"""Changes the serving versions ten times under full load, and counts failed requests: there must be none.

A stack with two replicas serves a small project; 32 clients ask without a pause. Meanwhile versions come
and go beside the champion, are promoted and rolled back, and twice a version is asked for that cannot be
loaded: it is refused, and the old ones go on. Any answer that is no 200 is a failure, a 503 with Retry-After
included; so are broken connections, and a probability that is not that of the version said to have answered.

    python -m benchmarks.changes [--requests 100000] [--clients 32] [--replicas 2]

Prints a row a change: how long until every replica did as it was told, and what had been answered by then.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import uvloop

from benchmarks.children import clean_up_after

PROBABILITY = {"1": 0.2, "2": 0.8, "3": 0.4}
"""What the versions of the small project answer."""
DEPOTS = [f"{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(600)]
PATIENCE = 120.0


class Load:
    """The clients; each asks again as soon as it has an answer."""

    def __init__(self, host: str, port: int, least: int) -> None:
        self.address = (host, port)
        self.least = least
        self.answers: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.asked = 0
        self.slowest = 0.0
        self.told = asyncio.Event()

    async def client(self, number: int) -> None:
        """Ask on one connection until it is told to end, and enough was asked."""
        reader, writer = await asyncio.open_connection(*self.address)
        while not (self.told.is_set() and self.asked >= self.least):
            self.asked += 1
            body = (
                b'{"instances": [{"depot": "%s"}]}' % DEPOTS[(self.asked * 7 + number) % len(DEPOTS)].encode()
            )
            began = time.perf_counter()
            try:
                writer.write(
                    b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                    b"X-Tidemill-Test: 1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
                )
                async with asyncio.timeout(30):
                    head = (await reader.readuntil(b"\r\n\r\n")).lower()
                    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                    content = await reader.readexactly(length)
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                self.failures[f"{type(error).__name__}: {error}"[:80]] += 1
                writer.close()
                reader, writer = await asyncio.open_connection(*self.address)
                continue
            self.slowest = max(self.slowest, time.perf_counter() - began)
            self.judge(head[9:12].decode(), content)
            if b"connection: close" in head:  # HAProxy learned of another replica: no answer is lost by that
                writer.close()
                reader, writer = await asyncio.open_connection(*self.address)
        writer.close()

    def judge(self, status: str, content: bytes) -> None:
        """Count an answer."""
        if status != "200":
            self.failures[f"status {status}: {content[:80]!r}"] += 1
            return
        answer = json.loads(content)
        version = answer["model_version"]
        if abs(answer["predictions"][0]["probability"] - PROBABILITY.get(version, -1)) > 1e-6:
            self.failures[f"version {version} answered {answer['predictions'][0]['probability']}"] += 1
        self.answers[version] += 1

    async def run(self, clients: int) -> None:
        """Run the clients until the input ends, then print what came of it."""
        began = time.perf_counter()
        loop = asyncio.get_running_loop()
        work = [asyncio.create_task(self.client(number)) for number in range(clients)]
        while True:  # each line asks for the counts so far; the end of input ends the load
            line = await loop.run_in_executor(None, sys.stdin.readline)
            if not line:
                break
            print(json.dumps({"asked": self.asked, "failed": self.failures.total()}), flush=True)
        self.told.set()
        await asyncio.gather(*work)
        result = {
            "requests": self.asked,
            "failures": dict(self.failures),
            "by_version": dict(self.answers),
            "slowest_ms": self.slowest * 1000,
            "seconds": time.perf_counter() - began,
        }
        print(json.dumps(result), flush=True)


def changes(project: Any, state: Any, broken: str) -> list[tuple[str, Callable[[], Any], dict[str, Any]]]:
    """Return what is done, in order: what it is called, doing it, and what every replica shall say then."""
    from tidemill.registry.deployments import DeployRequest, deploy, stop
    from tidemill.registry.promotion import promote, rollback

    def beside(kind: str, version: str, share: float, name: str = "") -> Callable[[], Any]:
        return lambda: deploy(
            project, state, DeployRequest(kind, version, share, "benchmark", "", name), datetime.now(UTC)
        )

    def crown(version: str) -> Callable[[], Any]:
        return lambda: promote(project, state, version, "benchmark", "", datetime.now(UTC))

    def back(to: str | None = None) -> Any:
        return rollback(project, state, "benchmark", "", datetime.now(UTC), to)

    canary, fee, shadow = ("canary", "2"), ("ab:fee", "3"), ("shadow", "3")
    return [
        ("canary: version 2, 10 %", beside("canary", "2", 0.1), {"lanes": {canary: 0.1}}),
        ("canary: 50 %", beside("canary", "2", 0.5), {"lanes": {canary: 0.5}}),
        ("shadow: version 3", beside("shadow", "3", 1.0), {"lanes": {canary: 0.5, shadow: 1.0}}),
        (
            "A/B: version 3, 30 %",
            beside("ab", "3", 0.3, "fee"),
            {"lanes": {canary: 0.5, shadow: 1.0, fee: 0.3}},
        ),
        ("champion: a version that fails to load", crown(broken), {"version": "1", "refused": broken}),
        ("champion: back to version 1", back, {"version": "1", "refused": None}),
        ("champion: the canary", crown("2"), {"version": "2", "lanes": {shadow: 1.0, fee: 0.3}}),
        ("canary: a version that fails to load", beside("canary", broken, 0.5), {"unloadable": broken}),
        (
            "nothing beside the champion",
            lambda: stop(project, state, [], "benchmark", "benchmark"),
            {"lanes": {}},
        ),
        ("champion: back to version 1", lambda: back("1"), {"version": "1"}),
    ]


def obeyed(replica: Any, wish: dict[str, Any]) -> bool:
    """Return whether a replica does as it was told, as far as it can."""
    lanes = replica.lanes or []
    if "lanes" in wish:
        there = {(one["role"], one["version"]): one["share"] for one in lanes if one["loaded"]}
        if there != wish["lanes"]:
            return False
    if "refused" in wish and (wish["refused"] is not None) != (replica.error is not None):
        return False
    if "unloadable" in wish:
        errors = [one["error"] for one in lanes if one["version"] == wish["unloadable"]]
        return bool(errors and errors[0])
    return bool(replica.version == wish.get("version", replica.version))


def wait_until_obeyed(project: Any, state: Any, wish: dict[str, Any], replicas: int) -> None:
    """Wait until every replica says that it does as it was told."""
    from sqlalchemy import select

    from tidemill.state.tables import ReplicaState

    deadline = time.monotonic() + PATIENCE
    while True:
        with state.transaction() as session:
            rows = session.scalars(select(ReplicaState).where(ReplicaState.model == project.model)).all()
        if len(rows) >= replicas and all(obeyed(row, wish) for row in rows):
            return
        if time.monotonic() > deadline:
            said = [(row.version, row.wanted, row.error, row.lanes) for row in rows]
            raise SystemExit(
                f"after {PATIENCE:.0f} s not every replica does as it was told: {wish}, but {said}"
            )
        time.sleep(0.05)


def main() -> None:
    """Measure, or be the clients."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--load", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        address = urlsplit(options.load)
        load = Load(address.hostname or "", address.port or 80, options.requests)
        uvloop.run(load.run(options.clients))
        return
    with TemporaryDirectory() as folder:
        if measure(Path(folder) / "project", options):
            raise SystemExit("requests failed")


def measure(root: Path, options: argparse.Namespace) -> bool:
    """Run it, print the table, and return whether a request failed."""
    from tests.tidemill.serving.small_project import add_version, make_project
    from tidemill.project import load_project
    from tidemill.registry.promotion import promote
    from tidemill.serving.runtime.local_stack import LocalStack
    from tidemill.serving.runtime.network import free_port
    from tidemill.settings import Settings
    from tidemill.state import open_state

    settings = Settings(num_cpus=2, serve_port=free_port())
    project = make_project(root, settings, replicas=options.replicas, poll_seconds=0.5)
    with (root / "params.yaml").open("a") as params:
        params.write("\ngate: {mode: 'off'}\n")
    project = load_project(root, settings)
    for probability in PROBABILITY.values():
        add_version(project, probability)
    broken = add_version(project, 0.6, features=("wind", "snow"))
    state = open_state(project.state_url)
    promote(project, state, "1", "benchmark", "the first", datetime.now(UTC))
    with LocalStack(project, lambda message: None, mlflow_server=False) as stack:
        wait_until_obeyed(project, state, {"version": "1"}, options.replicas)
        failed = change(project, state, broken, stack.url, options)
    state.close()
    return failed


def change(project: Any, state: Any, broken: str, url: str, options: argparse.Namespace) -> bool:
    """Make the changes under load, print what came of each, and return whether a request failed."""
    command = [sys.executable, "-m", "benchmarks.changes", "--load", url]
    command += ["--requests", str(options.requests), "--clients", str(options.clients)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    to_load, from_load = process.stdin, process.stdout
    assert to_load is not None
    assert from_load is not None

    def counts() -> dict[str, int]:
        print("how far?", file=to_load, flush=True)
        return json.loads(from_load.readline())

    print(f"{'change':<42}{'seconds':>9}{'requests':>10}{'failed':>8}")
    planned = changes(project, state, broken)
    for place, (name, do, wish) in enumerate(planned):
        while counts()["asked"] < options.requests * (place + 0.5) / len(planned):
            time.sleep(0.1)
        began = time.perf_counter()
        do()
        wait_until_obeyed(project, state, wish, options.replicas)
        seconds, now = time.perf_counter() - began, counts()
        print(f"{name:<42}{seconds:>9.2f}{now['asked']:>10,}{now['failed']:>8,}", flush=True)
    to_load.close()
    found = json.loads(from_load.read())
    process.wait()
    print(
        f"\n{found['requests']:,} requests of {options.clients} clients in {found['seconds']:.0f} s "
        f"({found['requests'] / found['seconds']:,.0f} a second), {len(planned)} changes, "
        f"{sum(found['failures'].values()):,} failed; slowest answer {found['slowest_ms']:.0f} ms"
    )
    print("answered by version:", ", ".join(f"{v}: {n:,}" for v, n in sorted(found["by_version"].items())))
    for failure, number in found["failures"].items():
        print(f"  {number:,} × {failure}")
    return bool(found["failures"])


if __name__ == "__main__":
    clean_up_after(main)
