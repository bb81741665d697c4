"""The whole stack, for real: it starts, swaps models under load, and leaves nothing, however it ends."""

import os
import signal
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from tests.named_processes import named_processes
from tests.tidemill.serving.runtime.own_stacks import copy_of, end_by_ctrl_c, in_foreground, wait_for
from tests.tidemill.serving.small_project import KNOWN, add_version, crown
from tests.warm_commands import command
from tidemill.errors import PortTaken, ServingError, StackNotRunning
from tidemill.orphan_reaper import marked_processes
from tidemill.prediction_log.prediction_log import count_log, read_predictions
from tidemill.registry.deployments import DeployRequest, deploy
from tidemill.registry.deployments import stop as stop_lanes
from tidemill.serving.http.client import Label, PredictionClient
from tidemill.serving.runtime.bind_policy import listeners
from tidemill.serving.runtime.daemon import down, up
from tidemill.serving.runtime.local_stack import status
from tidemill.serving.runtime.network import is_free
from tidemill.serving.runtime.stack_record import read
from tidemill.state import open_state
from tidemill.state.tables import ReplicaState

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

NEIGHBOUR = """
import sys
from pathlib import Path
from tidemill.project import load_project
from tidemill.serving.runtime.local_stack import attach
from tidemill.training.ray_session import ray_session
import ray

project = attach(load_project(Path(sys.argv[1])))
with ray_session(project):
    print(project.settings.ray_address, ray.get(ray.remote(lambda: 6 * 7).remote()))
"""


def test_it_answers_on_the_port_that_was_asked_for(project, stack):
    assert status(project) == stack
    assert stack.url == f"http://127.0.0.1:{project.settings.serve_port}"
    with PredictionClient(stack.url) as client:
        answer = client.predict([{"depot": "north"}], at=KNOWN)
        assert answer.predictions[0].probability == pytest.approx(0.2)
        assert client.feedback([Label(answer.predictions[0].prediction_id, 1, KNOWN)]) == 1
        with pytest.raises(ServingError, match="422 row 0, depot: "):
            client.predict([{"depot": 5}])
    assert count_log(project.predictions, project.model).labels == 1


def test_the_dashboard_answers_where_it_was_asked_for_and_is_light(project, stack):
    port = project.settings.dashboard_port
    assert stack.dashboard_url == f"http://127.0.0.1:{port}"
    page = httpx.get(stack.dashboard_url, trust_env=False)
    assert page.status_code == 200
    assert project.model in page.text
    [listener] = [one for one in listeners(stack) if one.port == port]
    assert (listener.purpose, listener.meant) == ("the dashboard", True)
    assert psutil.Process(listener.pid).memory_info().rss < 450e6  # with MLflow, which is read ahead


