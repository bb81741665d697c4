import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.tidemill.dashboard.test_door import Somebody
from tidemill.accounts.identities import Identity
from tidemill.dashboard import app as wiring
from tidemill.dashboard.door.identification import OpenIdentification
from tidemill.dashboard.installation import Installation
from tidemill.dashboard.tracking_proxy.tracking_proxy import TrackingProxy

pytestmark = pytest.mark.engine

ALIAS = "/mlflow/api/2.0/mlflow/registered-models/alias"
CREATE = "/mlflow/api/2.0/mlflow/experiments/create"


class Upstream:
    """In the place of MLflow's server: it says what it was sent."""

    def __init__(self):
        self.seen = []
        self.away = False
        self.page = b""

    async def answer(self, request: Request) -> Response:
        body = await request.body()
        self.seen.append((request.method, request.scope["raw_path"].decode(), dict(request.headers), body))
        headers = {"Set-Cookie": "theirs=1", "Access-Control-Allow-Origin": "*", "Server": "x", "ETag": '"1"'}
        if self.page and request.url.path == "/":
            return Response(self.page, media_type="text/html", headers=headers)
        return JSONResponse({"path": request.url.path, "size": len(body)}, headers=headers)

    def client(self):
        every = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        app = Starlette(routes=[Route("/{path:path}", self.answer, methods=every)])
        if self.away:
            return httpx.AsyncClient(transport=httpx.MockTransport(refuse))
        return httpx.AsyncClient(transport=httpx.ASGITransport(app))


def refuse(request):
    raise httpx.ConnectError("nobody listens", request=request)


@pytest.fixture
def upstream(monkeypatch):
    found = Upstream()
    monkeypatch.setattr(wiring, "TrackingProxy", lambda prefix: TrackingProxy(prefix, found.client))
    return found


def browse(installation, identification, url="http://mlflow.test"):
    shown = Installation(installation.home, clock=installation.clock, mlflow_url=url)
    return TestClient(
        wiring.make_app(shown, identification, local_only=True),
        base_url="http://localhost",
        follow_redirects=False,
    )


def person(*roles, project="parcels"):
    return Somebody(Identity("person", "ada", {project: frozenset(roles)}))


def test_nothing_of_ours_goes_there_and_nothing_of_theirs_comes_back(installation, upstream):
    with browse(installation, OpenIdentification()) as client:
        sent = {
            "Authorization": "Bearer tmk_1_2",
            "Cookie": "tidemill_session=secret",
            "X-HTTP-Method-Override": "DELETE",
            "X-Forwarded-Host": "evil",
            "X-MLFLOW-WORKSPACE": "other",
            "Connection": "X-Secret",
            "X-Secret": "1",
        }
        answer = client.get("/mlflow/api/2.0/mlflow/runs/get?run_id=a%2Fb", headers=sent)
    assert answer.status_code == 200
    [(method, path, headers, _)] = upstream.seen
    assert (method, path) == ("GET", "/api/2.0/mlflow/runs/get")
    assert headers["host"] == "mlflow.test"
    assert not {"cookie", "authorization", "x-secret", "origin"} & set(headers)
    assert not any("override" in name or "forwarded" in name or "workspace" in name for name in headers)
    assert "set-cookie" not in answer.headers
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["etag"] == '"1"'
    assert answer.headers["content-security-policy"].startswith("sandbox")


@pytest.mark.parametrize(
    ("roles", "expected"), [(("viewer",), 403), (("data-scientist",), 403), (("ml-engineer",), 200)]
)
def test_who_may_not_promote_moves_no_alias_whatever_the_request_says(
    installation, upstream, roles, expected
):
    spellings = [{"name": "m", "alias": "champion", "version": "1"}, {"Name": "m"}, '{"name": "m"}', [1]]
    with browse(installation, person(*roles)) as client:
        for body in spellings:
            assert client.post(ALIAS, json=body).status_code == expected
        override = {"X-HTTP-Method-Override": "POST"}
        assert client.get(ALIAS, headers=override).status_code == 200
    assert {method for method, *_ in upstream.seen if method != "GET"} == (
        {"POST"} if expected == 200 else set()
    )


