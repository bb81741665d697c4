import json

import pytest
from starlette.testclient import TestClient

from tidemill.accounts.audit import Act, append
from tidemill.accounts.identities import Identity
from tidemill.dashboard.app import make_app
from tidemill.dashboard.door.identification import Identified
from tidemill.state.tables import KnownProject

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def filled(installation):
    with installation.state.transaction() as session:
        session.add(
            KnownProject(model="other-model", name="other", root="/o", seen_at=installation.clock.now())
        )
        append(session, Act("ada", "promote", "version", "2", "parcel-delay", SCRIPT, {"note": SCRIPT}))
        append(session, Act("bob", "deploy", "version", "3", "other-model", "secret project"))
        append(session, Act("root", "create", "token", "k1"))
        for number in range(60):
            append(session, Act("policy:weekly", "start", "turn", f"turn_{number}", "parcel-delay"))
    return installation


def client_of(installation, **roles: str) -> TestClient:
    who = Identity("person", "eve", {name: frozenset({role}) for name, role in roles.items()})  # type: ignore[arg-type]

    class Fixed:
        def identify(self, request: object) -> Identified:
            return Identified(who, "csrf")

    app = make_app(installation, Fixed(), local_only=True)
    return TestClient(app, base_url="http://localhost", follow_redirects=False)


def seqs(client: TestClient, query: str = "") -> list[int]:
    return [one["seq"] for one in client.get(f"/api/v1/audit{query}").json()["entries"]]


def test_the_page_shows_the_latest_first_a_page_at_a_time(browser, filled):
    first = browser.get("/api/v1/audit").json()
    assert [one["seq"] for one in first["entries"]] == list(range(63, 13, -1))
    assert seqs(browser, f"?before={first['older']}") == list(range(13, 0, -1))
    assert "turn_59" in browser.get("/audit").text


def test_filters(browser, filled):
    assert seqs(browser, "?actor=ada") == [1]
    assert seqs(browser, "?action=deploy") == [2]
    assert seqs(browser, "?model=other-model") == [2]
    assert seqs(browser, "?to=2013-01-01") == []
    assert seqs(browser, "?to=9999-12-31") == seqs(browser, "")
    assert seqs(browser, "?from=2013-01-01&actor=root") == [3]
    assert "show all" in browser.get("/audit?actor=nobody").text
    assert browser.get("/api/v1/audit?from=soon").status_code == 422
    assert browser.get("/audit?model=none").status_code == 404


def test_who_was_added_is_named_and_not_only_numbered(browser, installation):
    with installation.state.transaction() as session:
        append(session, Act("root", "add", "people", "user_01", None, None, {"name": "bob"}))
    page = browser.get("/audit").text
    assert "people bob <small><code>user_01</code></small>" in page


def test_what_people_wrote_is_escaped(browser, filled):
    text = browser.get("/audit?actor=ada").text
    assert SCRIPT not in text
    assert "&lt;script&gt;" in text


def test_an_operator_of_one_project_sees_that_one(filled):
    client = client_of(filled, parcels="operator")
    assert seqs(client, "?actor=ada") == [1]
    assert seqs(client, "?actor=bob") == []
    assert seqs(client, "?actor=root") == []
    assert client.get("/audit?model=other-model").status_code == 404
    exported = client.get("/audit/export").text
    assert "secret project" not in exported
    assert "k1" not in exported
    assert len(exported.splitlines()) == 61


def test_a_role_that_may_not_read_audits_is_refused(filled):
    client = client_of(filled, parcels="ml-engineer", other="operator")
    assert client.get("/audit?model=parcel-delay").status_code == 403
    assert seqs(client) == [2]
    only = client_of(filled, parcels="ml-engineer")
    assert only.get("/audit").status_code == 403
    assert only.get("/audit/export").status_code == 403
    assert only.get("/api/v1/audit").status_code == 403


def test_the_export_takes_the_same_choice(browser, filled):
    answer = browser.get("/audit/export?format=jsonl&actor=ada")
    assert [json.loads(line)["seq"] for line in answer.text.splitlines()] == [1]
    assert answer.headers["content-disposition"] == 'attachment; filename="audit.jsonl"'
    assert browser.get("/audit/export?format=csv&actor=bob").text.splitlines()[1].startswith("1,2,")
    assert browser.get("/audit/export?format=xml").status_code == 422


def test_acts_of_a_request_say_where_it_came_from(browser, installation):
    csrf = browser.get("/").text.partition('name="csrf" content="')[2].partition('"')[0]
    sent = {"kind": "data_drift", "until": "8h", "reason": "we know"}
    answer = browser.post("/api/v1/models/parcel-delay/silences", json=sent, headers={"x-csrf-token": csrf})
    assert answer.status_code == 200, answer.text
    [entry] = browser.get("/api/v1/audit").json()["entries"]
    assert (entry["action"], entry["actor_kind"], entry["address"]) == ("silence", "open", "testclient")
