"""Every page with the records in PostgreSQL; and what happens when it is away, and back."""

import psycopg
import pytest

from tests.tidemill.dashboard.pages import test_hostile_texts as texts
from tests.tidemill.dashboard.pages.test_hostile_texts import hostile, pages  # noqa: F401 - a fixture
from tidemill.state import served_records

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(folder, postgres_url, monkeypatch):
    """The project keeps its records in PostgreSQL."""
    monkeypatch.setenv("TIDEMILL_STATE_URL", postgres_url)
    monkeypatch.setattr(served_records, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(texts, "ALL", "50 % of 'what', \"really\"? %s")  # it takes no zero bytes
    return folder


def test_every_page_is_shown(browser, hostile, installation):  # noqa: F811
    statuses = {path: browser.get(path).status_code for path in pages() if not path.endswith("/now")}
    assert {path: status for path, status in statuses.items() if status not in (200, 403, 404, 409)} == {}
    assert sum(status == 200 for status in statuses.values()) > 25, statuses
    twins = {path: browser.get(f"/api/v1{path}").status_code for path in statuses if path != "/"}
    assert {path: status for path, status in twins.items() if status >= 500} == {}
    assert installation.records._engine.pool.checkedin() == 1  # one connection served them all


def test_a_server_that_stops_is_said_to_and_works_again_when_it_is_back(browser, postgres_url):
    address, _, name = postgres_url.rpartition("/")

    def on_the_server(*statements):
        with psycopg.connect(f"{address}/postgres", autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    assert browser.get("/").status_code == 200
    on_the_server(end)
    assert browser.get("/").status_code == 200  # a broken connection is no reason to fail
    on_the_server(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false", end)
    page, twin = browser.get("/"), browser.get("/api/v1/fleet")
    assert (page.status_code, twin.json()["error"]["code"]) == (503, "state_error")
    assert "not currently accepting connections" in page.text
    assert "look whether PostgreSQL runs" in page.text
    assert browser.get("/login").status_code == 200
    on_the_server(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert browser.get("/").status_code == 200
