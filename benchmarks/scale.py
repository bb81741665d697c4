"""Says what 100 models × 10,000 predictions a second ask for, and which part breaks first.

``python -m benchmarks.scale`` simulates in some minutes what one machine can: replicas of many models
that report to one PostgreSQL and ask one MLflow who serves, a thousand projects in the records, many machines
that compact into one log in S3 (moto), and Ray's own proxies. Then it computes the rest from these numbers
and those of the other benchmarks (`benchmarks.scale_plan`). ``--models`` and ``--rate`` compute another size.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx
import psutil
from sqlalchemy import insert

from benchmarks import children
from benchmarks.load import run_apart
from benchmarks.prediction_log import record
from benchmarks.scale_plan import Costs, Target, daily, needs, replicas
from benchmarks.servers import free_port, make_database, postgres, process
from tidemill.accounts.api_keys import active_keys
from tidemill.dashboard.records import fleet_records
from tidemill.prediction_log.prediction_log import PredictionLog, read_predictions
from tidemill.prediction_log.storage.log_parts import Sizes
from tidemill.prediction_log.storage.log_places import current_place
from tidemill.prediction_log.upkeep.compaction import compact
from tidemill.registry.deployments import live
from tidemill.serving.routing.replicas import live_replicas, record_status
from tidemill.serving.routing.version_watcher import Status
from tidemill.state import State, open_state
from tidemill.state.record_reader import Records
from tidemill.state.tables import Deployment, KnownProject, MonitorRun, ReplicaState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EACH = 10
"""Replicas of a project that reports."""
ROWS = 500
"""Predictions of each machine in the simulation of the log."""
Act = Callable[[State, str], object]
S3 = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


def fill(url: str, projects: int) -> None:
    """Write the records of so many projects: what serves, replicas, and monitors that ran."""
    state = open_state(url)
    moments, alive = [NOW - timedelta(hours=n) for n in range(20)], datetime.now(UTC)
    with state.transaction() as session:
        names = [f"model-{n}" for n in range(projects)]
        known = [{"model": name, "name": name, "root": f"/{name}", "seen_at": NOW} for name in names]
        session.execute(insert(KnownProject), known)
        session.execute(
            insert(Deployment),
            [
                {
                    "id": f"deployment_{name}", "model": name, "kind": "canary", "name": "canary",
                    "version": "2", "champion": "1", "share": 0.1, "salt": "s", "status": "live",
                    "from_version": None, "actor": "ada", "reason": "", "at": NOW, "requested_at": NOW,
                }
                for name in names
            ],
        )  # fmt: skip
        session.execute(
            insert(ReplicaState),
            [
                {"id": f"{name}-{n}", "model": name, "version": "1", "wanted": "1", "seen_at": alive}
                for name in names for n in range(EACH)
            ],
        )  # fmt: skip
        session.execute(
            insert(MonitorRun),
            [
                {
                    "id": f"run_{name}_{n}", "monitor": "daily", "model": name, "version": "1", "rows": 9000,
                    "labelled": 0, "verdict": "ok", "results": {"findings": []}, "window_start": at,
                    "window_end": at, "at": at,
                }
                for name in names for n, at in enumerate(moments)
            ],
        )  # fmt: skip
    state.close()


def report(url: str, projects: int) -> None:
    """Do what six replicas do in ten seconds each."""
    state, chance, spent = open_state(url), random.Random(7), list[float]()
    live(state, "model-0")
    worked = time.process_time()
    for _ in range(6):
        name = f"model-{chance.randrange(projects)}"
        acts: list[Act] = [*[live] * 20, *[look_for_keys] * 5, *[count_replicas] * 5]
        acts += [partial(beat, number=chance.randrange(EACH)) for _ in range(2)]
        for act in chance.sample(acts, len(acts)):
            began = time.perf_counter()
            act(state, name)
            spent.append(time.perf_counter() - began)
    spent.sort()
    cpu = (time.process_time() - worked) / len(spent)
    children.report(count=len(spent), cpu=cpu, p50=spent[len(spent) // 2] * 1e3)


def fleet(url: str, projects: int) -> None:
    """Read the records of the dashboard's first page."""
    records, names = Records(url), [f"model-{n}" for n in range(projects)]
    worked = time.process_time()
    for look in (fleet_records.last_runs, fleet_records.champion_moves, fleet_records.replicas_by_model):
        look(records, names)
    children.report(cpu=time.process_time() - worked)


