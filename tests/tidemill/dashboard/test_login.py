"""Coming in: by password, by token, and all the ways in which that must not work."""

import base64
import re
import sqlite3
from datetime import timedelta

import pytest
from argon2 import PasswordHasher
from starlette.testclient import TestClient

from tidemill.accounts.api_keys import create_key, revoke_key
from tidemill.accounts.key_format import parse_key
from tidemill.accounts.users import add_user, disable_user, grant_role, revoke_role, set_password
from tidemill.dashboard.app import make_app
from tidemill.dashboard.door.account_identification import AccountIdentification
from tidemill.dashboard.error_pages import API
from tidemill.dashboard.installation import Installation, record_project
from tidemill.dashboard.opening import is_open, require_safe_opening
from tidemill.errors import ConfigError
from tidemill.project import load_project
from tidemill.settings import Settings

WORDS = "four words in a row"


@pytest.fixture(autouse=True)
def cheap_argon(monkeypatch):
    made = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr("tidemill.accounts.passwords._hasher", lambda: made)


class MovingClock:
    def __init__(self, start):
        self.moment = start

    def now(self):
        return self.moment


@pytest.fixture
def people(installation):
    """The installation with an admin and a viewer of its project, and a clock that can be set."""
    made = Installation(installation.home, clock=MovingClock(installation.clock.now()))
    now = made.clock.now()
    add_user(made.state, name="Ada", password=WORDS, actor="me", now=now, roles={"*": ["admin"]})
    add_user(made.state, name="bob", password=WORDS, actor="me", now=now, roles={"parcels": ["viewer"]})
    yield made
    made.state.close()


def enter_by(people, *, open_here=False, base="http://localhost"):
    identification = AccountIdentification(people, open_here=open_here)
    app = make_app(people, identification, local_only=open_here)
    return TestClient(app, base_url=base, follow_redirects=False)


@pytest.fixture
def browser(people):
    with enter_by(people) as client:
        yield client


def log_in(client, name="ada", password=WORDS, **more):
    csrf = re.search(r'name="csrf" value="(\w+)"', client.get("/login").text)[1]
    return client.post("/login", data={"name": name, "password": password, "csrf": csrf, **more})


def csrf_of(client):
    return re.search(r'name="csrf" content="([\w-]+)"', client.get("/").text)[1]


def test_who_listens_without_a_session_is_refused_and_led_to_no_page(browser):
    assert browser.get("/events", headers={"Accept": "text/event-stream"}).status_code == 401


def test_what_was_typed_is_given_back_when_the_session_has_ended_meanwhile(browser, people):
    log_in(browser)
    sent = {"csrf": csrf_of(browser), "comment": "five <minutes>", "password": "no such word", "name": "none"}
    page = {"Referer": "http://localhost/models/parcel-delay/alerts/a?b=1"}
    outdated = browser.post("/models/parcel-delay/alerts/a/comment", data=sent | {"csrf": "x"}, headers=page)
    people.clock.moment += timedelta(days=8)
    ended = browser.post("/models/parcel-delay/alerts/a/comment", data=sent, headers=page)
    for answer, status, link in (
        (outdated, 403, "/models/parcel-delay/alerts/a?b=1"),
        (ended, 401, "/login?next=%2Fmodels%2Fparcel-delay%2Falerts%2Fa%3Fb%3D1"),
    ):
        assert answer.status_code == status
        assert f'<a href="{link}">' in answer.text
        assert "five &lt;minutes&gt;</textarea>" in answer.text
        assert "no such word" not in answer.text
    elsewhere = {"Origin": "http://evil.example", "Referer": "http://evil.example/x"}
    foreign = browser.post("/models/parcel-delay/alerts/a/comment", data=sent, headers=elsewhere)
    assert (foreign.status_code, "five" in foreign.text) == (401, False)
    assert 'href="/login?next=%2F"' in browser.post("/people", data=sent, headers={"Referer": "//["}).text


