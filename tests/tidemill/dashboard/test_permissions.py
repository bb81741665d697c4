"""The whole table, role × action × resource, against real requests to every route that there is."""

import functools
import inspect
import re

import anyio
import pytest
from fastapi.routing import APIRoute
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from tests.tidemill.dashboard.kept_pages import pages_with_kept_routes
from tidemill.accounts.identities import Identity, decide
from tidemill.accounts.roles import EVERY_PROJECT, ROLES
from tidemill.dashboard import app as wiring
from tidemill.dashboard.app import make_pages
from tidemill.dashboard.door.identification import Identified
from tidemill.dashboard.error_pages import API
from tidemill.dashboard.page import permissions
from tidemill.dashboard.pages import event_stream

pytestmark = pytest.mark.engine

ROUTES = sorted(permissions(pages_with_kept_routes()).items())


class Somebody:
    """Everybody is whoever is set."""

    identity = None

    def identify(self, request):
        return Identified(self.identity, csrf=None)


@functools.cache
def without_what_pages_do():
    """Return what is behind the door with every answer empty: who is let in costs no work."""
    pages = make_pages()
    for route in pages.routes:
        if isinstance(route, APIRoute) and route.dependencies:
            needed = route.dependant
            needed.dependencies = needed.dependencies[: len(route.dependencies)]
            needed.path_params, needed.query_params, needed.body_params = [], [], []
            needed.call = _answer_later if inspect.iscoroutinefunction(needed.call) else _answer
    return pages


def _answer(**given):
    return PlainTextResponse("let in")


async def _answer_later(**given):
    return PlainTextResponse("let in")


@pytest.fixture
def door(installation, monkeypatch):
    """A door with nothing behind it."""
    monkeypatch.setattr(wiring, "make_pages", lambda sign_on: without_what_pages_do())
    yield from _door(installation)


@pytest.fixture
def whole_door(installation, monkeypatch):
    """A door with the pages behind it."""
    monkeypatch.setattr(event_stream, "_SECONDS", 0.0)  # or the stream would be read for a minute
    yield from _door(installation)


def _door(installation):
    somebody = Somebody()
    app = wiring.make_app(installation, somebody, local_only=True)
    with TestClient(app, base_url="http://localhost", follow_redirects=False) as client:
        client.somebody = somebody
        client.installation = installation
        yield client


def ask(door, routes):
    """Ask for routes as pages and as their twins; return both statuses of each.

    All in one turn of the door's loop: going to it and back takes longer than most answers.
    """

    async def statuses():
        return {route: [await status_of(door.app, *one) for one in asked_as(route)] for route in routes}

    return door.portal.call(statuses)


def asked_as(route):
    """Return the method, path and body of the page's request and of its twin's."""
    method, _, path = route.rpartition(" ")
    path = path.replace("{model}", "parcel-delay")
    path = re.sub(r"\{[^}]*\}", "0", path)
    twin = API + (path if path != "/" else "/fleet")
    method = method or "GET"
    return [(method, path, b""), (method, twin, b"{}" if method == "POST" else b"")]


async def status_of(app, method, path, body):
    """Send one request to an application, and return the status of its answer."""
    answered, received, sent = anyio.Event(), [], [{"type": "http.request", "body": body, "more_body": False}]
    headers = {"host": "localhost", "accept": "*/*", "content-length": str(len(body))}
    headers |= {"content-type": "application/json"} if body else {}

    async def receive():
        if sent:
            return sent.pop()
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        received.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            answered.set()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 50000),
        "server": ("localhost", 80),
        "state": {},
    }
    await app(scope, receive, send)
    assert answered.is_set()
    return received[0]["status"]


def person(role, project):
    return Identity("person", f"a-{role}", {project: frozenset({role})}, "user_x")


@pytest.mark.parametrize("project", ["parcels", EVERY_PROJECT])
@pytest.mark.parametrize("role", ROLES)
def test_each_role_gets_what_the_table_says_and_nothing_else(door, role, project):
    door.somebody.identity = person(role, project)
    assert refused_wrongly(door) == []


@pytest.mark.parametrize("role", ["viewer", "admin"])
def test_what_pages_do_changes_nothing_in_who_is_let_in(whole_door, role):
    whole_door.somebody.identity = person(role, "parcels")
    assert refused_wrongly(whole_door) == []


def refused_wrongly(door):
    """Return the routes that answer as the table does not say."""
    wrong = []
    asked_for = ask(door, [route for route, _ in ROUTES])
    for route, needs in ROUTES:
        method, _, path = route.rpartition(" ")
        of_a_model = "{model}" in path
        somewhere = needs == ("grant", "people") or (method == "" and needs[0] in ("read", "export"))
        asked = "parcels" if of_a_model or somewhere else None
        allowed = decide(door.somebody.identity, needs, asked) == "allowed"
        # What is let in may still find nothing, or miss a field: but it is not refused for the role.
        own = needs[1] == "account" and allowed
        wrong += [(route, needs, one) for one in asked_for[route] if (one == 403) == allowed and not own]
    return wrong


def test_a_project_of_others_does_not_exist_on_any_route(door):
    door.somebody.identity = person("admin", "another")
    found = ask(door, [route for route, _ in ROUTES if "{model}" in route])
    assert found
    assert {route: statuses for route, statuses in found.items() if set(statuses) != {404}} == {}


@pytest.mark.parametrize("kind", ["nobody", "no role"])
def test_who_has_no_role_gets_nowhere(door, kind):
    door.somebody.identity = None if kind == "nobody" else Identity("person", "eve", {}, "user_x")
    found = ask(door, [route for route, _ in ROUTES])
    for route, needs in ROUTES:
        statuses = set(found[route])
        if kind == "nobody":
            assert statuses <= {303, 401}, route
        elif needs[1] != "account":
            assert statuses <= {403, 404}, route


def test_a_token_has_no_account_and_no_more_than_its_owner(door):
    owner = person("viewer", "parcels")
    everything = {EVERY_PROJECT: frozenset({"admin"})}
    door.somebody.identity = Identity("token", "token:ci", everything, "user_x", owner)
    never = [
        route
        for route, needs in ROUTES
        if needs[1] == "account" or (needs[0] != "read" and decide(owner, needs, "parcels") != "allowed")
    ]
    assert never
    for route, statuses in ask(door, never).items():
        assert set(statuses) == {403}, route
