"""Measures how long each page of the dashboard takes with a large database of records.

``python -m benchmarks.dashboard_pages`` makes a project without data in a temporary folder, fills its
records (a million promotions, 100,000 monitor runs, alerts, messages and decisions of the gate), starts the
dashboard, and asks five times for each page whose address needs only the model, as HTML and as JSON. The
medians are printed, and the pages that take longer than 200 ms. The prediction log is empty: what reads it is
not measured.
"""

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import httpx

MODEL = "parcel-delay"
LIMIT_MS = 200.0
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PARAMS = f"""
project: {{name: parcels, model: {MODEL}}}
dataset: {{path: data/rows.parquet, label: late}}
features: {{from: request}}
"""
_MONITORS = ("weekly", "daily", "hourly")
_DRIFT = {
    "share": 0.2,
    "threshold": 0.3,
    "drifted": ["f0", "f1"],
    "columns": [
        {"name": f"f{n}", "value": 0.1 * n, "threshold": 0.5, "drifted": n > 4, "broken": None, "note": None}
        for n in range(29)
    ],
}
_RESULTS = json.dumps({"data_drift": _DRIFT, "findings": [{"kind": "data_drift", "message": "moved"}]})


def main(arguments: list[str]) -> int:
    """Fill, measure, print; return 1 if a page is too slow."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard_pages", description=main.__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of records (default: 1)")
    parser.add_argument("--port", type=int, default=8924)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="dashboard-pages-") as name:
        folder = Path(name)
        counts = fill(folder, options.scale)
        with served(folder, options.port) as url:
            found = [measured(url, path) for path in pages()]
    slow = [each for each in found if max(each["html_ms"], each["json_ms"]) > LIMIT_MS]
    if options.json:
        print(json.dumps({"records": counts, "pages": found}))
    else:
        print(", ".join(f"{many:,} {table}" for table, many in counts.items()))
        print(f"{'page':44} {'HTML ms':>8} {'JSON ms':>8} {'KB':>6} status")
        for each in sorted(found, key=lambda one: -one["html_ms"]):
            numbers = (
                f"{each['html_ms']:8.1f} {each['json_ms']:8.1f} {each['kilobytes']:6.1f} {each['status']}"
            )
            print(f"{each['page']:44} {numbers}{'  too slow' if each in slow else ''}")
    return 1 if slow else 0


def fill(folder: Path, scale: float) -> dict[str, int]:
    """Write a project and its records; return how many there are of each kind."""
    from tidemill.dashboard.installation import record_project
    from tidemill.files.sqlite_urls import sqlite_file
    from tidemill.project import load_project
    from tidemill.settings import Settings
    from tidemill.state import open_state

    (folder / "params.yaml").write_text(PARAMS)
    (folder / "features.yaml").write_text("features: {weight: {type: float}}\n")
    project = load_project(folder, Settings())
    state = open_state(project.state_url)
    record_project(state, project, NOW)
    state.close()
    counts: dict[str, int] = {}
    with closing(sqlite3.connect(str(sqlite_file(project.state_url)))) as database:
        for table, many, make in _TABLES:
            total = max(1, int(many * scale))
            rows = [make(n, total) for n in range(total)]
            columns = ", ".join(rows[0])
            marks = ", ".join("?" * len(rows[0]))
            database.executemany(
                f"INSERT INTO {table} ({columns}) VALUES ({marks})",
                [tuple(row.values()) for row in rows],
            )
            database.commit()
            counts[table] = total
        database.execute("ANALYZE")
    return counts


def _at(n: int, total: int) -> str:
    """Return a moment as SQLite has it: the records are spread over two years."""
    return f"{NOW - timedelta(days=730) * (1 - n / total):%Y-%m-%d %H:%M:%S.%f}"


def _gate(n: int, total: int) -> dict[str, Any]:
    numbers = {"metric": "roc_auc", "gain": 0.01, "gain_interval": [0.0, 0.02], "rows": 9000, "min_gain": 0.0}
    numbers |= {"candidate": {"roc_auc": 0.7, "f1": 0.4}, "champion": {"roc_auc": 0.69, "f1": 0.39}}
    return {
        "id": f"gate_{n:07}",
        "model": MODEL,
        "candidate": str(n),
        "champion": str(n - 1),
        "mode": "enforce",
        "passed": n % 3 > 0,
        "reasons": json.dumps(["roc_auc 0.7 against 0.69", "9,000 rows"]),
        "numbers": json.dumps(numbers),
        "decided_at": _at(n, total),
    }


def _promotion(n: int, total: int) -> dict[str, Any]:
    return {
        "id": f"move_{n:07}",
        "model": MODEL,
        "alias": "champion",
        "from_version": str(n - 1),
        "to_version": str(n),
        "kind": "promotion",
        "status": "superseded" if n % 50 == 0 else "done",
        "actor": "ada",
        "reason": "it is better than the one before",
        "decision_id": None,
        "at": _at(n, total),
        "requested_at": _at(n, total),
    }


def _run(n: int, total: int) -> dict[str, Any]:
    return {
        "id": f"mon_{n:07}",
        "monitor": _MONITORS[n % 3],
        "model": MODEL,
        "version": str(n // 100),
        "window_start": _at(max(0, n - 1), total),
        "window_end": _at(n, total),
        "rows": 900,
        "labelled": 300,
        "verdict": "alert" if n % 10 == 0 else "ok",
        "results": json.dumps(
            {"data_drift": _DRIFT, "findings": [{"kind": "data_drift", "message": "moved"}]}
        ),
        "at": _at(n, total),
    }


def _alert(n: int, total: int) -> dict[str, Any]:
    is_open = n % 200 == 0
    return {
        "id": f"alert_{n:07}",
        "monitor": _MONITORS[n % 3],
        "model": MODEL,
        "version": str(n // 100),
        "kind": ("data_drift", "quality")[n % 2],
        "severity": ("warning", "critical")[n % 5 == 0],
        "message": "9 of 29 features have drifted (31%, alert at 30%): f0, f1, f2 and 6 more",
        "details": json.dumps({"features": ["f0", "f1"]}),
        "monitor_run_id": f"mon_{n:07}",
        "status": "firing" if is_open else "resolved",
        "raised_at": _at(n, total),
        "fired_at": _at(n, total),
        "last_seen_at": _at(n, total),
        "resolved_at": None if is_open else _at(n, total),
        "found_in": 1,
        "occurrence": 1,
    }


def _step(n: int, total: int) -> dict[str, Any]:
    what = "noise" if n % 5000 == 0 else "firing"
    return {
        "id": f"step_{n:07}",
        "alert_id": f"alert_{n:07}",
        "step": what,
        "at": _at(n, total),
        "person": "ada",
        "comment": None,
    }


def _message(n: int, total: int) -> dict[str, Any]:
    return {
        "id": f"note_{n:07}",
        "alert_id": f"alert_{n:07}",
        "model": MODEL,
        "occurrence": 1,
        "receiver": "pager",
        "step": "firing",
        "group_key": "",
        "status": "withheld" if n % 2 else "sent",
        "reason": "acknowledged by ada",
        "at": _at(n, total),
        "attempts": 1,
        "next_at": _at(n, total),
    }


def _silence(n: int, total: int) -> dict[str, Any]:
    return {
        "id": f"silence_{n:05}",
        "model": MODEL,
        "matchers": json.dumps({"kind": "data_*"}),
        "author": "ada",
        "reason": "the feed moves",
        "starts_at": _at(n, total),
        "ends_at": _at(n, total),
    }


def _turn(n: int, total: int) -> dict[str, Any]:
    return {
        "id": f"turn_{n:07}",
        "model": MODEL,
        "trigger": "manual",
        "reason": "new rows",
        "actor": "ada",
        "promote": True,
        "overrides": "{}",
        "as_of": _at(n, total),
        "status": "promoted",
        "step": "end",
        "version": str(n),
        "seconds": json.dumps({"data": 16.8, "train": 26.5, "gate": 1.4}),
        "cpu_seconds": 22.6,
        "requested_at": _at(n, total),
        "finished_at": _at(n, total),
    }


def _rollout(n: int, total: int) -> dict[str, Any]:
    return {
        "id": f"roll_{n:07}",
        "model": MODEL,
        "version": str(n),
        "champion": str(n - 1),
        "plan": json.dumps({"steps": [{"share": 0.1, "minutes": 5, "requests": 100}]}),
        "status": "promoted",
        "step": 0,
        "baseline": "{}",
        "checks": "[]",
        "actor": "ada",
        "reason": "by steps",
        "outcome": "it is the champion",
        "at": _at(n, total),
        "stepped_at": _at(n, total),
        "requested_at": _at(n, total),
    }


def _word(n: int, total: int) -> dict[str, Any]:
    return {
        "id": f"decision_{n:07}",
        "model": MODEL,
        "policy": "keep-fresh",
        "verdict": "hold",
        "episode": str(n),
        "cause": "c",
        "cause_message": "features have drifted",
        "rule": "cooldown",
        "reason": "cooling down",
        "first_at": _at(n, total),
        "last_at": _at(n, total),
        "rounds": 3,
    }


_TABLES = (
    ("gate_decisions", 100_000, _gate),
    ("promotions", 1_000_000, _promotion),
    ("monitor_runs", 100_000, _run),
    ("alerts", 100_000, _alert),
    ("alert_steps", 100_000, _step),
    ("notifications", 100_000, _message),
    ("silences", 1_000, _silence),
    ("turns", 20_000, _turn),
    ("rollouts", 5_000, _rollout),
    ("policy_decisions", 50_000, _word),
)


def pages() -> list[str]:
    """Return the addresses of the pages that need no more than the model."""
    from tidemill.dashboard.app import make_pages
    from tidemill.dashboard.page import permissions

    app = make_pages()
    known = {path for path in permissions(app) if not path.startswith("POST ")}
    filled = (path.replace("{model}", MODEL) for path in known)
    return sorted(path for path in filled if "{" not in path and not path.endswith(_ENGINES))


_ENGINES = "/policies/now"
"""Starts a process with engines, and says so where it is linked."""


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
    """Return how long a page takes, as HTML and as JSON; the first answer does not count."""
    twin = f"/api/v1{'/fleet' if path == '/' else path}"
    with httpx.Client(base_url=url, timeout=60) as client:
        times: dict[str, float] = {}
        for name, address in (("html_ms", path), ("json_ms", twin)):
            client.get(address)
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
        "kilobytes": round(len(page.content) / 1000, 1),
        "status": page.status_code,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
