"""Measures how long each page of the dashboard takes with a large database of records.

``python -m benchmarks.dashboard_pages`` makes a project without data in a temporary folder, fills its
records (a million promotions, entries of the audit log and rows of the prediction log; 100,000 monitor runs,
alerts, messages, decisions of the gate, turns, rollouts and jobs; 10,000 silences), starts the dashboard, and
asks five times for each page, those of one record too, as HTML and as JSON. The medians are printed, how
long the first answer took and what is computed beside it, the load of the machine, and the pages that take
longer than 200 ms or have more than 200 KB. MLflow holds 200 versions without files, git 60 data versions
whose content is nowhere.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from benchmarks.children import clean_up_after
from benchmarks.dashboard_records import MODEL, fill

LIMIT_MS, LIMIT_KB = 200.0, 200.0


def main() -> None:
    """Fill, measure, print; exit with 1 if a page is too slow or too large."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard_pages", description=main.__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of records (default: 1)")
    parser.add_argument("--port", type=int, default=8924)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--folder", type=Path, help="kept, and used again (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dashboard-pages-") as name:
        folder = options.folder or Path(name)
        counts = {} if (folder / "params.yaml").exists() else fill(folder, options.scale)
        with served(folder, options.port) as url:
            found = [measured(url, path) for path in pages(folder)]
    slow = [each for each in found if max(each["html_ms"], each["json_ms"]) > LIMIT_MS]
    slow += [each for each in found if each["kilobytes"] > LIMIT_KB and each not in slow]
    load = os.getloadavg()[0]
    if options.json:
        print(json.dumps({"records": counts, "load": load, "pages": found}))
    else:
        print(", ".join(f"{many:,} {table}" for table, many in counts.items()))
        print(f"load of the machine: {load:.1f} on {os.cpu_count()} cores")
        print(f"{'page':44} {'HTML ms':>8} {'JSON ms':>8} {'first':>8} {'KB':>6} status")
        for each in sorted(found, key=lambda one: -one["html_ms"]):
            numbers = (
                f"{each['html_ms']:8.1f} {each['json_ms']:8.1f} {each['first_html_ms']:8.1f} "
                f"{each['kilobytes']:6.1f} {each['status']}"
            )
            beside = (
                f"  there after {each['seconds_until_there']} s" if each["seconds_until_there"] > 1 else ""
            )
            print(f"{each['page']:44} {numbers}{'  too slow' if each in slow else ''}{beside}")
    if slow:
        sys.exit(1)


def pages(folder: Path) -> list[str]:
    """Return the addresses of all pages: of lists, of their second pages and choices, and of one record."""
    from tidemill.dashboard.app import make_pages
    from tidemill.dashboard.page import permissions
    from tidemill.project import load_project
    from tidemill.settings import Settings
    from tidemill.state.record_reader import Records

    app = make_pages()
    known = {path for path in permissions(app) if not path.startswith("POST ")}
    filled = (path.replace("{model}", MODEL) for path in known)
    found = [path for path in filled if "{" not in path and not path.endswith(_NO_PAGES)]
    of = f"/models/{MODEL}"
    records = Records(load_project(folder, Settings()).state_url)
    for table, place in _ONE.items():
        [latest] = records.select(table, "model = ?", MODEL, order="id DESC", limit=1)
        found.append(f"{of}/{place}".format(latest.id))
    found += [f"{of}/{each}" for each in ("features/f0", *_CHOICES)]
    return sorted([*found, *_AUDIT])


_PATIENCE = 60.0
"""Seconds until what is computed beside a page must be there."""
_NO_PAGES = ("/audit/export", "/events", "/runs/compare", "/data/compare", "/report")
"""Files, streams, and what needs runs or data versions, of which there are none."""
_ONE = {
    "alerts": "alerts/{}",
    "monitor_runs": "windows/{}",
    "gate_decisions": "decisions/{}",
    "turns": "turns/{}",
    "rollouts": "rollouts/{}",
}
_CHOICES = (
    "decisions?list=gate",
    "decisions?list=refused",
    "decisions?page=15000",
    "alerts?state=all",
    "alerts?state=all&page=1500",
    "alerts?state=all&severity=critical&kind=quality",
    "turns?page=1500",
    "rollouts?page=1500",
    "silences?page=150",
    "unsent?page=500",
    "policies?page=1500",
    "versions?page=3",
    "versions/champion",
    "data?page=3",
    "data/HEAD",
    "lineage?of=HEAD",
)
_AUDIT = (
    "/audit?actor=ada&action=promote",
    f"/audit?model={MODEL}&actor=ada&action=promote",
    f"/audit?model={MODEL}&actor=bob",
    "/audit?actor=nobody&from=2025-01-01",
)
"""The first two find nothing."""


@contextmanager
def served(folder: Path, port: int) -> Iterator[str]:
    """Run the dashboard of a project for the length of the block."""
    command = (
        *(sys.executable, "-m", "tidemill.dashboard.server"),
        *("--project", str(folder), "--port", str(port)),
    )
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                httpx.get(f"{url}/healthz").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


def measured(url: str, path: str) -> dict[str, Any]:
    """Return how long a page takes, as HTML and as JSON; the first answers are told apart.

    What takes seconds is computed beside the page: its first answer says so, and the next ones have it.
    """
    twin = f"/api/v1{'/fleet' if path == '/' else path}"
    sent = 0

    def count(answer: httpx.Response) -> None:
        nonlocal sent
        answer.read()
        sent = answer.num_bytes_downloaded  # as it went over the wire, compressed

    with httpx.Client(base_url=url, timeout=60, event_hooks={"response": [count]}) as client:
        times: dict[str, float] = {}
        ready: dict[str, float] = {}
        told: dict[str, float] = {}
        for name, address in (("html_ms", path), ("json_ms", twin)):
            began = time.perf_counter()
            first = client.get(address)
            at_once = 1000 * (time.perf_counter() - began)
            while (
                first.status_code == 202 and time.perf_counter() - began < _PATIENCE
            ):  # it is being computed
                time.sleep(0.2)
                first = client.get(address)
            ready[name], told[name] = time.perf_counter() - began, at_once
            took = []
            for _ in range(5):
                began = time.perf_counter()
                client.get(address)
                took.append(1000 * (time.perf_counter() - began))
            times[name] = round(median(took), 1)
        page = client.get(path)
    return {
        "page": path,
        **times,
        "first_html_ms": round(told["html_ms"], 1),
        "seconds_until_there": round(ready["html_ms"], 1),
        "kilobytes": round(sent / 1000, 1),
        "status": page.status_code,
    }


if __name__ == "__main__":
    clean_up_after(main)
