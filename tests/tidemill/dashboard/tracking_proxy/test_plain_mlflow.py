"""What plain scripts do with MLflow works through the door, against a real server."""

import os
import subprocess
import time
from datetime import UTC, datetime

import httpx
import pytest

from tests.tidemill.dashboard.conftest import PARAMS
from tests.warm_commands import command
from tidemill.accounts.api_keys import create_key
from tidemill.accounts.auditing.audit_reading import AuditFilter, all_entries
from tidemill.project import load_project
from tidemill.serving.runtime.network import free_port
from tidemill.settings import Settings
from tidemill.state import open_state
from tidemill.state.record_reader import Records

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

SCRIPT = """
import sys, mlflow
from mlflow.exceptions import MlflowException
mlflow.set_experiment("by hand")
with mlflow.start_run() as run:
    mlflow.log_param("depth", 3)
    mlflow.log_metric("auc", 0.75)
    mlflow.log_text("kept", "notes/a b.txt")
client = mlflow.MlflowClient()
print(client.get_run(run.info.run_id).data.metrics)
print([one.path for one in client.list_artifacts(run.info.run_id, "notes")])
client.create_registered_model("parcel-delay")
made = client.create_model_version("parcel-delay", run.info.artifact_uri + "/notes", run.info.run_id)
print("version", made.version, made.source == run.info.artifact_uri + "/notes")
try:
    client.create_experiment("elsewhere", artifact_location="/etc")
except MlflowException as error:
    print(error)
print(run.info.run_id)
"""


@pytest.fixture(scope="module")
def addresses(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    (folder / "params.yaml").write_text(PARAMS)
    (folder / "features.yaml").write_text("features: {weight: {type: float}}\n")
    tracking, door = free_port(), free_port()
    urls = f"http://127.0.0.1:{tracking}", f"http://127.0.0.1:{door}"
    server = [f"sqlite:///{folder}/mlflow.db", (folder / "artifacts").as_uri(), "127.0.0.1", str(tracking)]
    face = ["--project", str(folder), "--port", str(door), "--mlflow", urls[0]]
    quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    running = [
        subprocess.Popen(command("-m", module, *arguments), env=quiet, cwd=folder)
        for module, arguments in [
            ("tidemill.serving.runtime.tracking_server", server),
            ("tidemill.dashboard.server", face),
        ]
    ]
    try:
        for url, path in zip(urls, ("/health", "/healthz"), strict=True):
            wait_until_it_answers(url + path)
        state = open_state(load_project(folder, Settings()).state_url)
        roles = {"parcels": ["data-scientist"]}
        new = create_key(state, name="script", scopes=(), roles=roles, actor="ada", now=datetime.now(UTC))
        state.close()
        yield *urls, new.secret.get_secret_value(), folder
    finally:
        for process in running:
            process.terminate()
            process.wait(20)


def wait_until_it_answers(address):
    deadline = time.monotonic() + 60
    while True:
        try:
            if httpx.get(address, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass  # not up yet
        assert time.monotonic() < deadline, address
        time.sleep(0.1)


def test_a_script_records_a_run_through_the_door(addresses, tmp_path):
    tracking, door, token, folder = addresses
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"{door}/mlflow",
        "MLFLOW_TRACKING_TOKEN": token,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    done = subprocess.run(
        command("-c", SCRIPT),
        env=environment,
        cwd=tmp_path,  # this checkout is a project, whose runs leave what they are made from in it
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "{'auc': 0.75}" in lines
    assert "['notes/a b.txt']" in lines
    assert any("kept where the server keeps them" in line for line in lines)
    assert "version 1 True" in lines
    on_record = list(all_entries(Records(load_project(folder, Settings()).state_url), AuditFilter()))
    assert [one.resource_id for one in on_record if one.action == "register"] == ["1"]
    run_id = next(line for line in reversed(lines) if len(line) == 32)
    direct = httpx.get(f"{tracking}/api/2.0/mlflow/runs/get?run_id={run_id}", trust_env=False).json()
    assert direct["run"]["data"]["params"] == [{"key": "depth", "value": "3"}]


def test_its_pages_and_an_artifact_come_through_the_door(addresses):
    _, door, *_ = addresses
    with httpx.Client(base_url=f"{door}/mlflow/", trust_env=False) as client:
        page = client.get("")
        assert "<title>MLflow</title>" in page.text
        script = page.text.partition('src="')[2].partition('"')[0]
        found = client.get(script)
        assert found.status_code == 200
        assert len(found.content) > 100_000
        [run] = client.post("ajax-api/2.0/mlflow/runs/search", json={"experiment_ids": ["1"]}).json()["runs"]
        file = client.get("get-artifact", params={"run_id": run["info"]["run_id"], "path": "notes/a b.txt"})
        assert file.text == "kept"
        assert file.headers["content-disposition"].startswith("attachment")
