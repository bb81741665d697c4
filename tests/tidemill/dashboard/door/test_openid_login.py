"""Logins against a real provider (npm's oidc-provider), and attacks by one that lies."""

import functools
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.testclient import TestClient

from tidemill.accounts.account_records import find_token
from tidemill.accounts.api_keys import active_keys, create_key
from tidemill.accounts.auditing.audit_reading import AuditFilter, all_entries
from tidemill.accounts.user_facts import all_users
from tidemill.accounts.users import disable_user, grant_role
from tidemill.clock import SystemClock
from tidemill.dashboard.app import make_app
from tidemill.dashboard.door.account_identification import AccountIdentification
from tidemill.dashboard.installation import Installation, record_project
from tidemill.project import load_project
from tidemill.settings import Settings
from tidemill.state.tables import RoleGrant

pytestmark = pytest.mark.slow

PACKAGE = os.environ.get("OIDC_PROVIDER")  # …/node_modules/oidc-provider
BACK = "http://localhost/login/oidc/corp/callback"
SECRET = "a secret of at least 32 characters!"
ADA = {
    "sub": "u-1",
    "preferred_username": "ada",
    "email": "ada@example.com",
    "email_verified": True,
    "groups": ["ml"],
}
real = pytest.mark.skipif(
    not (PACKAGE and shutil.which("node")), reason="OIDC_PROVIDER names no package, or node is missing"
)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def provider_at(back: str, person: dict[str, Any] | None = None) -> Iterator[str]:
    """Run a real provider that sends people back to an address; give its own."""
    port = free_port()
    program = Path(__file__).with_name("provider.mjs")
    words = ["node", str(program), str(PACKAGE), str(port), back]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if line.strip() == "ready":
                break
        assert process.poll() is None, "".join(said)
        if person is not None:
            httpx.post(f"http://127.0.0.1:{port}/people", json=person, trust_env=False)
        yield f"http://127.0.0.1:{port}"
        process.terminate()


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """The address of a real provider."""
    with provider_at(BACK) as address:
        yield address


@functools.cache
def known_key() -> RSAKey:
    """The liars' key: making one takes long."""
    return new_key()


def new_key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": "k1"})


class Liar:
    """A provider on this machine whose tokens say whatever a test wants."""

    def __init__(self) -> None:
        self.key = known_key()
        self.claims: dict[str, Any] = {}
        self.unsigned = False
        self.sent: dict[str, list[str]] = {}
        liar = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(
                    {"keys": [liar.key.as_dict(private=False)]} if self.path == "/jwks" else liar.declared
                )

            def do_POST(self) -> None:
                liar.sent = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self._answer({"access_token": "a", "token_type": "Bearer", "id_token": liar.token()})

            def _answer(self, content: object) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(content).encode())

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        self.declared = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/auth",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
        }

    def token(self) -> str:
        if self.unsigned:
            from base64 import urlsafe_b64encode

            parts = ({"alg": "none"}, self.claims)
            return ".".join(
                [*(urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts), ""]
            )
        return jwt.encode({"alg": "RS256", "kid": "k1"}, self.claims, self.key)


@pytest.fixture
def liar() -> Iterator[Liar]:
    made = Liar()
    thread = threading.Thread(target=made.server.serve_forever, args=[0.02])
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def write_file(folder: Path, issuer: str, **more: object) -> str:
    provider = {
        "label": "Corp",
        "issuer": issuer,
        "client_id": "tidemill",
        "client_secret_file": str(folder / "secret"),
        "scopes": ["openid", "profile", "email", "groups"],
        "groups": {"ml": {"parcels": "ml-engineer"}, "ops": {"*": "operator"}, "root": {"*": "admin"}},
        **more,
    }
    (folder / "secret").write_text(SECRET + "\n")
    path = folder / "oidc.yaml"
    path.write_text(json.dumps({"providers": {"corp": provider, "second": {**provider, "label": "Second"}}}))
    return str(path)


class People:
    """A dashboard where people must log in, and a browser of theirs."""

    def __init__(self, folder: Path, path: str) -> None:
        self.installation = Installation(load_project(folder, Settings(oidc=path)), clock=SystemClock())
        record_project(self.installation.state, self.installation.home, datetime.now(UTC))
        self.app = make_app(
            self.installation, AccountIdentification(self.installation, open_here=False), local_only=True
        )
        self.browser = self.another()

    def another(self) -> TestClient:
        return TestClient(self.app, base_url="http://localhost", follow_redirects=False)

    def begin(self, query: str = "") -> str:
        """Begin a login; return where the browser is sent."""
        answer = self.browser.get(f"/login/oidc/corp{query}")
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    def grants(self) -> dict[str, dict[str, list[str]]]:
        return {
            user.name: {project: list(roles) for project, roles in user.roles.items()}
            for user in all_users(self.installation.records)
        }