@pytest.mark.parametrize(
    "path",
    [
        "/mlflow/api/2.0/mlflow/gateway-proxy",
        "/mlflow/ajax-api/3.0/mlflow/assistant/message",
        "/mlflow/api/2.0/mlflow/webhooks",
        "/mlflow/API/2.0/mlflow/runs/get",
        "/mlflow/unknown",
    ],
)
def test_what_is_not_in_the_table_is_refused_to_everybody_by_name(installation, upstream, path):
    with browse(installation, OpenIdentification()) as client:
        answer = client.post(path, json={})
    assert answer.status_code == 403
    assert path.removeprefix("/mlflow") in answer.text
    assert upstream.seen == []


@pytest.mark.parametrize(
    "path",
    [
        "/mlflow/api/2.0/mlflow/runs/get/",
        "/mlflow//api/2.0/mlflow/runs/get",
        "/mlflow/api/2.0/mlflow/x/%2e%2e/runs/get",
        "/mlflow/api/2.0/mlflow/runs%2fget",
        "/mlflow/api/2.0/mlflow/runs%252fget",
        "/mlflow/%61pi/2.0/mlflow/runs/get",
        "/mlflow/api%5c2.0/mlflow/runs/get",
        "/%6dlflow/api/2.0/mlflow/runs/get",
    ],
)
def test_another_spelling_of_a_path_is_refused(installation, upstream, path):
    with browse(installation, OpenIdentification()) as client:
        answer = client.get(path)
    assert answer.status_code in (400, 403, 404)
    assert upstream.seen == []


def test_another_teams_server_does_not_exist(installation, upstream):
    with browse(installation, person("admin", project="other")) as client:
        assert client.get("/mlflow/").status_code == 404
    with browse(installation, Somebody(None)) as client:
        assert client.get("/mlflow/").headers["location"].startswith("/login")
        told = client.get("/mlflow/api/2.0/mlflow/runs/get")
        assert (told.status_code, told.json()["error_code"]) == (401, "UNAUTHENTICATED")
    assert upstream.seen == []


