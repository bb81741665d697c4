"""A real stack that is autoscaled: a replica comes with the load and goes with it, and no request notices."""

import os
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import yaml

from tests.tidemill.serving.runtime.own_stacks import wait_for
from tests.tidemill.serving.small_project import KNOWN
from tidemill.errors import ServingError, StackNotRunning
from tidemill.orphan_reaper import marked_processes
from tidemill.prediction_log.prediction_log import read_predictions
from tidemill.project import load_project
from tidemill.serving.http.client import PredictionClient
from tidemill.serving.observability.version_counters import read_counts
from tidemill.serving.runtime.daemon import down, up
from tidemill.serving.runtime.local_stack import status
from tidemill.serving.runtime.stack_record import read
from tidemill.settings import Settings
from tidemill.state import open_state
from tidemill.state.tables import ReplicaState

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

SCALING = {
    "min": 1,
    "max": 2,
    "target_ongoing_requests": 3.0,
    "upscale_seconds": 1.0,
    "downscale_seconds": 1.0,
}
MANY, FEW = 6, 2  # clients, on either side of the target: each has one request under way, always
SLOW = """

import time
from dataclasses import replace

application = replace(application, decide=lambda parcel, probability: time.sleep(0.1) or {})
"""


class Load:
    """Clients that ask one request after the other, and how they fared."""

    def __init__(self, url):
        self.clients, self.answered, self.errors = MANY, [], []
        self._url, self._stop = url, threading.Event()

    @contextmanager
    def running(self):
        with ThreadPoolExecutor(MANY) as pool:
            tasks = pool.map(self._ask, range(MANY))
            try:
                yield self
            finally:
                self._stop.set()
                list(tasks)

    def _ask(self, number):
        with PredictionClient(self._url, timeout=60.0) as client:
            while not self._stop.is_set():
                if number >= self.clients:
                    time.sleep(0.05)
                    continue
                try:
                    answer = client.predict([{"depot": "north"}], at=KNOWN, test=True)
                    self.answered.append(answer.predictions[0].prediction_id)
                except ServingError as error:
                    self.errors.append(str(error))


@pytest.fixture
def scaled(tmp_path, served_template):
    root = shutil.copytree(served_template, tmp_path / "project")
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["serve"] |= {"autoscaling": SCALING, "batch": {"loop_rows": 0}}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    with (root / "parcels_app.py").open("a") as file:
        file.write(SLOW)
    project = load_project(root, Settings(num_cpus=2))
    yield project
    if status(project):
        down(project)


def test_a_replica_comes_and_goes_beside_another_stack_and_all_vanish_with_their_owner(scaled, stack):
    info = up(scaled)
    _comes_and_goes_and_no_request_fails(scaled, info)
    for one in (stack, info):
        with PredictionClient(one.url) as client:
            client.predict([{"depot": "north"}], at=KNOWN)
    assert {"gcs_server", "raylet", "ray::ProxyActor"} <= {one.name() for one in marked_processes(info.mark)}

    os.kill(info.pid, signal.SIGKILL)

    wait_for(lambda: status(scaled) is None)
    wait_for(lambda: not marked_processes(info.mark))
    with pytest.raises(StackNotRunning):
        down(scaled)
    assert read(scaled) is None
    with PredictionClient(stack.url) as client:
        client.predict([{"depot": "north"}], at=KNOWN)


def _comes_and_goes_and_no_request_fails(project, info):
    state = open_state(project.state_url)

    def logged():
        return read_predictions(project.predictions, project.model, KNOWN, KNOWN.replace(year=2014), True)

    def on_record():
        with state.transaction() as session:
            return {one.id for one in session.query(ReplicaState)}

    with Load(info.url).running() as load:
        patient = {"seconds": 240.0, "every": 0.5}
        wait_for(lambda: len(on_record()) == 2, **patient)
        wait_for(lambda: len(set(logged()["replica"])) == 2, **patient)
        first = on_record()
        assert first == set(logged()["replica"])
        load.clients = FEW
        wait_for(lambda: len(on_record()) == 1, **patient)
        before = len(load.answered)
        # Also by connections that the other one had.
        wait_for(lambda: len(load.answered) > before + 20, **patient)
    assert load.errors == []
    assert on_record() < first
    assert sorted(logged()["prediction_id"]) == sorted(load.answered)
    assert set(logged()["replica"]) == first
    # What the one that went had counted is there to the last row, and its metrics are gone.
    wait_for(lambda: read_counts(state, project.model)["champion", "1"].answered == logged().height)
    wait_for(lambda: len(list((project.home / "metrics").rglob("*.json"))) == 1)
    state.close()