def test_everything_listens_on_loopback_only(stack):
    listening = [
        (process.name(), connection.laddr.ip)
        for process in marked_processes(stack.mark)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 10
    assert {ip.removeprefix("::ffff:") for _, ip in listening} == {"127.0.0.1"}


def test_a_replica_of_a_compiled_model_needs_no_scikit_learn_and_goes_before_the_dashboard(stack):
    (replica,) = named_processes(stack.mark, "ServeReplica:tidemill:predictions")
    loaded = " ".join(one.path for one in replica.memory_maps())
    assert "/onnxruntime/" in loaded
    assert "/sklearn/" not in loaded
    (dashboard,) = [
        one for one in marked_processes(stack.mark) if "tidemill.dashboard.server" in one.cmdline()
    ]
    assert replica.nice() < dashboard.nice()


def test_mlflows_server_shows_the_projects_versions(project, stack):
    from mlflow import MlflowClient

    versions = MlflowClient(stack.mlflow_url).search_model_versions(f"name = '{project.model}'")
    assert {str(version.version) for version in versions} >= {"1", "2"}


def test_a_second_one_is_refused_and_a_taken_port_is_named(project, stack, tmp_path, served_template):
    with pytest.raises(ServingError, match=stack.url):
        up(project)
    other = copy_of(served_template, tmp_path / "other", serve_port=project.settings.serve_port)
    with pytest.raises(PortTaken, match=str(project.settings.serve_port)):
        up(other)
    assert read(other) is None


def test_models_are_swapped_under_load_without_a_failed_request(project, stack):
    broken = add_version(project, 0.5, features=("wind", "snow"))
    answers, errors, stop = [], [], threading.Event()  # a counter would lose some between the threads
    client, state = PredictionClient(stack.url, connections=33), open_state(project.state_url)

    def ask(_):
        while not stop.is_set():
            try:
                answer = client.predict([{"depot": "north"}], at=KNOWN, test=True)
                probability = {"1": 0.2, "2": 0.8}[answer.model_version]
                assert answer.predictions[0].probability == pytest.approx(probability)
                answers.append(answer.model_version)
            except (ServingError, AssertionError, KeyError) as error:
                errors.append(error)
            stop.wait(0.05)  # the machine has other things to do

    before = read_predictions(
        project.predictions, project.model, KNOWN, KNOWN.replace(year=2014), True
    ).height
    with ThreadPoolExecutor(32) as pool:
        tasks = pool.map(ask, range(32))
        try:
            for version in ("2", "1", broken, "2"):
                crown(project, version)
                if version == broken:
                    wait_for(lambda: "snow" in (client.model().error or ""))
                else:
                    wait_for(lambda version=version: client.served_version() == version)
                time.sleep(1)
            for kind, share in (("shadow", 1.0), ("canary", 0.3), ("canary", 1.0)):  # beside champion 2
                deploy(project, state, DeployRequest(kind, "1", share, "ada", "to see"), KNOWN)
                told = (kind, share, True)
                wait_for(
                    lambda told=told: (
                        told in [(one.role, one.share, one.loaded) for one in client.model().lanes]
                    )
                )
                time.sleep(0.5)
            assert client.predict([{"depot": "north"}], at=KNOWN, test=True).model_version == "1"
            answers.append("1")
            stop_lanes(project, state, [], "enough", "ada")
            wait_for(lambda: client.model().lanes == [])
        finally:
            stop.set()  # or the threads would outlive what went wrong
        list(tasks)
    client.close()
    state.close()
    assert errors == []
    assert min(Counter(answers).values()) > 20
    logged = read_predictions(project.predictions, project.model, KNOWN, KNOWN.replace(year=2014), True)
    assert logged.height - before == len(answers)
    with open_state(project.state_url).transaction() as session:
        assert {(one.version, one.error) for one in session.query(ReplicaState)} == {("2", None)}


@pytest.mark.parametrize("how", ["attached", "companion"])
def test_other_processes_work_on_the_stacks_ray(project, stack, how):
    from tidemill.serving.runtime.ray_cluster import join_variables

    told = {"TIDEMILL_RAY_ADDRESS": stack.ray_address, **join_variables()} if how == "companion" else {}
    done = subprocess.run(
        command("-c", NEIGHBOUR, project.root),
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.split() == [stack.ray_address, "42"], done.stderr


def test_a_companion_that_dies_is_started_again(project, stack):
    log = project.logs / "counter.log"
    first = log.read_text().splitlines()
    assert first[-1].split()[1] == stack.ray_address
    os.kill(int(first[-1].split()[0]), signal.SIGKILL)
    wait_for(lambda: len(log.read_text().splitlines()) == len(first) + 1)


def test_ctrl_c_leaves_nothing_while_ray_starts(tmp_path, served_template):
    project = copy_of(served_template, tmp_path / "project")
    with in_foreground(project) as (process, wait_until):
        wait_until("starting Ray and Ray Serve")
        time.sleep(3)
        end_by_ctrl_c(project, process)


def test_down_leaves_nothing(project, stack):
    folders = {
        part
        for process in marked_processes(stack.mark)
        for part in process.cmdline()
        if part.startswith("--log_dir=/tmp/tidemill-")
    }
    assert down(project) == stack
    assert status(project) is None
    assert marked_processes(stack.mark) == []
    assert is_free(project.settings.serve_port, "127.0.0.1")
    with PredictionClient(stack.url) as client, pytest.raises(ServingError, match="ConnectError"):
        client.model()
    assert folders
    assert not any(Path(*Path(folder.removeprefix("--log_dir=")).parts[:3]).exists() for folder in folders)
    with pytest.raises(StackNotRunning):
        down(project)


def test_a_stack_that_cannot_start_says_why_and_leaves_nothing(tmp_path, template):
    project = copy_of(template, tmp_path / "project")
    elsewhere = (
        f"import os\nif os.getpid() != {os.getpid()}:\n    raise ImportError('a library is missing')\n"
    )
    application = project.root / "parcels_app.py"
    application.write_text(elsewhere + application.read_text())
    with pytest.raises(ServingError, match="a library is missing") as refused:
        up(project)
    assert "__main__" not in str(refused.value)
    assert status(project) is None
    assert read(project) is None
