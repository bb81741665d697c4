"""Measures what people who look at the dashboard cost those who ask for predictions.

``python -m benchmarks.dashboard_load --workspace DIR`` starts the stack of a project with a champion
(default: the flights, trained in a temporary folder), and asks for predictions in turn with and without a
hundred viewers: as many as there can be (saturation), and a thousand a second. A viewer opens the fleet, the
model, its alerts, one alert and serving, a page every few seconds as who reads does, and listens for changes
all the while, without loading anything again for them. The shares of the pairs are printed with the load of
the machine; the mark is 5 %. What the dashboard and the process of the viewers took of a processor is printed
apart: people's browsers run elsewhere, these run here.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from benchmarks.children import clean_up_after
from benchmarks.load import encode, run_apart
from benchmarks.serving import CACHED, prepare, serving, wait_for, write_requests
from tidemill.project import Project
from tidemill.serving.runtime import stack_record
from tidemill.state.record_reader import Records

VIEWERS, RATE, CLIENTS = 100, 1000, 32
MARK = 0.05
_SETTLED = 6.0
"""Seconds in which each viewer has opened a page."""


@dataclass(frozen=True)
class Paced:
    """How requests at a fixed rate fared; latencies count from the moment at which each was due."""

    answered: int
    failed: int
    p50: float
    """Milliseconds."""
    p99: float


def main() -> None:
    """Measure in turn, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspace", type=Path, help="of flights with a champion (default: made anew)")
    parser.add_argument("--viewers", type=int, default=VIEWERS)
    parser.add_argument("--rate", type=int, default=RATE, help="predictions a second")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each run")
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--as", dest="role", choices=("viewers", "paced"), help=argparse.SUPPRESS)
    parser.add_argument("--at", help=argparse.SUPPRESS)
    parser.add_argument("--requests", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role == "viewers":
        asyncio.run(_viewers(given.at, json.loads(given.requests.read_text()), given.viewers))
    elif given.role == "paced":
        print(json.dumps(asyncio.run(_paced(given.at, given.requests, given.rate, given.seconds)).__dict__))
    else:
        with tempfile.TemporaryDirectory(prefix="dashboard-load-") as scratch:
            _measure(given, given.workspace or Path(scratch) / "flights")


def _measure(given: argparse.Namespace, folder: Path) -> None:
    project = prepare(folder)
    requests = write_requests(project)["ours"]
    with serving(CACHED, project, None) as (process, port):
        wait_for(process, port, requests, project.root / "server.log")
        dashboard = _dashboard(project)
        pages = project.root / "pages.json"
        pages.write_text(json.dumps(_pages(project)))
        run_apart("127.0.0.1", port, requests, CLIENTS, 5.0)
        with _watched(dashboard, pages, given.viewers):
            time.sleep(5.0)  # what is read for the first time is imported first
        losses: dict[str, list[float]] = {"throughput": [], "p50": [], "p99": []}
        seen: dict[str, list[float]] = {}
        for number in range(given.pairs):
            found: dict[bool, dict[str, float]] = {}
            for watched in (True, False) if number % 2 else (False, True):
                found[watched] = _once(given, port, requests, dashboard, pages, watched=watched)
                for name, value in found[watched].items():
                    seen.setdefault(f"{name}, {'with' if watched else 'without'} viewers", []).append(value)
            losses["throughput"].append(1 - found[True]["rps"] / found[False]["rps"])
            for name in ("p50", "p99"):
                losses[name].append(found[True][name] / found[False][name] - 1)
    print(f"{given.viewers} viewers, load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for name, values in sorted(seen.items()):
        print(f"{name:34} {statistics.median(values):10.2f} ({min(values):.2f} … {max(values):.2f})")
    for name, shares in losses.items():
        middle = statistics.median(shares)
        mark = "within" if middle <= MARK else "over"
        print(f"{name} is worse by {middle:.1%} ({min(shares):.1%} … {max(shares):.1%}): {mark} 5 %")


def _once(
    given: argparse.Namespace, port: int, requests: Path, dashboard: str, pages: Path, *, watched: bool
) -> dict[str, float]:
    """Return throughput at saturation, latencies at the rate, and pages a second, with viewers or without."""
    process = _listening(dashboard)
    with _watched(dashboard, pages, given.viewers if watched else 0) as viewers:
        began, spent = time.perf_counter(), sum(process.cpu_times()[:2])
        most = run_apart("127.0.0.1", port, requests, CLIENTS, given.seconds)
        line = [*(sys.executable, "-m", "benchmarks.dashboard_load", "--as", "paced")]
        line += ["--at", f"127.0.0.1:{port}", "--requests", str(requests)]
        line += ["--rate", str(given.rate), "--seconds", str(given.seconds)]
        paced = Paced(**json.loads(subprocess.run(line, capture_output=True, check=True, text=True).stdout))
        taken = (sum(process.cpu_times()[:2]) - spent) / (time.perf_counter() - began)
    found = {"rps": most.rps, "p50": paced.p50, "p99": paced.p99}
    found["answered at the rate"] = paced.answered / given.seconds
    found["failed"] = float(paced.failed + most.failed)
    if watched:
        told = json.loads(viewers.read_text().splitlines()[-1])
        found |= {"pages a second": told["pages"] / told["seconds"], "page p50 (ms)": told["p50"]}
        found |= {"dashboard, % of a core": 100 * taken, "viewers, % of a core": 100 * told["cpu"]}
        found["dashboard, ms of CPU a page"] = 1000 * taken * told["seconds"] / max(1, told["pages"])
        found |= {"page p99 (ms)": told["p99"], "pages failed": told["failed"], "events": told["events"]}
    return found


def _listening(url: str) -> psutil.Process:
    """Return the process that answers at an address of this machine."""
    port = httpx.URL(url).port
    every = psutil.net_connections("tcp")
    listening = [one for one in every if one.status == psutil.CONN_LISTEN and one.laddr]
    [pid] = {one.pid for one in listening if one.laddr[1] == port}
    return psutil.Process(pid)


def _dashboard(project: Project) -> str:
    for _ in range(120):
        info = stack_record.status(project)
        if info is not None and info.dashboard_url:
            with suppress(httpx.HTTPError):
                httpx.get(f"{info.dashboard_url}/healthz", trust_env=False).raise_for_status()
                return info.dashboard_url
        time.sleep(0.5)
    raise SystemExit("the stack has no dashboard that answers")


def _pages(project: Project) -> list[str]:
    """Return what a viewer opens; an alert only if there is one."""
    of = f"/models/{project.model}"
    alerts = Records(project.state_url).select("alerts", "1 = 1", order="raised_at DESC", limit=1)
    one = [f"{of}/alerts/{each.id}" for each in alerts]
    return ["/", of, f"{of}/alerts?state=all", *one, f"{of}/serving"]


@contextmanager
def _watched(url: str, pages: Path, viewers: int) -> Iterator[Path]:
    """Let viewers look for the length of the block; afterwards the file that is given says what they saw."""
    said = pages.with_name("viewers.json")
    if not viewers:
        yield said
        return
    line = [*(sys.executable, "-m", "benchmarks.dashboard_load", "--as", "viewers", "--at", url)]
    line += ["--requests", str(pages), "--viewers", str(viewers)]
    with said.open("w") as out:
        process = subprocess.Popen(line, stdout=out, stdin=subprocess.PIPE)
        try:
            _wait_until_they_look(process, said)
            yield said
        finally:
            process.communicate()  # the end of its input is the end of the viewers
    if process.returncode:
        raise SystemExit("the viewers failed")


def _wait_until_they_look(process: "subprocess.Popen[bytes]", said: Path) -> None:
    """Wait until the viewers look: to import what they need takes as much as all that they do afterwards."""
    while not said.read_text():
        if process.poll() is not None:
            raise SystemExit("the viewers failed")
        time.sleep(0.1)


async def _viewers(url: str, pages: list[str], many: int) -> None:
    """Look until the input ends; print what was seen as JSON."""
    spent: list[float] = []
    counts = {"failed": 0, "events": 0}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    headers = {"Accept": "text/html", "Accept-Encoding": "gzip"}
    async with httpx.AsyncClient(
        base_url=url, limits=limits, timeout=30, trust_env=False, headers=headers
    ) as client:
        tasks = [
            asyncio.create_task(work)
            for number in range(many)
            for work in (_read(client, pages, number, spent, counts), _listen(client, counts))
        ]
        await asyncio.sleep(_SETTLED)
        print("they look", flush=True)
        spent.clear()
        counts.update(dict.fromkeys(counts, 0))
        began, begun = time.perf_counter(), time.process_time()
        await asyncio.to_thread(sys.stdin.read)
        seconds, cpu = time.perf_counter() - began, time.process_time() - begun
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    times = np.array(spent or [float("nan")]) * 1000
    print(
        json.dumps(
            {
                **counts,
                "pages": len(spent),
                "seconds": seconds,
                "cpu": cpu / seconds,
                "p50": float(np.percentile(times, 50)),
                "p99": float(np.percentile(times, 99)),
            }
        )
    )


async def _read(
    client: httpx.AsyncClient, pages: list[str], number: int, spent: list[float], counts: dict[str, int]
) -> None:
    """Open a page, read it for three to eight seconds, open the next."""
    chance = random.Random(number)
    await asyncio.sleep(chance.uniform(0, 5))
    while True:
        sent = time.perf_counter()
        try:
            answer = await client.get(pages[number % len(pages)])
            counts["failed"] += not answer.is_success
        except httpx.HTTPError:
            counts["failed"] += 1
        spent.append(time.perf_counter() - sent)
        number += 1
        await asyncio.sleep(chance.uniform(3, 8))


async def _listen(client: httpx.AsyncClient, counts: dict[str, int]) -> None:
    """Listen for changes, and again when the stream ends, as browsers do."""
    while True:
        with suppress(httpx.HTTPError):
            async with client.stream("GET", "/events", timeout=None) as stream:
                async for line in stream.aiter_lines():
                    counts["events"] += line.startswith("event:")
        await asyncio.sleep(2)


async def _paced(address: str, requests: Path, rate: int, seconds: float) -> Paced:
    """Send a request every 1/rate seconds on whichever connection is free."""
    host, _, port = address.partition(":")
    found: list[dict[str, Any]] = json.loads(requests.read_text())
    bodies = [
        encode(one["path"], json.dumps(one["body"]).encode(), one.get("headers", {}), address)
        for one in found
    ]
    due: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue()
    spent: list[float] = []
    failed = 0

    async def connection() -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection(host, int(port))
        while (next_one := await due.get()) is not None:
            at, body = next_one
            writer.write(body)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]
            await reader.readexactly(int(length))
            if head[9:12] == b"200":
                spent.append(time.perf_counter() - at)
            else:
                failed += 1
        writer.close()

    workers = [asyncio.create_task(connection()) for _ in range(2 * CLIENTS)]
    began = time.perf_counter()
    for number in range(int(rate * seconds)):
        at = began + number / rate
        if (wait := at - time.perf_counter()) > 0.001:
            await asyncio.sleep(wait)
        due.put_nowait((at, bodies[number % len(bodies)]))
    for _ in workers:
        due.put_nowait(None)
    await asyncio.gather(*workers)
    times = np.array(spent or [float("nan")]) * 1000
    return Paced(len(spent), failed, float(np.percentile(times, 50)), float(np.percentile(times, 99)))


if __name__ == "__main__":
    clean_up_after(main)
