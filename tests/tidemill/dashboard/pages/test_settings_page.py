import socket

import pytest
from starlette.testclient import TestClient

from tidemill.accounts.identities import Identity
from tidemill.clock import ReplayClock
from tidemill.dashboard.app import make_app
from tidemill.dashboard.door.identification import Identified
from tidemill.dashboard.installation import Installation, record_project
from tidemill.project import load_project
from tidemill.settings import Settings

SECRET = "a-password-that-nobody-may-see"


class Known:
    def __init__(self, identity):
        self._identity = identity

    def identify(self, request):
        return Identified(self._identity, None)


@pytest.fixture
def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture
def page_of(folder, installation, closed_port):
    """What an identity sees of an installation whose broker does not answer and whose collector does."""
    with socket.create_server(("127.0.0.1", 0)) as collector:
        settings = Settings(
            broker_url=f"redis://:{SECRET}@127.0.0.1:{closed_port}/0",
            ray_address=f"127.0.0.1:{collector.getsockname()[1]}",
            otlp_endpoint=f"http://ada:{SECRET}@127.0.0.1:{collector.getsockname()[1]}?key={SECRET}",
        )
        made = Installation(load_project(folder, settings), clock=ReplayClock(installation.clock.now()))
        record_project(made.state, made.home, made.clock.now())

        def ask(roles, address="/settings"):
            app = make_app(made, Known(Identity("token", "token:ada", roles)), local_only=True)
            with TestClient(app, base_url="http://localhost") as client:
                return client.get(address)

        yield ask
        made.state.close()


def test_what_does_not_answer_is_said_with_what_to_do_and_no_secret(page_of):
    admin = {"*": frozenset({"admin"})}
    page = page_of(admin)
    assert page.status_code == 200, page.text
    assert SECRET not in page.text
    found = {one["name"]: one for one in page_of(admin, "/api/v1/settings").json()["backends"]}
    assert found["The broker of jobs"]["state"] == "failed"
    assert "TIDEMILL_BROKER_URL" in page.text
    assert found["The collector of traces"]["state"] == "ok"
    assert found["The Ray cluster"]["state"] == "ok"
    assert found["The records"]["state"] == "ok"
    assert found["MLflow's store"]["state"] == "failed"  # nothing was trained yet


def test_who_may_not_operate_sees_no_address(page_of, folder):
    page = page_of({"parcels": frozenset({"viewer"})})
    assert page.status_code == 200
    assert str(folder) not in page.text
    assert "127.0.0.1" not in page.text
    assert "365 days" in page.text
    assert page_of({"others": frozenset({"viewer"})}).status_code == 403
