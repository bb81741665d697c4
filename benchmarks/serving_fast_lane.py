"""Measures the gain of the fast lane and the cost of traces, on two stacks at once, in turn.

Each pair is the reference project twice on this machine, both up, asked by turns with the same requests:
with the fast lane and without (``serve.fast_lane: false``); with traces of 1 % of the requests and without.
The shares are of rates within one pair, for machines change their speed from minute to minute.

    python -m benchmarks.serving_fast_lane [--seconds 4] [--workspace DIR]

Needs no root; takes about ten minutes, most of it to train a champion and to start the stacks.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.children import clean_up_after
from benchmarks.load import Outcome, run_apart
from benchmarks.serving import CACHED, PAIRS, _set, prepare, serving, wait_for, write_requests
from tidemill.project import Project, load_project
from tidemill.serving.runtime.network import free_port

CLIENTS = (1, 32, 128)
WARM_SECONDS = 2.0


class Variant(NamedTuple):
    """How a stack differs from the other of its pair."""

    name: str
    values: dict[str, Any]
    """Of ``params.yaml``."""
    environment: dict[str, str]


def variants() -> tuple[Variant, ...]:
    """Return what is compared with a stack as it is."""
    nowhere = f"http://127.0.0.1:{free_port()}"  # a collector that is away costs no request anything
    return (
        Variant("without the fast lane", {"serve.fast_lane": False}, {}),
        Variant(
            "with traces of 1 %", {}, {"TIDEMILL_OTLP_ENDPOINT": nowhere, "TIDEMILL_TRACE_SHARE": "0.01"}
        ),
    )


@contextlib.contextmanager
def up(project: Project, variant: Variant | None, requests: Path) -> Iterator[int]:
    """Run a stack, and give its port when it answers."""
    _set(project, {"serve.fast_lane": True, **(variant.values if variant else {})})
    before = dict(os.environ)
    os.environ.update(variant.environment if variant else {})
    with contextlib.ExitStack() as stack:
        try:
            process, port = stack.enter_context(serving(CACHED, project, None))
        finally:
            os.environ.clear()
            os.environ.update(before)
        wait_for(process, port, requests, project.root / "server.log")
        run_apart("127.0.0.1", port, requests, 32, WARM_SECONDS)
        yield port


def pairs(
    stacks: tuple[tuple[int, Path], tuple[int, Path]], clients: int, seconds: float
) -> list[list[Outcome]]:
    """Return the outcomes of both stacks (port, requests) for some pairs of runs, each first in turn."""
    found = []
    for number in range(PAIRS):
        order = stacks if number % 2 else stacks[::-1]
        outcomes = [run_apart("127.0.0.1", port, requests, clients, seconds) for port, requests in order]
        found.append(outcomes if number % 2 else outcomes[::-1])
    return found


def show(name: str, clients: int, found: list[list[Outcome]]) -> None:
    """Print one line: medians of both, and the shares of the pairs."""
    shares = [one.rps / other.rps for one, other in found]
    rates = [statistics.median(pair[place].rps for pair in found) for place in (0, 1)]
    p50s = [statistics.median(pair[place].p50 for pair in found) for place in (0, 1)]
    odd = sum(
        count for pair in found for one in pair for status, count in one.statuses.items() if status != "200"
    )
    print(
        f"{name:24} {clients:4} {rates[0]:9,.0f} {rates[1]:9,.0f} {p50s[0]:8.2f} {p50s[1]:8.2f} "
        f"{statistics.median(shares):7.2f} × ({min(shares):.2f} … {max(shares):.2f})  {odd or ''}",
        flush=True,
    )


def main() -> None:
    """Prepare two copies of a project, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="of each run")
    parser.add_argument("--workspace", type=Path, help="kept and used again; default: a temporary folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as scratch:
        project = prepare(given.workspace or Path(scratch) / "flights")
        requests = write_requests(project)["ours"]
        other = load_project(shutil.copytree(project.root, Path(scratch) / "other", symlinks=True))
        print(
            f"{'compared with':24} {'c':>4} {'rps':>9} {'its rps':>9} {'p50 ms':>8} {'its p50':>8} "
            f"{'rate, as a multiple of its':>20}"
        )
        for variant in variants():
            with up(project, None, requests) as port, up(other, variant, requests) as its_port:
                for clients in CLIENTS:
                    both = (port, requests), (its_port, requests)
                    show(variant.name, clients, pairs(both, clients, given.seconds))


if __name__ == "__main__":
    clean_up_after(main)