def look_for_keys(state: State, name: str) -> int:
    """Read the keys as the keyring does."""
    return len(active_keys(state, NOW, name))


def count_replicas(state: State, name: str) -> int:
    """Count as the keyring does."""
    with state.transaction() as session:
        return len(live_replicas(session, name, datetime.now(UTC)))


def beat(state: State, name: str, number: int) -> None:
    """Say that a replica lives."""
    record_status(state, name, f"{name}-{number}", Status("1", "1"), datetime.now(UTC))


def paced(url: str, number: int) -> None:
    """Be 25 replicas of the first projects for 8 seconds, each at its own pace; report how long they wait."""
    state, spent = open_state(url), list[float]()
    every: list[tuple[float, Act]] = [(0.5, live), (2.0, look_for_keys), (2.0, count_replicas)]

    def replica(place: int) -> None:
        name, end = f"model-{place // EACH}", time.perf_counter() + 8
        tasks: list[tuple[float, Act]] = [*every, (5.0, partial(beat, number=place % EACH))]
        due = [time.perf_counter() + random.random() * pause for pause, _ in tasks]
        while (moment := min(due)) < end:
            task = due.index(moment)
            time.sleep(max(0.0, moment - time.perf_counter()))
            began = time.perf_counter()
            tasks[task][1](state, name)
            spent.append(time.perf_counter() - began)
            due[task] += tasks[task][0]

    with ThreadPoolExecutor(25) as pool:
        list(pool.map(replica, range(number, number + 25)))
    spent.sort()
    p99 = spent[len(spent) * 99 // 100]
    children.report(count=len(spent), p50=spent[len(spent) // 2] * 1e3, p99=p99 * 1e3)


def ask(url: str, requests: int) -> None:
    """Ask MLflow's server so many times who serves, as four clients at once."""

    def client(_place: int) -> None:
        with httpx.Client() as http:
            for _ in range(requests // 4):
                http.get(f"{url}/registered-models/get", params={"name": "m"}).raise_for_status()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(client, range(4)))
    children.report(count=requests)


def write_log(place: str, machines: int) -> None:
    """Write a log on many machines into one store, each its own lines, and read all of it on one of them."""
    address, _, endpoint = place.partition(" ")
    os.environ.update(S3)
    chance = random.Random(7)
    some = [record(chance, NOW) for _ in range(256)]
    with tempfile.TemporaryDirectory() as folder:

        def machine(number: int) -> None:
            root = Path(folder) / str(number)
            log = PredictionLog(root, "m")
            for begin in range(0, ROWS, 100):
                rows = (some[n % 256] for n in range(begin, begin + 100))
                at = NOW + timedelta(seconds=begin)
                name = f"p_{number}_{begin}"
                log.append([replace(row, prediction_id=f"{name}_{n}", at=at) for n, row in enumerate(rows)])
            log.close()
            compact(root, "m", current_place(root, address, endpoint), Sizes().all_of_it())

        began = time.perf_counter()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(machine, range(machines)))
        written = time.perf_counter() - began
        began = time.perf_counter()
        window = NOW + timedelta(seconds=100), NOW + timedelta(seconds=200)
        rows = read_predictions(Path(folder) / "0", "m", *window, columns=["score"]).height
        read = time.perf_counter() - began
        all_rows = read_predictions(Path(folder) / "0", "m", NOW, NOW + timedelta(days=1), columns=["score"])
    children.report(seconds=written, read=read, rows=rows, lost=machines * ROWS - all_rows.height)


def proxy(folder: str, _number: int) -> None:
    """Pass on requests by Ray's own proxy to an application that answers at once, for 32 clients."""
    import ray
    from ray import serve
    from ray.serve.config import HTTPOptions

    @serve.deployment(ray_actor_options={"num_cpus": 1})
    class Echo:
        async def __call__(self, request: Any) -> bytes:
            return bytes(await request.body())

    port = free_port()
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
    )
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=port))
    serve.run(cast("Any", Echo).bind())
    given = Path(folder) / "requests.json"
    given.write_text(json.dumps([{"path": "/", "body": {"instances": [{"a": 1}]}}]))
    ours = psutil.Process().children(recursive=True)
    [one] = [each for each in ours if "ProxyActor" in " ".join(each.cmdline())]
    before = worked_by(one)
    found = run_apart("127.0.0.1", port, given, clients=32, seconds=5)
    cpu = (worked_by(one) - before) / (found.rps * found.seconds)
    serve.shutdown()
    ray.shutdown()
    children.report(cpu=cpu)


