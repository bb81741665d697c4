from datetime import UTC, datetime

import pytest
from starlette.routing import Mount
from starlette.testclient import TestClient

from tests.tidemill.dashboard.kept_pages import USUAL, pages_with_kept_routes
from tests.warm_commands import command
from tidemill.accounts.sign_on.sign_on_providers import SignOn
from tidemill.clock import ReplayClock
from tidemill.dashboard import acting
from tidemill.dashboard import app as wiring
from tidemill.dashboard.app import make_app
from tidemill.dashboard.door import door
from tidemill.dashboard.door.identification import OpenIdentification
from tidemill.dashboard.installation import Installation, record_project
from tidemill.dashboard.live import shared_texts
from tidemill.dashboard.tracking_proxy.tracking_proxy import TrackingProxy
from tidemill.project import load_project
from tidemill.settings import Settings

NOW = datetime(2013, 7, 1, 12, tzinfo=UTC)
PARAMS = """
project: {name: parcels, model: parcel-delay}
dataset: {path: data/rows.parquet, label: late}
features: {from: request}
"""


_shared = []


@pytest.fixture(autouse=True)
def pages_made_once(monkeypatch):
    """Make what is behind the door once for all tests, and take back what a test leaves in it.

    Who needs other ways to log in, other pages or another MLflow gets an app of their own.
    """

    def make_pages(sign_on=None):
        as_usual = wiring.PAGES == USUAL and wiring.TrackingProxy is TrackingProxy
        if sign_on not in (None, SignOn()) or not as_usual:
            return pages_with_kept_routes(sign_on)
        if not _shared:
            pages = pages_with_kept_routes()
            _shared.append((pages, dict(pages.state._state), dict(pages.dependency_overrides)))
        pages, state, overrides = _shared[0]
        pages.state._state.clear()
        pages.state._state.update(state)
        pages.dependency_overrides = overrides
        for route in pages.routes:
            if isinstance(route, Mount) and isinstance(route.app, TrackingProxy):
                route.app._client = None  # it belongs to the loop of the test before
        return pages

    monkeypatch.setattr(wiring, "make_pages", make_pages)


@pytest.fixture(autouse=True)
def patient_pages(monkeypatch):
    """Let pages wait for what is computed beside them: machines of tests are slow."""
    monkeypatch.setattr(door, "PAGE_SECONDS", 60.0)
    monkeypatch.setattr(door, "PROGRAM_SECONDS", 60.0)


@pytest.fixture(autouse=True)
def pages_of_this_moment(monkeypatch):
    """Share no page: tests change files and clocks between two requests."""
    monkeypatch.setattr(shared_texts, "_SECONDS", 0.0)


@pytest.fixture(autouse=True)
def forked_acts(monkeypatch):
    """Fork the process that acts, which takes three seconds to import what it needs."""
    own = acting._command
    monkeypatch.setattr(acting, "_command", lambda project: command(*own(project)[1:]))


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
    made.records.close()


@pytest.fixture
def browser(installation):
    """A browser on this machine, where nobody has to log in."""
    app = make_app(installation, OpenIdentification(), local_only=True)
    with TestClient(app, base_url="http://localhost", follow_redirects=False) as client:
        yield client