@pytest.fixture
def made(folder):
    opened: list[People] = []

    def make(issuer: str, **more: object) -> People:
        opened.append(People(folder, write_file(folder, issuer, **more)))
        return opened[-1]

    yield make
    for one in opened:
        one.installation.state.close()


def at_provider(address: str) -> str:
    """Log in at the real provider; return the address it sends the browser back to."""
    with httpx.Client(trust_env=False) as client:
        for _ in range(10):
            if address.startswith(BACK):
                return address.removeprefix("http://localhost")
            answer = client.get(address)
            assert answer.is_redirect, answer.text
            address = str(httpx.URL(address).join(answer.headers["location"]))
    raise AssertionError(address)


def log_in(people: People, issuer: str, person: dict[str, Any], query: str = "") -> httpx.Response:
    httpx.post(f"{issuer}/people", json=person, trust_env=False)
    answer: httpx.Response = people.browser.get(at_provider(people.begin(query)))
    return answer


@real
def test_somebody_logs_in_and_their_groups_give_their_roles(made, issuer):
    people = made(issuer)
    assert "Log in with Corp" in people.browser.get("/login").text
    answer = log_in(people, issuer, ADA, "?next=/models/parcel-delay/alerts")
    assert (answer.status_code, answer.headers["location"]) == (303, "/models/parcel-delay/alerts")
    assert people.browser.get("/").status_code == 200
    assert people.grants() == {"ada": {"parcels": ["ml-engineer"]}}
    log_in(people, issuer, {**ADA, "groups": ["ops"], "email": "new@example.com", "preferred_username": "x"})
    assert people.grants() == {"ada": {"*": ["operator"]}}
    grant_role(
        people.installation.state, "ada", "viewer", project="parcels", actor="root", now=datetime.now(UTC)
    )
    log_in(people, issuer, {**ADA, "groups": []})
    assert people.grants() == {"ada": {"parcels": ["viewer"]}}
    found = [
        (row.actor, row.action)
        for row in all_entries(people.installation.records, AuditFilter())
        if row.action in ("create", "log-in")
    ]
    assert found[:3] == [("oidc:corp", "create"), ("ada", "log-in"), ("ada", "log-in")]


@real
def test_accounts_are_linked_by_issuer_and_subject_alone(made, issuer):
    people = made(issuer)
    log_in(people, issuer, ADA)
    people.browser = people.another()
    answer = log_in(people, issuer, {**ADA, "sub": "u-2", "groups": ["ops"]})
    assert answer.status_code == 303
    assert people.grants() == {"ada": {"parcels": ["ml-engineer"]}, "ada@corp": {"*": ["operator"]}}


@real
@pytest.mark.parametrize(
    ("person", "said"),
    [
        ({**ADA, "groups": ["sales"]}, "none of your groups"),
        ({**ADA, "email_verified": False}, "not verified your e-mail"),
    ],
)
def test_who_has_no_group_or_no_verified_address_is_refused_with_what_to_do(made, issuer, person, said):
    people = made(issuer)
    answer = log_in(people, issuer, person)
    assert answer.status_code == 401
    assert said in answer.text
    assert people.grants() == {}
    assert people.browser.get("/").status_code == 303


@real
def test_a_disabled_user_stays_out_and_the_last_admin_stays_admin(made, issuer):
    people = made(issuer)
    log_in(people, issuer, {**ADA, "groups": ["root"]})
    log_in(people, issuer, ADA)
    assert people.grants() == {"ada": {"*": ["admin"], "parcels": ["ml-engineer"]}}
    log_in(people, issuer, {**ADA, "sub": "u-2", "preferred_username": "bob", "groups": ["root"]})
    log_in(people, issuer, ADA)
    assert people.grants()["ada"] == {"parcels": ["ml-engineer"]}
    disable_user(people.installation.state, "ada", actor="root", now=datetime.now(UTC))
    answer = log_in(people, issuer, ADA)
    assert answer.status_code == 401
    assert "kept out" in answer.text


@real
def test_an_answer_counts_once_and_in_the_browser_that_asked(made, issuer):
    people = made(issuer)
    httpx.post(f"{issuer}/people", json=ADA, trust_env=False)
    back = at_provider(people.begin())
    assert people.another().get(back).status_code == 401  # the attempt is gone now
    assert people.browser.get(back).status_code == 401
    back = at_provider(people.begin())
    assert people.browser.get(back).status_code == 303
    again = people.browser.get(back)
    assert again.status_code == 401
    assert "used already" in again.text


