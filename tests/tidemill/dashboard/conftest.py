from datetime import UTC, datetime

import pytest
from starlette.testclient import TestClient

from tidemill.clock import ReplayClock
from tidemill.dashboard.app import make_app
from tidemill.dashboard.door.identification import OpenIdentification
from tidemill.dashboard.installation import Installation, record_project
from tidemill.project import load_project
from tidemill.settings import Settings

NOW = datetime(2013, 7, 1, 12, tzinfo=UTC)
PARAMS = """
project: {name: parcels, model: parcel-delay}
dataset: {path: data/rows.parquet, label: late}
features: {from: request}
"""


@pytest.fixture
def folder(tmp_path):
    """A project's folder without data: its records are what the pages show."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "features.yaml").write_text("features: {weight: {type: float}}\n")
    return tmp_path


@pytest.fixture
def installation(folder):
    """An installation that shows one project."""
    made = Installation(load_project(folder, Settings()), clock=ReplayClock(NOW))
    record_project(made.state, made.home, NOW)
    yield made
    made.state.close()


@pytest.fixture
def browser(installation):
    """A browser on this machine, where nobody has to log in."""
    app = make_app(installation, OpenIdentification(), local_only=True)
    with TestClient(app, base_url="http://localhost", follow_redirects=False) as client:
        yield client