STEPS = {each.__name__: each for each in (report, fleet, paced, ask, write_log, proxy)}


def worked_by(process: psutil.Process) -> float:
    """Return the CPU seconds of a process and of all that it started, those that ended included."""
    every = [process, *process.children(recursive=True)]
    own = sum(sum(one.cpu_times()[:2]) for one in every)
    return own + sum(sum(one.cpu_times()[2:4]) for one in every)


def listening(port: int) -> psutil.Process:
    """Return the process that listens on a port."""
    every = (one for one in psutil.net_connections("tcp4") if one.status == psutil.CONN_LISTEN)
    return psutil.Process(next(one.pid for one in every if one.laddr and one.laddr.port == port))


def several(step: str, place: str, numbers: list[int]) -> list[dict[str, float]]:
    """Run a step in several processes at once; return what each of them reports."""

    def child(number: int) -> dict[str, float]:
        outcome = children.run("benchmarks.scale", [step, place, str(number)], seconds=300)
        if outcome.report is None:
            sys.exit(f"{step} {outcome.cut}")
        return outcome.report

    with ThreadPoolExecutor(len(numbers)) as pool:
        return list(pool.map(child, numbers))


def simulate_records(folder: Path) -> tuple[float, float]:
    """Return CPU seconds of PostgreSQL a transaction of a replica, and of MLflow a question who serves."""
    with postgres(folder) as server:
        main = listening(int(server.rpartition(":")[2].strip("/")))
        for name, projects in (("few", 5), ("many", 1000)):
            make_database(server, name)
            fill(f"{server}{name}", projects)
            before = worked_by(main)
            [told] = several("report", f"{server}{name}", [projects])
            cost = (worked_by(main) - before) / told["count"]
            before = worked_by(main)
            [page] = several("fleet", f"{server}{name}", [projects])
            read = worked_by(main) - before
            print(f"{projects:>5} projects: a replica's transaction takes {cost * 1e3:.2f} ms of PostgreSQL, "
                  f"{told['cpu'] * 1e3:.2f} of its own; the fleet page's records {read * 1e3:.0f} ms "
                  f"and {page['cpu'] * 1e3:.0f}", flush=True)  # fmt: skip
        both = several("paced", f"{server}few", [0, 25])
        done, p99 = sum(one["count"] for one in both) / 8, max(one["p99"] for one in both)
        print(f"   50 replicas report and look: {done:,.0f} transactions/s, p50 {both[0]['p50']:.1f} ms, "
              f"p99 {p99:.0f} ms", flush=True)  # fmt: skip
        return cost, simulate_registry(server, folder)