def test_a_password_opens_the_way_to_where_one_wanted_to_go(browser):
    sent = browser.get("/?sort=name")
    assert sent.headers["location"] == "/login?next=%2F%3Fsort%3Dname"
    assert 'value="/?sort=name"' in browser.get(sent.headers["location"]).text
    answer = log_in(browser, "ADA", next="/?sort=name")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?sort=name")
    page = browser.get("/")
    assert page.status_code == 200
    assert "Ada" in page.text
    assert "Nobody has to log in here" not in page.text


def test_the_cookie_is_kept_from_scripts_and_other_sites_and_bound_to_the_host_over_tls(people):
    for base, name, secure in (
        ("http://localhost", "tidemill_session=", False),
        ("http://localhost:4300", "tidemill_session_4300=", False),  # another dashboard may have another port
        ("https://tidemill.example", "__Host-tidemill", True),
    ):
        with enter_by(people, base=base) as client:
            [cookie] = [one for one in log_in(client).headers.get_list("set-cookie") if name in one]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert "Path=/" in cookie
        assert "Domain" not in cookie
        assert ("Secure" in cookie) == secure


@pytest.mark.parametrize(
    "where", ["https://evil.example", "//evil.example", "/\\evil", "/\t/evil", "evil", ""]
)
def test_the_login_leads_nowhere_else(browser, where):
    assert log_in(browser, next=where).headers["location"] == "/"


def test_a_wrong_password_and_an_unknown_name_look_the_same_and_keep_what_was_typed(browser):
    wrong, unknown = log_in(browser, "bob", "not the password"), log_in(browser, "eve", "not the password")
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert "The name or the password is wrong".lower() in wrong.text.lower()
    assert 'value="bob"' in wrong.text
    assert wrong.text.replace("bob", "eve") == re.sub(
        r'name="csrf" (value|content)="\w+"', lambda found: found[0], unknown.text
    )
    assert browser.get("/").status_code == 303


def test_a_name_that_is_markup_is_shown_as_it_is(browser):
    answer = log_in(browser, '"><script>alert(1)</script>', "not the password")
    assert "<script>" not in answer.text


def test_too_many_failures_are_told_to_wait(browser):
    for _ in range(5):
        log_in(browser, "bob", "not the password")
    answer = log_in(browser, "bob")
    assert answer.status_code == 429
    assert "Try again in" in answer.text


def test_a_form_of_another_site_logs_nobody_in(browser):
    fields = {"name": "ada", "password": WORDS}
    assert browser.post("/login", data=fields).status_code == 403
    assert browser.post("/login", data={**fields, "csrf": "0" * 64}).status_code == 403
    csrf = re.search(r'name="csrf" value="(\w+)"', browser.get("/login").text)[1]
    foreign = {"Origin": "https://evil.example"}
    assert browser.post("/login", data={**fields, "csrf": csrf}, headers=foreign).status_code == 403
    other = TestClient(browser.app, base_url="http://localhost", follow_redirects=False)  # its own cookies
    assert other.post("/login", data={**fields, "csrf": csrf}).status_code == 403
    assert browser.get("/").status_code == 303


def test_a_session_that_somebody_else_chose_is_never_taken_over(browser):
    browser.cookies.set("tidemill_session", "c" * 43)
    log_in(browser)
    assert browser.cookies.get("tidemill_session", domain="localhost.local") != "c" * 43
    first = {one.value for one in browser.cookies.jar if one.name == "tidemill_session"} - {"c" * 43}
    browser.cookies.delete("tidemill_session", domain="")
    browser.post("/logout", data={"csrf": csrf_of(browser)})
    log_in(browser)
    second = {one.value for one in browser.cookies.jar if one.name == "tidemill_session"}
    assert first
    assert not first & second


