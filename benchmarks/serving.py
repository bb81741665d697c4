"""Measures throughput and latency of each server in turn, one flight a request, at 1, 8, 32 and 128 clients.

Ours does all that it does in production: it validates the request, looks 29 features of 6 views up by the
flight's keys, computes two on demand, predicts, applies the business rule, and has the answer in the log
before it gives it out. MLflow's model server and BentoML get the 29 features in the body, look nothing up and
log nothing. Ray Serve's default proxy runs the obvious code: FastAPI, Feast's SDK, scikit-learn, a line in a
file.
Two echoes are the floor: bare uvicorn, and Ray Serve behind HAProxy, which is what ours stands on. What the
prediction log costs, and what too many clients do, is measured by runs in turn at one server, whose log is
switched off and on: machines change their speed from minute to minute by more than that.

    python -m benchmarks.serving [--seconds 6] [--rounds 1] [--only ours,mlflow] [--workspace DIR]
    python -m benchmarks.serving --beside-echo

The second form runs ours and the echo behind HAProxy at once, and asks them in turn, as the marks demand.

Needs no root; takes about ten minutes. BentoML is installed beside the workspace, if the machine can.
"""

import argparse
import contextlib
import functools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil

from benchmarks.children import clean_up_after
from benchmarks.load import Outcome, run_apart
from benchmarks.rivals import bento_environment, command
from tidemill.data.versioning.params_file import set_values
from tidemill.project import Project, load_project
from tidemill.project.scaffold import reference_project
from tidemill.replay.replay_workspace import prepare_workspace
from tidemill.serving.runtime.network import free_port

CLIENTS = (1, 8, 32, 128)
FRESH, CACHED = "ours, every feature afresh", "ours, with the declared caching"
OURS = (FRESH, CACHED)
ORDER = ("uvicorn echo", "ray echo", "mlflow", "bentoml", "ray default", *OURS)
BEYOND = 512
READY_SECONDS = 120.0
WARM_SECONDS = 2.0
LIGHT = {"train.trials": 2, "train.search_rows": 20000}
PAIRS = 6
ECHO_PAIRS = 9
"""Runs in turn of what is compared within one server."""
LOG_CLIENTS = (32, 128)
_SWITCH = "BENCHMARK_LOG_SWITCH"
_SWITCHED = f"""

import os

if os.environ.get("{_SWITCH}"):  # in the workspace of a benchmark only
    import threading
    import time

    from tidemill.prediction_log.writing.log_writer import PredictionLog

    _append = PredictionLog.append

    def _watch():
        while True:
            off = os.path.exists(os.environ["{_SWITCH}"])
            PredictionLog.append = (lambda self, records: True) if off else _append
            time.sleep(0.05)

    threading.Thread(target=_watch, daemon=True).start()
"""


