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
    return copy_of(served_template, tmp_path_factory.mktemp("up") / "project", serve_port=free_port())


@pytest.fixture(scope="package")
def stack(project):
    told = []
    info = up(project, told.append, companions={"counter": [sys.executable, "-c", COUNTER]})
    assert told[-1] == "ready"
    yield info
    if status(project):
        down(project)
