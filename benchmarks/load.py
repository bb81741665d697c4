"""Runs closed-loop HTTP clients, each on one connection, in a separate process.

Every client sends its next request when the answer is there. One that is told 503 with ``Retry-After`` waits
as long as it is told: what is refused does not come back at once. An answer that takes longer than the limit
counts as hung, and its connection is made anew.

    python -m benchmarks.load 127.0.0.1 8000 requests.json --clients 32 --seconds 10

``requests.json`` holds a list of ``{"path": …, "headers": {…}, "body": {…}}``, sent in turn.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

__all__ = ["Outcome", "encode", "run", "run_apart"]

HUNG_SECONDS = 30.0


@dataclass(frozen=True)
class Outcome:
    """How the clients fared. Latencies are those of answers with status 200."""

    clients: int
    seconds: float
    statuses: Mapping[str, int]
    """Answers by status; ``hung`` and ``broken`` (the connection ended) for requests without one."""
    rps: float
    """Answers with status 200 a second."""
    p50: float
    """Milliseconds."""
    p99: float
    slowest: float

    @property
    def failed(self) -> int:
        """Requests without a 200 that were not asked to come again."""
        return sum(n for status, n in self.statuses.items() if status not in ("200", "503 retry"))


def encode(path: str, body: bytes, headers: Mapping[str, str], host: str) -> bytes:
    """Return a POST as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    lines += [
        f"{name}: {value}" for name, value in ({"Content-Type": "application/json"} | dict(headers)).items()
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class _Client(asyncio.Protocol):
    def __init__(self, run: "_Run", number: int) -> None:
        self._run, self._turn = run, number
        self._buffer = b""
        self._sent_at = 0.0
        self._waiting = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._send()

    def _send(self) -> None:
        if time.perf_counter() >= self._run.ends:
            self._waiting = False
            self._run.done(self)
            return
        requests = self._run.requests
        self._sent_at = time.perf_counter()
        self._waiting = True
        assert self._transport is not None
        self._transport.write(requests[self._turn % len(requests)])
        self._turn += self._run.clients

    def data_received(self, data: bytes) -> None:
        self._buffer = buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = buffer[:end].lower()
        at = head.find(b"content-length:")
        if at >= 0:
            length = int(head[at + 15 :].split(b"\r\n", 1)[0])
            if len(buffer) < end + 4 + length:
                return
        elif b"transfer-encoding: chunked" in head and not buffer.endswith(b"0\r\n\r\n"):
            return
        self._buffer = b""
        self._waiting = False
        spent = time.perf_counter() - self._sent_at
        status = buffer[9:12].decode()
        if status == "200":
            self._run.latencies.append(spent)
            self._run.statuses["200"] += 1
        elif status == "503" and (wait := head.find(b"retry-after:")) >= 0:
            self._run.statuses["503 retry"] += 1
            pause = float(head[wait + 12 :].split(b"\r\n", 1)[0])
            asyncio.get_running_loop().call_later(
                min(pause, self._run.ends - time.perf_counter()), self._again
            )
            return
        else:
            self._run.statuses[status] += 1
        self._again(closing=b"connection: close" in head)

    def _again(self, closing: bool = False) -> None:
        if closing or self._transport is None or self._transport.is_closing():
            self._reconnect()
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting:
            self._run.statuses["broken"] += 1
            self._waiting = False
            self._reconnect()

    def _reconnect(self) -> None:
        if self._transport is not None:
            self._transport.close()
        self._buffer = b""
        if time.perf_counter() >= self._run.ends:
            self._run.done(self)
        else:
            self._run.connect(self)

    def give_up(self, now: float) -> None:
        """End a request that hangs."""
        if self._waiting and now - self._sent_at > HUNG_SECONDS:
            self._run.statuses["hung"] += 1
            self._waiting = False
            self._reconnect()


class _Run:
    def __init__(self, host: str, port: int, requests: Sequence[bytes], clients: int, seconds: float) -> None:
        self.host, self.port, self.requests, self.clients = host, port, requests, clients
        self.latencies: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.began = time.perf_counter()
        self.ends = self.began + seconds
        self._left = set(range(clients))
        self._all = [_Client(self, number) for number in range(clients)]
        self._over = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def connect(self, client: _Client) -> None:
        task = asyncio.get_running_loop().create_task(self._connect(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, client: _Client) -> None:
        while True:
            try:
                await asyncio.get_running_loop().create_connection(lambda: client, self.host, self.port)
            except OSError:
                self.statuses["broken"] += 1
                await asyncio.sleep(0.05)
                if time.perf_counter() >= self.ends:
                    self.done(client)
                    return
            else:
                return

    def done(self, client: _Client) -> None:
        self._left.discard(self._all.index(client))
        if not self._left:
            self._over.set()

    async def __call__(self) -> None:
        for client in self._all:
            self.connect(client)
        while not self._over.is_set():
            now = time.perf_counter()
            for client in self._all:
                client.give_up(now)
            if now > self.ends + HUNG_SECONDS + 5:
                break
            try:
                await asyncio.wait_for(self._over.wait(), 0.5)
            except TimeoutError:
                continue


def run(host: str, port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Outcome:
    """Run the clients in this process."""

    async def work() -> _Run:
        load = _Run(host, port, requests, clients, seconds)
        await load()
        return load

    load = uvloop.run(work())
    spent = np.array(load.latencies or [float("nan")]) * 1000
    return Outcome(
        clients=clients,
        seconds=seconds,
        statuses=dict(load.statuses),
        rps=load.statuses["200"] / seconds,
        p50=float(np.percentile(spent, 50)),
        p99=float(np.percentile(spent, 99)),
        slowest=float(spent.max()),
    )


def run_apart(host: str, port: int, requests: Path, clients: int, seconds: float) -> Outcome:
    """Run the clients in a process of their own."""
    command = [sys.executable, "-m", "benchmarks.load", host, str(port), str(requests)]
    command += ["--clients", str(clients), "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 120)
    if done.returncode:
        raise RuntimeError(f"the load generator failed: {done.stderr[-2000:]}")
    return Outcome(**json.loads(done.stdout))


def main() -> None:
    """Run as a process of its own; print the outcome as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("requests", type=Path)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10)
    given = parser.parse_args()
    found: list[dict[str, Any]] = json.loads(given.requests.read_text())
    host = f"{given.host}:{given.port}"
    requests = [
        encode(one["path"], json.dumps(one["body"]).encode(), one.get("headers", {}), host) for one in found
    ]
    print(json.dumps(asdict(run(given.host, given.port, requests, given.clients, given.seconds))))


if __name__ == "__main__":
    main()
