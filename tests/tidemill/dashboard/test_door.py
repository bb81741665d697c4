import asyncio
import re

import pytest
from starlette.testclient import TestClient

from tidemill.accounts.identities import Identity
from tidemill.accounts.roles import TABLE
from tidemill.dashboard.app import make_app, make_pages
from tidemill.dashboard.door import door
from tidemill.dashboard.door.identification import Identified
from tidemill.dashboard.error_pages import API
from tidemill.dashboard.page import permissions
from tidemill.state.tables import KnownProject


class Somebody:
    """Everybody is this identity."""

    def __init__(self, identity):
        self.identity = identity

    def identify(self, request):
        return Identified(self.identity, csrf=None)


def client_of(installation, identity):
    return TestClient(
        make_app(installation, Somebody(identity), local_only=True),
        base_url="http://localhost",
        follow_redirects=False,
    )


def test_a_page_carries_no_script_or_style_of_its_own_and_strict_headers(browser):
    answer = browser.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert not re.search(r"\son\w+=|<style|style=|javascript:", answer.text)


def test_what_can_be_read_can_be_asked_for_its_headers(browser):
    for path in ("/", f"{API}/fleet", "/healthz"):
        asked, read = browser.head(path), browser.get(path)
        assert (asked.status_code, asked.headers["content-type"]) == (200, read.headers["content-type"])
    assert browser.head("/no/such/page").status_code == 404


def test_a_name_that_only_leads_here_is_refused(browser):
    answer = browser.get("/", headers={"Host": "rebound.example"})
    assert answer.status_code == 421
    assert "names of its own machine" in answer.text


def test_every_route_says_what_it_needs_and_the_table_knows_it():
    app = make_pages()
    needed = permissions(app)
    free = {"/mlflow", "/static", "/healthz", "/login", "/logout", f"{API}/openapi.json"}
    for route in app.routes:
        path = route.path.removeprefix(API) if route.path not in free else route.path
        if route.path in free or route.path.startswith("/login/oidc/"):  # how one logs in
            continue
        path = "/" if path == "/fleet" else path
        found = [needed.get(path), needed.get(f"POST {path}")]
        assert any(found), f"{route.path} can be reached without a permission"
    for action, resource in needed.values():
        assert action in TABLE[resource], (action, resource)


def test_nobody_is_sent_to_the_log_in_and_a_program_is_told(installation):
    with client_of(installation, None) as client:
        page, twin = client.get("/?sort=name"), client.get(f"{API}/fleet")
        assert (page.status_code, page.headers["location"]) == (303, "/login?next=%2F%3Fsort%3Dname")
        assert twin.status_code == 401
        assert twin.json()["error"]["code"] == "not_logged_in"


def test_a_project_without_a_role_does_not_exist(installation):
    with installation.state.transaction() as session:
        session.add(KnownProject(model="other", name="secret", root="/x", seen_at=installation.clock.now()))
    viewer = Identity("person", "ada", {"parcels": frozenset({"viewer"})})
    with client_of(installation, viewer) as client:
        assert [one["model"] for one in client.get(f"{API}/fleet").json()["models"]] == ["parcel-delay"]
    with client_of(installation, Identity("person", "bob", {})) as client:
        assert client.get(f"{API}/fleet").status_code == 403


@pytest.mark.parametrize("path", ["/nothing-here", f"{API}/nothing-here"])
def test_an_address_that_leads_nowhere_is_not_found(browser, path):
    answer = browser.get(path)
    assert answer.status_code == 404
    assert "there is no such page" in answer.text


def test_a_body_that_is_too_large_is_refused_before_anything_reads_it(browser):
    answer = browser.post(f"{API}/nothing", content=b"x" * 1_000_001, headers={"X-CSRF-Token": "1"})
    assert answer.status_code == 413


def test_headers_that_are_too_large_are_refused_in_words(browser):
    page = browser.get("/", headers={"Cookie": f"a={'x' * 100_000}"})
    assert (page.status_code, "delete the cookies" in page.text) == (431, True)
    twin = browser.get(f"{API}/fleet", headers={"X-Large": "x" * 100_000})
    assert (twin.status_code, twin.json()["error"]["code"]) == (431, "headers_too_large")


def test_a_body_that_does_not_come_is_not_waited_for(installation, monkeypatch):
    monkeypatch.setattr(door, "_BODY_SECONDS", 0.05)
    sent = []

    async def receive():
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": f"{API}/nothing", "raw_path": b"/", "query_string": b"",
        "headers": [(b"host", b"localhost")], "scheme": "http", "server": ("localhost", 80),
    }  # fmt: skip
    asyncio.run(make_app(installation, Somebody(None), local_only=True)(scope, receive, send))
    assert sent[0]["status"] == 401  # who may not come in is not waited for at all
    sent.clear()
    admin = Identity("person", "ada", {"*": frozenset({"admin"})})
    asyncio.run(make_app(installation, Somebody(admin), local_only=True)(scope, receive, send))
    assert (sent[0]["status"], b"did not come in" in sent[1]["body"]) == (408, True)


def test_a_host_that_is_no_name_of_this_machine_is_refused_whatever_it_is(browser):
    for host in ("[", "[::1", "evil.example", "", "localhost.", "localhost.evil.example"):
        assert browser.get("/healthz", headers={"Host": host}).status_code == 421, host
    assert browser.get("/healthz", headers={"Host": "localhost:4300"}).status_code == 200


def test_an_origin_that_is_not_ours_is_refused_whatever_it_is(browser):
    for origin in ("http://[", "null", "", "http://localhost.evil.example", "http://x@localhost"):
        for path in ("/login", "/mlflow/api/2.0/mlflow/runs/create"):
            assert browser.post(path, headers={"Origin": origin}).status_code == 403, origin


def test_a_method_that_an_address_does_not_take_is_told_which_it_does(browser):
    for path in ("/people", "/api/v1/people"):
        answer = browser.request("DELETE", path, headers={"X-CSRF-Token": csrf_of(browser)})
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


def csrf_of(browser):
    return browser.get("/").text.partition('name="csrf" content="')[2].partition('"')[0]


def test_addresses_with_control_characters_lead_nowhere(browser):
    """Git, file systems and databases would each fail on them in their own way."""
    for path in (
        "/models/a%00b",
        "/models/parcel-delay/runs/%00",
        "/static/%00",
        "/mlflow/%00",
        f"{API}/a%1bb",
    ):
        answer = browser.get(path)
        assert answer.status_code == 404, path
        assert "control character U+00" in answer.text
    for path in sorted(permissions(make_pages())):
        if not path.startswith("POST"):
            for address in (path, API + path):
                answer = browser.get(f"{address.replace('{model}', 'parcel-delay')}?of=a%00b")
                assert answer.status_code == 422, address


def test_forms_with_control_characters_are_refused(browser):
    path, headers = "/models/parcel-delay/silences", {"X-CSRF-Token": csrf_of(browser)}
    for reason, status in (("it\0is", 422), ("it\x1b[31m", 422), ("one line\nand\tanother", 303)):
        sent = {"kind": "data_drift", "reason": reason, "until": "2h"}
        answer = browser.post(path, data=sent, headers=headers)
        assert answer.status_code == status, answer.text
        assert browser.post(API + path, json=sent, headers=headers).status_code == (
            200 if status == 303 else 422
        )
