"""Many who look at a page cost one rendering; what is somebody's own stays theirs."""

import pytest
from starlette.testclient import TestClient

from tests.tidemill.dashboard.pages.test_fleet import alert, run
from tidemill.accounts.identities import Identity
from tidemill.dashboard.app import make_app
from tidemill.dashboard.door.identification import Identified
from tidemill.dashboard.live import shared_texts
from tidemill.dashboard.pages import fleet as fleet_page

PEOPLE = {
    "ada": Identity("person", "ada", {"parcels": frozenset({"viewer"})}),
    "bo": Identity("person", "<b>bo</b>", {"parcels": frozenset({"viewer"})}),
    "eve": Identity("person", "eve", {"parcels": frozenset({"operator"})}),
}


class ByHeader:
    def identify(self, request):
        name = request.headers["x-name"]
        return Identified(PEOPLE[name], csrf=f"token-of-{name}")


@pytest.fixture
def look(installation, monkeypatch):
    """Get a page as somebody; `look.made` counts how often the fleet was read."""
    monkeypatch.setattr(shared_texts, "_SECONDS", 60.0)
    made = []
    read = fleet_page._read
    monkeypatch.setattr(fleet_page, "_read", lambda *given: made.append(1) or read(*given))
    app = make_app(installation, ByHeader(), local_only=True)
    with TestClient(app, base_url="http://localhost") as client:

        def get(name, status=200):
            answer = client.get("/", headers={"X-Name": name})
            assert answer.status_code == status
            return answer

        get.made = made
        yield get


def test_people_of_one_role_share_a_page_and_keep_what_is_their_own(look):
    ada, bo = look("ada"), look("bo")
    assert len(look.made) == 1
    assert (">ada</a>" in ada.text, "token-of-ada" in ada.text) == (True, True)
    assert "&lt;b&gt;bo&lt;/b&gt;</a>" in bo.text
    assert not any(word in bo.text for word in ("ada", "<b>bo"))
    for answer in (ada, bo):
        nonce = answer.headers["content-security-policy"].partition("'nonce-")[2].partition("'")[0]
        assert answer.text.count(f'nonce="{nonce}"') == answer.text.count("nonce=") == 3
    look("eve")
    assert len(look.made) == 2, "another role, another page"


def test_a_change_is_seen_at_once(look, installation):
    assert "at risk" not in look("ada").text
    with installation.state.transaction() as session:
        session.add(run())
    with installation.state.transaction() as session:
        session.add(alert())
    assert "at risk" in look("bo").text


def test_a_role_that_is_taken_away_is_away_at_once(look, monkeypatch):
    look("ada")
    monkeypatch.setitem(PEOPLE, "ada", Identity("person", "ada"))
    assert "parcel-delay" not in look("ada", 403).text
