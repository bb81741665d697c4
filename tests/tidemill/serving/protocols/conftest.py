"""One small project behind a real HTTP server, for all protocols."""

import shutil

import pytest

from tests.tidemill.serving.http_server import listening
from tidemill.project import load_project
from tidemill.serving.runtime.replica.wiring import build_api


@pytest.fixture(scope="package")
def project(tmp_path_factory, served_template):
    root = shutil.copytree(served_template, tmp_path_factory.mktemp("protocols") / "project")
    # The first request for an explanation loads SHAP, which takes a while.
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("serve:\n", "serve:\n  timeout_seconds: 300\n"))
    return load_project(root)


@pytest.fixture(scope="package")
def url(project):
    with listening(build_api(project, "r1")) as address:
        yield address
