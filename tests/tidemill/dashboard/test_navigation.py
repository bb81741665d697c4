import re
from dataclasses import dataclass

import pytest

from tests.tidemill.dashboard.test_door import client_of
from tidemill.accounts.identities import Identity
from tidemill.dashboard import app as wiring
from tidemill.dashboard.installation import Installation
from tidemill.dashboard.navigation import MAIN, OF_A_MODEL, OF_SETTINGS
from tidemill.dashboard.page import add_page
from tidemill.dashboard.visit import Here
from tidemill.state.tables import KnownProject


@dataclass(frozen=True)
class Empty:
    """A page with nothing on it."""

    models: tuple[str, ...] = ()


def in_general(visit: Here) -> Empty:
    return Empty()


def of_a_model(visit: Here, model: str) -> Empty:
    visit.project(model)
    return Empty()


def of_an_alert(visit: Here, model: str, alert_id: str) -> Empty:
    visit.project(model)
    return Empty()


@pytest.fixture
def pages(monkeypatch):
    """Empty pages at the addresses that the navigation knows, and one below them."""
    needs = {"/people": ("read", "people"), "/models/{model}/predictions": ("read", "prediction")}

    def add_to(app):
        known = {route.path for route in app.routes}
        for label, path in (*MAIN, *OF_A_MODEL, *OF_SETTINGS):
            if path not in known:
                known.add(path)
                view = of_a_model if "{model}" in path else in_general
                need = needs.get(path, ("read", "model"))
                add_page(app, path, view, template="fleet.html", needs=need, title=label)
        if "/models/{model}/alerts/{alert_id}" not in known:
            path = "/models/{model}/alerts/{alert_id}"
            add_page(
                app, path, of_an_alert, template="fleet.html", needs=("read", "alert"), title="One alert"
            )

    monkeypatch.setattr(wiring, "PAGES", (wiring.fleet.add_to, add_to))


VIEWER = Identity("person", "ada", {"parcels": frozenset({"viewer"})})
ADMIN = Identity("person", "root", {"*": frozenset({"admin"})})


def navigation(text, label):
    found = re.search(rf'<nav[^>]*aria-label="{label}">(.*?)</nav>', text, re.DOTALL)
    return re.findall(r'<a href="([^"]*)"', found[1]) if found else []


def test_what_a_visitor_may_not_see_is_not_in_the_navigation(installation, pages):
    with client_of(installation, VIEWER) as ada, client_of(installation, ADMIN) as root:
        for client, more in ((ada, 0), (root, 1)):
            page = client.get("/models/parcel-delay").text
            shown = navigation(page, "Model parcel-delay")
            assert ("/models/parcel-delay/predictions" in shown) == bool(more)
            assert len(shown) == len(OF_A_MODEL) - 1 + more
            assert navigation(page, "Main") == ["/", "/alerts", "/serving", "/settings"]
            assert ("/people" in navigation(client.get("/settings").text, "Settings")) == bool(more)


def test_a_page_that_does_not_exist_is_not_in_the_navigation(installation, monkeypatch):
    monkeypatch.setattr(wiring, "PAGES", (wiring.fleet.add_to,))
    with client_of(installation, ADMIN) as client:
        page = client.get("/").text
        assert navigation(page, "Main") == ["/"]
        assert "root" in page
        assert 'action="/logout"' in page


def test_a_page_says_where_it_is_and_what_is_above_it(installation, pages):
    with client_of(installation, VIEWER) as client:
        page = client.get("/models/parcel-delay/alerts/al_1?page=2").text
    assert navigation(page, "Above this page") == ["/", "/models/parcel-delay", "/models/parcel-delay/alerts"]
    assert re.findall(r'<a href="([^"]*)" aria-current="true">', page) == ["/models/parcel-delay/alerts"]
    assert 'href="/api/v1/models/parcel-delay/alerts/al_1?page=2"' in page


def test_the_frame_stands_when_the_records_are_away(installation, pages, folder):
    with client_of(installation, ADMIN) as client:
        assert client.get("/alerts").status_code == 200
        installation.state.close()
        installation.records.close()  # what is in its memory is whole
        (folder / ".tidemill" / "state.db").write_bytes(b"no database at all" * 100)
        answer = client.get("/alerts")
    assert answer.status_code >= 500
    assert "cannot be read" in answer.text
    assert navigation(answer.text, "Main") == ["/"]


def test_mlflows_pages_are_led_to_by_those_who_may_see_them(installation, pages):
    shown = Installation(installation.home, clock=installation.clock, mlflow_url="http://127.0.0.1:9")
    other = Identity("person", "bob", {"other": frozenset({"admin"})})
    with installation.state.transaction() as session:
        session.add(KnownProject(model="m", name="other", root="/x", seen_at=installation.clock.now()))
    for identity, expected in ((VIEWER, True), (other, False)):
        with client_of(shown, identity) as client:
            assert ("/mlflow/" in navigation(client.get("/").text, "Main")) is expected
    with client_of(installation, VIEWER) as client:
        assert "/mlflow/" not in navigation(client.get("/").text, "Main")


def test_a_hidden_model_has_no_navigation(installation, pages):
    with client_of(installation, VIEWER) as client:
        answer = client.get("/models/other-team")
    assert answer.status_code == 404
    assert navigation(answer.text, "Model other-team") == []