@real
def test_pkce_binds_the_code_to_the_attempt(made, issuer):
    people = made(issuer)
    httpx.post(f"{issuer}/people", json=ADA, trust_env=False)
    address = people.begin()
    asked = parse_qs(urlsplit(address).query)
    assert asked["code_challenge_method"] == ["S256"]
    code = parse_qs(urlsplit(at_provider(address)).query)["code"][0]
    fresh = parse_qs(urlsplit(people.begin()).query)["state"][0]  # another attempt: another verifier
    answer = people.browser.get(f"/login/oidc/corp/callback?code={code}&state={fresh}")
    assert answer.status_code == 401
    assert "refuses the login" in answer.text


@real
def test_a_wrong_secret_of_the_client_is_said(made, issuer, folder):
    people = made(issuer)
    (folder / "secret").write_text("another secret")
    assert "client&#39;s secret" in log_in(people, issuer, ADA).text


def forge(people: People, liar: Liar, **changed: Any) -> httpx.Response:
    """Let the liar answer a login with a token that is right but for what is changed."""
    asked = parse_qs(urlsplit(people.begin()).query)
    now = int(time.time())
    right = {**ADA, "iss": liar.issuer, "aud": "tidemill", "iat": now, "exp": now + 60}
    claims = {**right, "nonce": asked["nonce"][0], **changed}
    liar.claims = {name: value for name, value in claims.items() if value is not None}
    answer: httpx.Response = people.browser.get(f"/login/oidc/corp/callback?code=c&state={asked['state'][0]}")
    return answer


def test_a_right_token_is_accepted_and_the_verifier_is_sent(made, liar):
    people = made(liar.issuer)
    assert forge(people, liar).status_code == 303
    assert len(liar.sent["code_verifier"][0]) >= 43


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"nonce": "another"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"aud": "other"}, "aud"),
        ({"aud": ["tidemill", "other"]}, "azp"),
        ({"aud": ["tidemill", "other"], "azp": "other"}, "azp"),
        ({"iss": "http://127.0.0.1:1"}, "iss"),
        ({"exp": 1000}, "clock"),
        ({"iat": 4_000_000_000}, "clock"),
        ({"exp": None}, "exp"),
        ({"sub": None}, "sub"),
    ],
)
def test_a_token_that_is_not_for_this_login_is_refused(made, liar, changed, said):
    people = made(liar.issuer)
    answer = forge(people, liar, **changed)
    assert answer.status_code == 401
    assert said in answer.text
    assert people.grants() == {}


def test_a_token_without_a_signature_or_with_a_foreign_one_is_refused(made, liar):
    people = made(liar.issuer)
    liar.unsigned = True
    assert forge(people, liar).status_code == 401
    liar.unsigned = False
    assert forge(people, liar).status_code == 303
    liar.key = new_key()  # the known keys are kept for a while
    people.browser = people.another()
    assert forge(people, liar).status_code == 401


def test_the_answer_of_another_provider_is_refused(made, liar):
    people = made(liar.issuer)
    state = parse_qs(urlsplit(people.begin()).query)["state"][0]
    mixed = people.browser.get(f"/login/oidc/second/callback?code=c&state={state}")
    assert mixed.status_code == 401
    state = parse_qs(urlsplit(people.begin()).query)["state"][0]
    mixed = people.browser.get(f"/login/oidc/corp/callback?code=c&state={state}&iss=https://evil.example")
    assert mixed.status_code == 401
    assert "another provider" in mixed.text
    assert liar.sent == {}


