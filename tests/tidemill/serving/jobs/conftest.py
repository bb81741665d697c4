import threading

import pytest
import yaml
from fastapi.testclient import TestClient

from tidemill.project import load_project
from tidemill.serving.runtime.replica.wiring import build_api
from tidemill.serving.runtime.replica.worker_wiring import build_worker


@pytest.fixture
def project(served_parcels):
    path = served_parcels.root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["serve"]["jobs"] = {
        "enabled": True,
        "chunk_rows": 10,
        "max_instances": 50,
        "max_bytes": 300_000,
        "max_waiting": 5,
        "retry_seconds": 0.01,
    }
    path.write_text(yaml.safe_dump(params))
    return load_project(served_parcels.root)


@pytest.fixture
def api(project):
    with TestClient(build_api(project, "r1"), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def worker(project):
    return build_worker(project, "w1", threading.Event())