def test_logging_out_ends_the_session_on_the_server(browser):
    log_in(browser)
    stolen = {one.name: one.value for one in browser.cookies.jar}
    answer = browser.post("/logout", data={"csrf": csrf_of(browser)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    thief = TestClient(browser.app, base_url="http://localhost", cookies=stolen, follow_redirects=False)
    assert thief.get("/").status_code == 303
    assert browser.get("/").status_code == 303


@pytest.mark.parametrize("hours", [13, 24 * 7 + 1])
def test_a_session_expires_when_it_is_idle_and_in_the_end_anyway(browser, people, hours):
    log_in(browser)
    end = people.clock.moment + timedelta(hours=hours)
    if hours > 24:  # in use all the time
        while people.clock.moment < end - timedelta(hours=7):
            people.clock.moment += timedelta(hours=6)
            assert browser.get("/").status_code == 200
    people.clock.moment = end
    assert browser.get("/").headers["location"].startswith("/login")
    assert browser.get(f"{API}/fleet").status_code == 401


@pytest.mark.parametrize("how", ["disabled", "password"])
def test_a_session_ends_with_its_user_and_their_password(browser, people, how):
    log_in(browser, "bob")
    assert browser.get("/").status_code == 200
    now = people.clock.now()
    if how == "disabled":
        disable_user(people.state, "bob", actor="ada", now=now)
    else:
        set_password(people.state, "bob", "quite another password", actor="ada", now=now)
    assert browser.get("/").status_code == 303


def test_a_role_that_is_taken_counts_from_the_next_request_on(browser, people):
    log_in(browser, "bob")
    assert len(browser.get(f"{API}/fleet").json()["models"]) == 1
    revoke_role(people.state, "bob", "viewer", project="parcels", actor="ada")
    assert browser.get(f"{API}/fleet").status_code == 403


def token(people, name="ci", roles=None, **more):
    made = create_key(
        people.state,
        name=name,
        scopes=(),
        roles=roles or {"parcels": ["viewer"]},
        actor="me",
        now=people.clock.now(),
        **more,
    )
    return made.secret.get_secret_value()


@pytest.mark.parametrize("kind", ["bearer", "basic", "basic user"])
def test_a_token_opens_pages_and_twins_without_a_cookie(browser, people, kind):
    sent = token(people)
    pair = f"{sent}:" if kind == "basic user" else f"anybody:{sent}"
    value = f"Bearer {sent}" if kind == "bearer" else "Basic " + base64.b64encode(pair.encode()).decode()
    answer = browser.get(f"{API}/fleet", headers={"Authorization": value})
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert "token:ci" in browser.get("/", headers={"Authorization": value}).text


def test_a_token_that_is_wrong_revoked_or_expired_opens_nothing(browser, people):
    sent = token(people)
    until = token(people, "short", lifetime=timedelta(hours=1))

    def status(secret):
        return browser.get(f"{API}/fleet", headers={"Authorization": f"Bearer {secret}"}).status_code

    assert [status(sent), status(until), status(sent[:-1] + "~"), status("tmk_x_y")] == [200, 200, 401, 401]
    people.clock.moment += timedelta(hours=2)
    revoke_key(people.state, "ci", actor="ann", now=people.clock.now())
    assert [status(sent), status(until)] == [401, 401]


def test_a_key_of_the_prediction_api_alone_sees_nothing(browser, people):
    made = create_key(people.state, name="shop", scopes=("predict",), actor="me", now=people.clock.now())
    sent = {"Authorization": f"Bearer {made.secret.get_secret_value()}"}
    assert browser.get(f"{API}/fleet", headers=sent).status_code == 403


def test_a_token_may_no_more_than_its_owner_and_ends_with_them(browser, people):
    with sqlite3.connect(people.records.path) as connection:
        [owner] = connection.execute("SELECT id FROM users WHERE name = 'bob'").fetchone()
    connection.close()
    sent = {"Authorization": f"Bearer {token(people, roles={'*': ['admin']}, owner=owner)}"}
    assert browser.get(f"{API}/fleet", headers=sent).status_code == 200
    revoke_role(people.state, "bob", "viewer", project="parcels", actor="ada")
    assert browser.get(f"{API}/fleet", headers=sent).status_code == 403
    grant_role(people.state, "bob", "operator", project="parcels", actor="ada", now=people.clock.now())
    assert browser.get(f"{API}/fleet", headers=sent).status_code == 200
    disable_user(people.state, "bob", actor="ada", now=people.clock.now())
    assert browser.get(f"{API}/fleet", headers=sent).status_code == 401


def test_a_token_in_a_page_of_another_site_changes_nothing(browser, people):
    sent = {"Authorization": f"Bearer {token(people)}", "Origin": "https://evil.example"}
    assert browser.post(f"{API}/anything", json={}, headers=sent).status_code == 403


def test_a_host_header_does_not_make_a_closed_path_an_open_one(browser):
    assert browser.get("/", headers={"Host": "localhost/login?"}).status_code == 303
    assert browser.get("/static/../people").status_code in (303, 404)


def test_on_loopback_it_is_open_with_a_note_and_one_can_still_log_in(people):
    with enter_by(people, open_here=True) as client:
        assert "Nobody has to log in here" in client.get("/").text
        log_in(client)
        page = client.get("/").text
        assert "Ada" in page
        assert "Nobody has to log in here" not in page
        bad = {"Authorization": "Bearer tmk_no_such"}
        assert client.get(f"{API}/fleet", headers=bad).status_code == 401  # not silently somebody else


def test_records_that_cannot_be_read_are_a_page_that_says_so(browser, people):
    log_in(browser)
    people.state.close()
    for file in people.records.path.parent.glob("state.db*"):
        file.write_bytes(b"not a database" * 100)
    answer = browser.get("/")
    assert answer.status_code >= 500
    assert "cannot be read" in answer.text
    assert "state.db" not in answer.text, "who asks may be anybody"


def test_where_it_is_closed_somebody_must_be_able_to_log_in(installation, people):
    empty = Settings(dashboard_login="always")
    assert is_open(Settings(), "127.0.0.1")
    assert not is_open(empty, "127.0.0.1")
    assert not is_open(Settings(), "0.0.0.0")
    require_safe_opening(people.state, empty, "127.0.0.1")
    with pytest.raises(ConfigError, match="without TLS"):
        require_safe_opening(people.state, Settings(), "0.0.0.0")
    require_safe_opening(people.state, Settings(plain_http="accepted"), "0.0.0.0")


def test_without_an_admin_it_does_not_open(installation):
    with pytest.raises(ConfigError, match="no admin") as refused:
        require_safe_opening(installation.state, Settings(plain_http="accepted"), "0.0.0.0")
    assert "tidemill users add" in refused.value.hint


def test_a_session_opens_its_own_installation_alone_and_over_tls_by_the_bound_cookie_alone(people, tmp_path):
    with enter_by(people) as client:
        log_in(client)
        [secret] = [one.value for one in client.cookies.jar if one.name == "tidemill_session"]
    other = tmp_path / "other"
    other.mkdir()
    for name in ("params.yaml", "features.yaml"):  # browsers send a cookie to every port of a host
        (other / name).write_text((people.home.root / name).read_text())
    elsewhere = Installation(load_project(other, Settings()), clock=people.clock)
    record_project(elsewhere.state, elsewhere.home, people.clock.now())
    with enter_by(elsewhere) as client:
        client.cookies.set("tidemill_session", secret)
        assert client.get("/").status_code == 303
    elsewhere.state.close()
    with enter_by(people, base="https://tidemill.example") as client:
        client.cookies.set("tidemill_session", secret)
        assert client.get("/").status_code == 303
        client.cookies.set("__Host-tidemill", secret)
        assert client.get("/").status_code == 200


def test_a_name_that_databases_do_not_take_is_refused_before_they_are_asked(browser):
    assert "a name cannot hold a control character" in log_in(browser, "ada\0").text.lower()
    for key in (b"tmk_a\0_c2VjcmV0", b"tmk_a\xff_c2VjcmV0"):
        assert parse_key(key) is None