def simulate_registry(server: str, folder: Path) -> float:
    """Return the CPU seconds of MLflow's server for the question who serves."""
    make_database(server, "mlflow")
    port = free_port()
    store = f"{server}mlflow".replace("postgresql:", "postgresql+psycopg:")
    command = [str(Path(sys.executable).with_name("mlflow")), "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store, "--artifacts-destination", str(folder / "artifacts")]
    url = f"http://127.0.0.1:{port}/api/2.0/mlflow"
    alone = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with process(command, port, folder / "mlflow.log", env=alone):
        httpx.post(f"{url}/registered-models/create", json={"name": "m"}, timeout=60).raise_for_status()
        several("ask", url, [8])
        main, count = listening(port), 200
        before = worked_by(main)
        several("ask", url, [count])
        cost = (worked_by(main) - before) / count
    print(f"      MLflow takes {cost * 1e3:.1f} ms of CPU to say who serves", flush=True)
    return cost


def simulate_log(folder: Path) -> None:
    """Print what a log costs that 1, 10 and 50 machines write into one store."""
    port, log = free_port(), folder / "s3.log"
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    with process(command, port, log):
        for machines in (1, 10, 50):
            endpoint = f"http://127.0.0.1:{port}"
            httpx.put(f"{endpoint}/log{machines}").raise_for_status()
            before = requests(log)
            [told] = several("write_log", f"s3://log{machines}/a {endpoint}", [machines])
            asked = (requests(log) - before) / machines
            print(f"   {machines:>2} machines into one log in S3: {asked:.0f} requests a machine, "
                  f"{told['lost']:.0f} rows lost; a window {told['read'] * 1e3:.0f} ms")  # fmt: skip


def requests(log: Path) -> int:
    """Count the requests that moto has answered."""
    return log.read_text(errors="replace").count('HTTP/1.1"')


def show(target: Target, costs: Costs) -> None:
    """Print what is asked for, part by part, and what a day brings."""
    each = replicas(target, costs)
    print(f"\n{target.models} models × {target.rate:,.0f} predictions/s: {each} replicas each")
    for need in needs(target, costs):
        mark = "more" if need.grows else "BREAKS" if need.load > 1 else "holds"
        print(f"  {need.part:<42}{need.asked:>12,.1f} {need.unit:<15}{need.load:>9,.1f} × one "
              f"{need.pieces:<11}{mark:<7} {need.turn}")  # fmt: skip
    told = daily(target, costs)
    print(f"  a day: {told['lines'] / 1e3:,.1f} TB of lines, {told['parquet'] / 1e3:,.2f} TB of parquet, "
          f"{told['parts']:,.0f} parts a model; {told['cores']:,.0f} cores; a month {told['month']:,.0f} "
          f"at {costs.core_hour} a core-hour (stores and monitors not included)")  # fmt: skip


def main() -> None:
    """Simulate, compute, and print."""
    if len(sys.argv) == 4 and sys.argv[1] in STEPS:
        STEPS[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--rate", type=float, default=10_000, help="predictions a second of each")
    parser.add_argument("--paper", action="store_true", help="compute only, from the numbers in the code")
    options = parser.parse_args()
    costs = Costs()
    if not options.paper:
        with tempfile.TemporaryDirectory() as folder:
            transaction, alias = simulate_records(Path(folder))
            simulate_log(Path(folder))
            [told] = several("proxy", folder, [0])
        print(f"      Ray's own proxy takes {told['cpu'] * 1e3:.2f} ms of CPU for a request")
        costs = replace(costs, transaction=transaction, alias=alias, proxied=told["cpu"])
    target = Target(models=options.models, rate=options.rate)
    show(target, costs)
    turned = replace(target, poll_seconds=5.0, round_seconds=10.0, rows=1e6, cached=0.9, apart=True)
    print("\nA release a model, polls of 5 s, rounds of 10 s, monitors of a million rows, 0.9 from caches:")
    show(turned, costs)


if __name__ == "__main__":
    children.clean_up_after(main)
