"""Both brokers for real, and Ray Serve's Celery adapter on them: a worker is killed, messages are forged."""

import os
import signal
import subprocess
import sys
import time

import pytest
from celery import Celery
from kombu import Connection, Exchange, Queue

from tidemill.project import load_project
from tidemill.serving.jobs.broker import TASK, Publisher, broker_url
from tidemill.settings import Settings

pytestmark = pytest.mark.engine

WORKER = """
import sys, time
from pathlib import Path
from ray.serve.task_consumer import instantiate_adapter_from_config
from tidemill.project import load_project
from tidemill.serving.jobs import broker
from tidemill.settings import Settings

root, url, out = sys.argv[1:]
project = load_project(Path(root), Settings(broker_url=url or None))

def run(job_id: str) -> None:
    with open(out, "a") as file:
        print(job_id, file=file)
    time.sleep(600 if job_id == "job_slow" else 0)

adapter = instantiate_adapter_from_config(broker._processor(project))
adapter.register_task_handle(run, broker.TASK)
adapter._app.worker_main(["worker", "-Q", broker._queue(project), "--hostname", f"w{time.time()}"])
"""


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def wait_for(condition, seconds=90.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("broker", ["embedded", "redis"])
def test_messages_arrive_survive_a_killed_worker_and_run_no_code(parcels, tmp_path, request, broker):
    url = f"redis://{request.getfixturevalue('redis_address')}/7" if broker == "redis" else ""
    project = load_project(parcels.root, Settings(broker_url=url or None))
    ran, bomb = tmp_path / "ran", tmp_path / "bomb"
    publisher = Publisher(project)

    def start():
        command = [sys.executable, "-W", "ignore", "-c", WORKER, str(project.root), url, str(ran)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def lines():
        return ran.read_text().split() if ran.exists() else []

    assert publisher.publish("job_slow")
    first = start()
    try:
        wait_for(lambda: lines() == ["job_slow"])
        os.kill(first.pid, signal.SIGKILL)
    finally:
        first.kill()
        first.wait()
    queue = f"tidemill-{project.model}"
    with Connection(broker_url(project)) as connection:
        bound = Queue(queue, Exchange(queue), queue)
        connection.Producer(serializer="pickle").publish(
            Bomb(bomb), routing_key=queue, exchange=queue, declare=[bound]
        )
        forger = Celery(queue, broker=broker_url(project), set_as_current=False)
        forger.conf.update(task_serializer="pickle", accept_content=["pickle"], task_queues=[bound])
        forger.send_task(TASK, args=[Bomb(bomb)], queue=queue, ignore_result=True)
    assert publisher.publish("job_next")
    second = start()
    try:
        wait_for(lambda: "job_next" in lines())
        assert not bomb.exists()
        assert second.poll() is None
    finally:
        second.kill()
        second.wait()


def test_a_broker_that_is_away_is_no_error_of_who_submits(parcels):
    away = load_project(parcels.root, Settings(broker_url="redis://127.0.0.1:1/0"))
    assert not Publisher(away).publish("job_1")