def prepare(folder: Path) -> Project:
    """Train a champion of the reference project in ``folder``, as ``tidemill run --promote`` does."""
    if not (folder / "params.yaml").exists():
        project = prepare_workspace(reference_project(), folder)
        params = folder / "params.yaml"
        params.write_text(
            params.read_text().replace("\nserve:\n", "\nserve:\n  feature_cache: true\n  fast_lane: true\n")
        )
        _set(project, LIGHT)
        with (folder / "serving" / "application.py").open("a") as application:
            application.write(_SWITCHED)
        _git(folder)
        done = subprocess.run(
            [sys.executable, "-m", "tidemill.cli.main", "run", "--promote", "-p", str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"the champion could not be made:\n{done.stderr[-3000:]}")
    return load_project(folder)


def _git(folder: Path) -> None:
    identity = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost"]
    subprocess.run(["git", *identity, "commit", "-qam", "Train less"], cwd=folder, check=True)


def _set(project: Project, values: dict[str, Any]) -> None:
    path = project.root / "params.yaml"
    path.write_text(set_values(path.read_text(), values))


def write_requests(project: Project) -> dict[str, Path]:
    """Write the requests of each protocol: flights that follow the last training month, half an hour later.

    The online store holds what was known at that moment, so no feature has expired.
    """
    from tidemill.features.feature_store import open_store
    from tidemill.features.online.online_features import OnlineFeatures
    from tidemill.project.moments import declared_moment

    replay = project.load(project.config.project.replay)
    start = declared_moment(project)
    flights = replay.requests(start, start + timedelta(days=7), 500, 0).to_dicts()
    at = start + timedelta(minutes=30)
    names = ("carrier", "origin", "dest", "tailnum", "scheduled_departure")
    keys = [{name: flight[name] for name in names} for flight in flights]
    features = OnlineFeatures(open_store(project), project.feature_service)
    rows = [row.values for row in features.read(keys, [at] * len(keys))]
    columns = list(rows[0])
    bodies: dict[str, list[dict[str, Any]]] = {
        "ours": [
            {
                "instances": [{**key, "scheduled_departure": key["scheduled_departure"].isoformat()}],
                "at": at.isoformat(),
            }
            for key in keys
        ],
        "mlflow": [{"dataframe_split": {"columns": columns, "data": [list(row.values())]}} for row in rows],
        "bentoml": [{"rows": [list(row.values())]} for row in rows],
    }
    paths = {"ours": "/predict", "mlflow": "/invocations", "bentoml": "/predict"}
    found = {}
    for protocol, all_bodies in bodies.items():
        found[protocol] = project.root / f"requests-{protocol}.json"
        found[protocol].write_text(
            json.dumps([{"path": paths[protocol], "body": body} for body in all_bodies])
        )
    return found


@contextlib.contextmanager
def serving(
    name: str, project: Project, bento: Path | None
) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Run a server, give its process and port, and end it with all its processes."""
    port = free_port()
    log = project.root / "server.log"
    if name in OURS:
        if project.has_store:
            _set(project, {"serve.feature_cache": name != FRESH})
        line = [sys.executable, "-m", "tidemill.cli.main", "up", "--foreground", "--interval", "3600"]
        line += ["-p", str(project.root), "--port", str(port)]
    else:
        line = command(name, project.root, port, bento)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # MLflow starts uvicorn by name
    environment = {
        "OMP_NUM_THREADS": "1",  # on two cores, more of them only wait for each other
        **os.environ,
        **({_SWITCH: str(_switch(project))} if name == CACHED else {}),
        "PATH": path,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "BENTOML_DO_NOT_TRACK": "True",
    }
    _switch(project).unlink(missing_ok=True)
    with log.open("w") as out:
        process = subprocess.Popen(line, stdout=out, stderr=out, env=environment, start_new_session=True)
    try:
        yield process, port
    finally:
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGINT if name in OURS else signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):  # its children are killed below all the same
            process.wait(60)
        for child in children:
            with contextlib.suppress(psutil.Error):  # it has ended by itself
                child.kill()


def _switch(project: Project) -> Path:
    """Return the file that switches the log off while it is there."""
    return project.root / "logs-nothing"


def in_turn(one: Callable[[], float], other: Callable[[], float]) -> list[float]:
    """Return one rate as a share of the other, for each of some pairs of runs."""
    shares = []
    for number in range(PAIRS):
        if number % 2:
            below, above = other(), one()
        else:
            above, below = one(), other()
        shares.append(above / below)
    return shares


def compare(
    project: Project, rate: Callable[[int], float], outcomes: Sequence[Outcome]
) -> dict[str, list[float]]:
    """Return shares of rates: with the log of those without it, and with too many clients of the best."""

    def switched(off: bool, clients: int) -> float:
        _switch(project).touch() if off else _switch(project).unlink(missing_ok=True)
        time.sleep(0.2)
        return rate(clients)

    found = {}
    for clients in LOG_CLIENTS:
        found[f"at c = {clients}, with its log, of without"] = in_turn(
            functools.partial(switched, False, clients), functools.partial(switched, True, clients)
        )
    _switch(project).unlink(missing_ok=True)
    best = max(outcomes, key=lambda one: one.rps if one.clients != BEYOND else 0.0).clients
    found[f"at c = {BEYOND}, of its best, which is at c = {best}"] = in_turn(
        functools.partial(rate, BEYOND), functools.partial(rate, best)
    )
    return found


def beside_echo(project: Project, requests: dict[str, Path], seconds: float) -> None:
    """Print how ours does beside the echo on the same stack: both run, and are asked in turn."""
    body = requests["ours"]
    log = project.root / "server.log"
    with contextlib.ExitStack() as stack:
        ports = []
        for name in ("ray echo", CACHED):
            process, port = stack.enter_context(serving(name, project, None))
            wait_for(process, port, body, log)
            run_apart("127.0.0.1", port, body, 32, WARM_SECONDS)
            ports.append(port)

        def asked(port: int, clients: int) -> Outcome:
            return run_apart("127.0.0.1", port, body, clients, seconds)

        for clients, what in ((1, "p50"), (32, "rps")):
            pairs = []
            for number in range(ECHO_PAIRS):
                turn = ports if number % 2 else ports[::-1]
                found = {port: getattr(asked(port, clients), what) for port in turn}
                pairs.append((found[ports[0]], found[ports[1]]))
            shares = [ours / echo for echo, ours in pairs]
            echo, ours = (statistics.median(one) for one in zip(*pairs, strict=True))
            ratio = f"{statistics.median(shares):.2f} × ({min(shares):.2f} … {max(shares):.2f})"
            print(
                f"c = {clients:3}: {what} of the echo {echo:,.2f}, of ours {ours:,.2f}: {ratio}", flush=True
            )


def wait_for(process: "subprocess.Popen[bytes]", port: int, requests: Path, log: Path) -> None:
    """Wait until a request is answered with 200."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(1)
        if run_apart("127.0.0.1", port, requests, 1, 0.2).statuses.get("200"):
            return
    raise SystemExit(f"the server does not answer:\n{log.read_text()[-3000:]}")


def measure(
    name: str,
    project: Project,
    requests: dict[str, Path],
    bento: Path | None,
    seconds: float,
    shares: dict[str, list[float]],
) -> list[Outcome]:
    """Run one server, ask it with each number of clients, and end it; `compare` fills ``shares``."""
    body = requests.get(name, requests["ours"])
    with serving(name, project, bento) as (process, port):
        wait_for(process, port, body, project.root / "server.log")
        run_apart("127.0.0.1", port, body, 32, WARM_SECONDS)
        clients = (*CLIENTS, BEYOND) if name == CACHED else CLIENTS
        outcomes = [run_apart("127.0.0.1", port, body, count, seconds) for count in clients]
        if name == CACHED:
            rate = lambda count: run_apart("127.0.0.1", port, body, count, seconds / 2).rps  # noqa: E731
            for what, found in compare(project, rate, outcomes).items():
                shares.setdefault(what, []).extend(found)
        return outcomes


def show(name: str, rounds: Sequence[Sequence[Outcome]]) -> dict[int, float]:
    """Print a server's rows, medians over the rounds; return requests per second by clients."""
    rates = {}
    for found in zip(*rounds, strict=True):
        clients = found[0].clients
        rates[clients] = statistics.median(one.rps for one in found)
        p50, p99, slowest = (
            statistics.median(getattr(one, field) for one in found) for field in ("p50", "p99", "slowest")
        )
        odd = {
            k: sum(one.statuses.get(k, 0) for one in found)
            for one in found
            for k in one.statuses
            if k != "200"
        }
        print(
            f"{name:32} {clients:4} {rates[clients]:9,.0f} {p50:9.2f} {p99:9.2f} {slowest:9.1f}  {odd or ''}",
            flush=True,
        )
    return rates


def main() -> None:
    """Run all in turn, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=6.0, help="for each number of clients")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default="", help="names, or beginnings of names, with commas between")
    parser.add_argument("--workspace", type=Path, help="kept and used again; default: a temporary folder")
    parser.add_argument("--beside-echo", action="store_true", help="only ours and the echo, in turn")
    given = parser.parse_args()
    wanted = [name for name in ORDER if any(map(name.startswith, given.only.split(",")))]
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as scratch:
        folder = given.workspace or Path(scratch) / "flights"
        project = prepare(folder)
        requests = write_requests(project)
        if given.beside_echo:
            beside_echo(project, requests, given.seconds / 2)
            return
        bento, why = None, ""
        if "bentoml" in wanted:
            bento, why = bento_environment(folder.with_name(f"{folder.name}-bento"))
        if why:
            print(f"BentoML cannot be installed: {why}")
            wanted.remove("bentoml")
        print(f"{'server':32} {'c':>4} {'rps':>9} {'p50 ms':>9} {'p99 ms':>9} {'max ms':>9}   other answers")
        rates = {}
        outcomes: dict[str, list[list[Outcome]]] = {name: [] for name in wanted}
        shares: dict[str, list[float]] = {}
        for _ in range(given.rounds):
            for name in wanted:
                outcomes[name].append(measure(name, project, requests, bento, given.seconds, shares))
                if given.rounds > 1:
                    at_32 = outcomes[name][-1][CLIENTS.index(32)]
                    print(f"  {name}: {at_32.rps:,.0f} rps at c = 32", file=sys.stderr, flush=True)
        for name in wanted:
            rates[name] = show(name, outcomes[name])
    if CACHED in rates:
        print("\nours with the declared caching, at c = 32, is")
        for name in (one for one in wanted if one != CACHED):
            print(f"  {rates[CACHED][32] / rates[name][32]:6.2f} × {name}")
    for what, found in shares.items():
        print(
            f"ours {what}: {statistics.median(found):.2f} (median of {len(found)} pairs in turn,"
            f" {min(found):.2f} … {max(found):.2f})"
        )


if __name__ == "__main__":
    clean_up_after(main)