def test_a_page_of_another_site_cannot_write_here(installation, upstream):
    run = "/mlflow/ajax-api/2.0/mlflow/runs/create"
    allowed = [{"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}, {}]
    refused = [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Cookie": "tidemill_visitor=stolen"},
    ]
    with browse(installation, OpenIdentification()) as client:
        for headers in allowed:
            assert client.post(run, json={}, headers=headers).status_code == 200, headers
        for headers in refused:
            assert client.post(run, json={}, headers=headers).status_code == 403, headers
    assert len(upstream.seen) == len(allowed)


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": "x", "artifact_location": "/etc"}',
        b'{"name": "x", "artifactLocation": "file:///etc"}',
        b'{"name": "x", "artifact_location": "", "artifactLocation": "/etc"}',
        b'{"name": "x", "artifact_location": "/etc", "artifact_location": ""}',
        b'"{\\"name\\": \\"x\\", \\"artifact_location\\": \\"/etc\\"}"',
        b'{"name": "x", "another": 1}',
        b"name=x",
        b"",
    ],
)
def test_an_experiment_cannot_be_made_to_keep_its_files_where_the_servers_are(installation, upstream, body):
    with browse(installation, OpenIdentification()) as client:
        answer = client.post(CREATE, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 403
    assert upstream.seen == []


def test_an_experiment_is_made_and_its_body_arrives(installation, upstream):
    body = b'{"name": "x", "artifact_location": "", "tags": [{"key": "a", "value": "b"}]}'
    with browse(installation, OpenIdentification()) as client:
        assert client.post(CREATE, content=body).status_code == 200
    assert upstream.seen[0][3] == body


def test_an_upload_is_larger_than_what_forms_may_bring(installation, upstream):
    content = b"x" * 3_000_000
    path = "/mlflow/api/2.0/mlflow-artifacts/artifacts/1/a%20b.bin"
    with browse(installation, person("data-scientist")) as client:
        assert client.put(path, content=content).json()["size"] == len(content)
        too_much = {"Content-Length": str(2**36)}
        assert client.put(path, content=b"x", headers=too_much).status_code == 413
    assert upstream.seen[0][1] == "/api/2.0/mlflow-artifacts/artifacts/1/a%20b.bin"


def test_a_file_of_somebodys_runs_nothing_and_is_saved(installation, upstream):
    with browse(installation, OpenIdentification()) as client:
        answer = client.get("/mlflow/get-artifact?run_id=a&path=page.html")
        page = client.get("/mlflow/")
        own = client.get("/")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["content-security-policy"].startswith("sandbox")
    policy = page.headers["content-security-policy"]
    assert "script-src http://localhost/mlflow/static-files/;" in policy
    assert "connect-src http://localhost/mlflow/ blob:;" in policy
    assert "unsafe" not in own.headers["content-security-policy"]


def test_a_server_that_is_away_is_said_to_be(installation, upstream):
    upstream.away = True
    with browse(installation, OpenIdentification()) as client:
        page = client.get("/mlflow/")
        told = client.get("/mlflow/api/2.0/mlflow/runs/get?run_id=a")
        assert client.get("/").status_code == 200
    assert page.status_code == told.status_code == 503
    assert "does not answer" in page.text
    assert "mlflow.log" in told.json()["message"]
    with browse(installation, OpenIdentification(), url=None) as client:
        none = client.get("/mlflow/")
    assert (none.status_code, "tidemill up" in none.text) == (503, True)


def test_a_websocket_is_refused_at_the_door(installation, upstream):
    from starlette.websockets import WebSocketDisconnect

    with browse(installation, OpenIdentification()) as client:
        for path in ("/mlflow/api/2.0/mlflow/runs/get", "/mlflow/", "/"):
            with pytest.raises(WebSocketDisconnect), client.websocket_connect(path):
                pass


def test_where_four_eyes_are_wanted_mlflow_moves_no_alias(installation, upstream):
    home = installation.home
    gate = home.config.gate.model_copy(update={"four_eyes": True})
    object.__setattr__(home, "config", home.config.model_copy(update={"gate": gate}))
    with browse(installation, person("ml-engineer")) as client:
        body = {"name": "parcel-delay", "alias": "champion", "version": "2"}
        answer = client.post("/mlflow/api/2.0/mlflow/registered-models/alias", json=body)
        assert answer.status_code == 403
        assert "second person" in answer.text
        assert upstream.seen == []
        found = client.post("/mlflow/api/2.0/mlflow/runs/search", json={"experiment_ids": ["1"]})
        assert found.status_code == 200


def test_the_page_alone_has_a_way_back_and_is_the_whole_of_it(installation, upstream):
    upstream.page = b"<html><body><div id='root'></div></body></html>" + b" " * 2000
    asked = {"If-None-Match": '"1"', "Range": "bytes=0-9", "Accept-Encoding": "gzip"}
    with browse(installation, OpenIdentification()) as client:
        page, head = client.get("/mlflow/", headers=asked), client.head("/mlflow/")
        other = client.get("/mlflow/api/2.0/mlflow/runs/get", headers=asked)
    assert '<body><nav aria-label="Tidemill"><a href="/"' in page.text
    assert page.text.endswith("<div id='root'></div></body></html>" + " " * 2000)
    assert (head.status_code, head.headers["content-type"]) == (200, page.headers["content-type"])
    assert "etag" not in page.headers
    assert "style-src" in page.headers["content-security-policy"]
    assert not {"if-none-match", "range"} & set(upstream.seen[0][2])
    assert upstream.seen[0][2]["accept-encoding"] == "identity"
    assert "Tidemill" not in other.text
    assert upstream.seen[2][2]["if-none-match"] == '"1"'