@pytest.mark.parametrize("query", ["", "?state=x&code=c", "?code=c"])
def test_an_answer_without_a_login_is_refused(made, liar, query):
    assert made(liar.issuer).browser.get(f"/login/oidc/corp/callback{query}").status_code == 401


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_nobody_is_sent_to_another_site(made, liar, target):
    people = made(liar.issuer)
    asked = parse_qs(urlsplit(people.begin(f"?next={target}")).query)
    now = int(time.time())
    liar.claims = {
        **ADA,
        "iss": liar.issuer,
        "aud": "tidemill",
        "iat": now,
        "exp": now + 60,
        "nonce": asked["nonce"][0],
    }
    answer = people.browser.get(f"/login/oidc/corp/callback?code=c&state={asked['state'][0]}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_an_error_of_the_provider_is_shown_escaped(made, liar):
    people = made(liar.issuer)
    state = parse_qs(urlsplit(people.begin()).query)["state"][0]
    told = f"?state={state}&error=access_denied&error_description=<script>alert(1)</script>"
    answer = people.browser.get(f"/login/oidc/corp/callback{told}")
    assert answer.status_code == 401
    assert "<script>alert" not in answer.text
    assert "refuses the login" in answer.text


def test_a_provider_that_is_away_or_has_another_name_is_said(made, liar):
    nowhere = f"http://127.0.0.1:{free_port()}"
    away = made(nowhere).browser.get("/login/oidc/corp")
    assert away.status_code == 503
    assert f"the provider at {nowhere}, cannot be reached" in away.text
    liar.declared = {**liar.declared, "issuer": "https://other.example"}
    other = made(liar.issuer).browser.get("/login/oidc/corp")
    assert other.status_code == 503
    assert "says that its name is" in other.text
    assert made(liar.issuer).browser.get("/login/oidc/none").status_code == 404


def entries(people: People) -> list[tuple[str, str, str]]:
    found = all_entries(people.installation.records, AuditFilter(action="fail-log-in"))
    return [(one.actor, one.reason, json.loads(one.details)["provider"]) for one in found]


def test_a_login_that_a_provider_refuses_is_on_record(made, liar):
    people = made(liar.issuer)
    state = parse_qs(urlsplit(people.begin()).query)["state"][0]
    told = "error=access_denied&error_description=tmk_0123456789ab_c2VjcmV0" + "x" * 400
    people.browser.get(f"/login/oidc/corp/callback?state={state}&{told}")
    assert forge(people, liar, nonce="another").status_code == 401
    assert forge(people, liar, groups=[]).status_code == 401
    people.browser.get("/login/oidc/corp/callback?state=made-up&code=c")  # nobody began it: no entry
    (denied, nonce, groups) = entries(people)
    assert denied[::2] == ("somebody", "corp")
    assert "c2VjcmV0" not in denied[1]
    assert len(denied[1]) <= 300
    assert "nonce" in nonce[1]
    assert "none of your groups" in groups[1]


def csrf(browser: TestClient) -> str:
    return browser.get("/account").text.partition('name="csrf" content="')[2].partition('"')[0]


def test_who_came_by_a_provider_is_led_to_its_logout(made, liar):
    liar.declared = {**liar.declared, "end_session_endpoint": f"{liar.issuer}/end?tenant=1"}
    people = made(liar.issuer)
    assert forge(people, liar).status_code == 303
    left = people.browser.post("/logout", data={"csrf": csrf(people.browser)})
    assert (left.status_code, left.headers["location"]) == (303, "/login?ended=corp")
    page = people.browser.get(left.headers["location"]).text
    assert 'href="/login/oidc/corp/logout"' in page
    there = people.browser.get("/login/oidc/corp/logout")
    assert there.headers["location"] == f"{liar.issuer}/end?tenant=1&client_id=tidemill"
    assert people.browser.get("/account").status_code == 303  # to the login
    assert "not at" not in people.browser.get("/login?ended=elsewhere").text


def test_a_provider_without_a_logout_says_so(made, liar):
    answer = made(liar.issuer).browser.get("/login/oidc/corp/logout")
    assert answer.status_code == 503
    assert "declares no end_session_endpoint" in answer.text


def test_what_groups_gave_ends_some_time_after_the_last_login(made, liar):
    people = made(liar.issuer)
    assert forge(people, liar).status_code == 303
    records, state = people.installation.records, people.installation.state
    [session] = records.select("login_sessions", "1 = 1")
    assert session.expires_at - session.created_at == timedelta(hours=12)
    [user], now = records.select("users", "name = 'ada'"), datetime.now(UTC)
    given = {"scopes": ["predict"], "roles": {"*": ["admin"]}, "owner": user.id, "actor": "ada", "now": now}
    secret = create_key(state, name="hers", **given).secret.get_secret_value().encode()

    def may(at: datetime) -> tuple[bool, bool]:
        found = find_token(records, secret, at)
        model = people.installation.home.model
        return found is not None and found.identity.sees("parcels"), bool(active_keys(state, at, model))

    later = now + timedelta(days=31)
    assert (may(now), may(later)) == ((True, True), (False, False))
    with state.transaction() as one:  # her last login was long ago
        for grant in one.query(RoleGrant):
            grant.granted_at = now - timedelta(days=40)
    assert may(now) == (False, False)
    people.browser = people.another()
    assert forge(people, liar).status_code == 303
    assert may(now) == (True, True)
    grant_role(state, "ada", "viewer", project="parcels", actor="me", now=now)
    assert may(later) == (True, True)  # what an admin gave stays


@real
def test_a_real_provider_takes_its_logout(made, issuer):
    people = made(issuer)
    log_in(people, issuer, ADA)
    there = people.browser.get("/login/oidc/corp/logout").headers["location"]
    answer = httpx.get(there, trust_env=False)
    assert answer.status_code == 200
    assert "sign-out" in answer.text.lower() or "logout" in answer.text.lower()
