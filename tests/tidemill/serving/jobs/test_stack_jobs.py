"""One real stack with two replicas, jobs and a composition: processes are killed, nobody waits in vain."""

import os
import shutil
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import psutil
import pytest
import yaml

from tests.named_processes import named_processes
from tests.tidemill.serving.runtime.own_stacks import up_with_warm_workers
from tests.tidemill.serving.small_project import KNOWN, crown
from tidemill.orphan_reaper import marked_processes
from tidemill.prediction_log.prediction_log import read_predictions
from tidemill.project import load_project
from tidemill.serving.runtime.daemon import down
from tidemill.settings import Settings
from tidemill.training.tracking.mlflow_tracking import connect

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

COMPOSED = """

import asyncio
from dataclasses import replace
from tidemill.serving.inference.composition import Composition, Part, PartFailed


async def score(asked):
    second = await asked.ask("second")
    asked.flag("halved")
    return (asked.own + second) / 2


application = replace(
    application,
    composition=Composition({"second": Part("parcel-delay", alias="challenger")}, score),
)
"""


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def project(tmp_path_factory, served_template):
    root = shutil.copytree(served_template, tmp_path_factory.mktemp("jobs") / "project")
    params = yaml.safe_load((root / "params.yaml").read_text())
    jobs = {"enabled": True, "chunk_rows": 20, "retry_seconds": 0.2}
    params["serve"] |= {"replicas": 2, "timeout_seconds": 5.0, "jobs": jobs}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    with (root / "parcels_app.py").open("a") as file:
        file.write(COMPOSED)
    project = load_project(root, Settings(num_cpus=2))
    connect(project).set_registered_model_alias(project.model, "challenger", "2")
    return project


@pytest.fixture(scope="module")
def stack(project):
    info = up_with_warm_workers(project)
    yield info
    down(project)
    assert marked_processes(info.mark) == []


@pytest.fixture(scope="module")
def http(stack):
    with httpx.Client(base_url=stack.url, timeout=20, trust_env=False) as client:
        yield client


def rows(count):
    return {"instances": [{"depot": "north"}] * count, "at": (KNOWN + timedelta(hours=1)).isoformat()}


def test_models_answer_together_and_say_who_took_part(http, project):
    answer = http.post("/predict", json=rows(2)).json()
    assert (answer["model_version"], len(answer["predictions"])) == ("1", 2)
    for one in answer["predictions"]:
        assert one["probability"] == pytest.approx(0.5)
        assert one["flags"] == ["model:second:2", "rule:halved"]
    logged = read_predictions(project.predictions, project.model, KNOWN, KNOWN + timedelta(days=1))
    assert logged["score"].to_list() == pytest.approx([0.5, 0.5])
    assert logged["flags"].to_list() == [one["flags"] for one in answer["predictions"]]


def test_the_parts_follow_their_aliases(http, project):
    connect(project).set_registered_model_alias(project.model, "challenger", "1")
    wait_for(lambda: http.post("/predict", json=rows(1)).json()["predictions"][0]["flags"][0][-1] == "1")
    crown(project, "2")
    wait_for(lambda: {http.get("/model").json()["version"] for _ in range(8)} == {"2"})
    assert http.post("/predict", json=rows(1)).json()["predictions"][0]["probability"] == pytest.approx(0.5)


def test_a_job_survives_the_death_of_its_worker(http, project, stack):
    first = http.post("/jobs", json=rows(400)).json()["id"]

    def state():
        return http.get(f"/jobs/{first}").json()

    wait_for(lambda: 0 < state()["rows_done"] < 400 or state()["status"] == "done")
    (worker,) = named_processes(stack.mark, "ServeReplica:tidemill-jobs:jobs")
    os.kill(worker.pid, signal.SIGKILL)
    assert state()["status"] == "running"
    wait_for(lambda: state()["status"] == "done", 180)
    result = http.get(f"/jobs/{first}/result").json()
    assert len(result["predictions"]) == 400
    assert {tuple(one["flags"]) for one in result["predictions"]} == {("model:second:1", "rule:halved")}
    logged = read_predictions(project.predictions, project.model, KNOWN, KNOWN + timedelta(days=1))
    of_job = logged.filter(request_id=first)
    assert of_job["prediction_id"].to_list() == sorted(one["prediction_id"] for one in result["predictions"])
    assert of_job["replica"].n_unique() == 2


def test_a_replica_is_killed_under_load_and_nobody_hangs(http, stack):
    answers, slowest, stop = Counter(), [0.0], threading.Event()

    def ask(_):
        with httpx.Client(base_url=stack.url, timeout=30, trust_env=False) as client:
            while not stop.is_set():
                began = time.monotonic()
                try:
                    answers[client.post("/predict", json=rows(1)).status_code] += 1
                except httpx.HTTPError as error:
                    answers[type(error).__name__] += 1
                slowest[0] = max(slowest[0], time.monotonic() - began)
                stop.wait(0.02)  # the machine has a replica to start

    with ThreadPoolExecutor(8) as pool:
        tasks = pool.map(ask, range(8))
        try:
            wait_for(lambda: answers[200] > 300)
            victim = named_processes(stack.mark, "ServeReplica:tidemill:predictions")[0]
            os.kill(victim.pid, signal.SIGKILL)
            wait_for(lambda: victim not in named_processes(stack.mark, "ServeReplica:tidemill:predictions"))
            wait_for(lambda: len(named_processes(stack.mark, "ServeReplica:tidemill:predictions")) == 2, 120)
        finally:
            stop.set()
        list(tasks)
    print(answers, slowest)  # of use when it fails
    assert set(answers) <= {200, 502, 503, 504, "RemoteProtocolError"}
    assert answers["RemoteProtocolError"] <= 8  # an answer that was on its way, cut off: at most one a client
    assert answers[200] > 20 * (sum(answers.values()) - answers[200])
    assert slowest[0] < 12
    wait_for(lambda: {http.post("/predict", json=rows(1)).status_code for _ in range(20)} == {200})


def test_everything_listens_on_loopback_only(stack):
    listening = {
        connection.laddr.ip.removeprefix("::ffff:")
        for process in marked_processes(stack.mark)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
