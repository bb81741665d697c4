"""MLflow's server over a project in an oddly named folder reads and writes what lies in that folder."""

import os
import subprocess

import pytest
from mlflow import MlflowClient

from tests.conftest import free_port, wait_for_port
from tests.tidemill.training.small_project import make_project
from tidemill.serving.runtime import tracking_server
from tidemill.training.tracking.mlflow_tracking import connect, experiment_id
from tidemill.training.tracking.run_files import read_file, write_file

pytestmark = pytest.mark.engine

NAME = "what?now a%2Fb model [v2] x#y"


def test_it_serves_the_records_of_a_project_in_an_oddly_named_folder(tmp_path):
    (tmp_path / NAME).mkdir()
    project = make_project(tmp_path / NAME)
    client = connect(project)
    experiment = experiment_id(client, project)
    run = client.create_run(experiment).info.run_id
    write_file(client, run, "notes/a.txt", b"ours")
    port = free_port()
    environment = os.environ | tracking_server.environment()
    command = tracking_server.command(project, "127.0.0.1", port)
    server = subprocess.Popen(command, env=environment, cwd=project.root, stdout=subprocess.DEVNULL)
    try:
        wait_for_port(port, server, 90)
        served = MlflowClient(f"http://127.0.0.1:{port}")
        assert [one.info.run_id for one in served.search_runs([experiment])] == [run]
        assert read_file(served, run, "notes/a.txt") == b"ours"
        other = served.create_run(experiment).info.run_id
        served.log_text(other, "theirs", "notes/b.txt")
    finally:
        server.terminate()
        server.wait(30)
    assert read_file(connect(project), other, "notes/b.txt") == b"theirs"
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
