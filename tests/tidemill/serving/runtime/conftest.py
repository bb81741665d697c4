"""The stack that the tests of several modules share."""

import sys

import pytest

from tests.tidemill.serving.runtime.own_stacks import copy_of
from tidemill.serving.runtime.daemon import down, up
from tidemill.serving.runtime.local_stack import status
from tidemill.serving.runtime.network import free_port

COUNTER = (
    "import os, time; print(os.getpid(), os.environ['TIDEMILL_RAY_ADDRESS'], flush=True); time.sleep(600)"
)


@pytest.fixture(scope="package")
def project(tmp_path_factory, served_template):
    folder = tmp_path_factory.mktemp("up") / "project"
    return copy_of(served_template, folder, serve_port=free_port(), dashboard_port=free_port())


@pytest.fixture(scope="package")
def stack(project):
    told = []
    dashboard = [sys.executable, "-m", "tidemill.dashboard.server", "--project", str(project.root)]
    counter = [sys.executable, "-c", COUNTER]
    info = up(project, told.append, companions={"counter": counter, "dashboard": dashboard})
    assert told[-1] == "ready"
    yield info
    if status(project):
        down(project)
