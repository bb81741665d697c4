"""MLflow's pages and API at ``/mlflow``: each request is decided by its method and route, then sent on."""

import json
import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import httpx
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from tidemill.accounts.audit import FAILED
from tidemill.accounts.identities import decide
from tidemill.dashboard.error_pages import answer_for, error_answer
from tidemill.dashboard.tracking_proxy.canonical_paths import SpellingRefused, canonical
from tidemill.dashboard.tracking_proxy.forwarding import BodyTooLarge, at_most, forward, new_client
from tidemill.dashboard.tracking_proxy.graph_queries import MOST, QUERIES, said_plainly
from tidemill.dashboard.tracking_proxy.kept_versions import what_would_be_lost
from tidemill.dashboard.tracking_proxy.recorded_requests import (
    CREATES_VERSION,
    forward_registration,
    put_on_record,
)
from tidemill.dashboard.tracking_proxy.registered_files import what_would_change
from tidemill.dashboard.tracking_proxy.reserved_tags import RESERVED, names_reserved_tag
from tidemill.dashboard.tracking_proxy.tracking_routes import ARTIFACTS, needs_of
from tidemill.dashboard.tracking_proxy.way_back import page_with_way_back
from tidemill.errors import TidemillError

if TYPE_CHECKING:
    from tidemill.accounts.roles import Permission
    from tidemill.dashboard.visit import Visit

__all__ = ["TrackingProxy"]

_log = logging.getLogger(__name__)
_UPLOAD_BYTES: Final = 10 * 2**30
_BODY_BYTES: Final = 64 * 2**20
_CREATE = "/mlflow/experiments/create"
_GATEWAY = "/ajax-api/2.0/mlflow/gateway-proxy"
_INERT = "sandbox; default-src 'none'; frame-ancestors 'none'"


class TrackingProxy:
    """ASGI application behind the door."""

    def __init__(self, prefix: str, client: Callable[[], httpx.AsyncClient] = new_client) -> None:
        """Take the path that it is reached at, such as ``/mlflow``, and what makes a client."""
        self._prefix = prefix
        self._make_client = client
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope, receive)
        await (await self._answer(request))(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        visit: Visit = request.state.visit
        base = visit.installation.mlflow_url
        raw: bytes = request.scope["raw_path"].partition(b"?")[0]
        if raw == self._prefix.encode():
            return RedirectResponse(f"{self._prefix}/")
        try:
            path = canonical(raw.removeprefix(self._prefix.encode()))
        except SpellingRefused as refused:
            return error_answer(
                request, 400, "path_refused", f"the address has {refused}", "write it in the plain way"
            )
        if request.method == "GET" and path == _GATEWAY:  # its pages ask at each step, and show a refusal
            return JSONResponse({"endpoints": []})
        needs = needs_of(request.method, path)
        refusal = _refuse(request, visit, needs, path)
        if refusal is not None or needs is None:
            return refusal or Response(status_code=403)
        if base is None:
            return error_answer(
                request, 503, "mlflow_away", "MLflow's server does not run here", _where_else(visit)
            )
        return await self._forward(request, base, path, needs)

    async def _forward(self, request: Request, base: str, path: str, needs: "Permission") -> Response:
        self._client = self._client or self._make_client()
        query = request.scope["query_string"]
        target = path.encode() + (b"?" + query if query else b"")
        address = httpx.URL(base).copy_with(raw_path=target)
        most = _UPLOAD_BYTES if needs[1] == "artifact" else _BODY_BYTES
        most = MOST if path == QUERIES else most
        request = Request(request.scope, at_most(request.receive, most))
        try:
            if path.endswith(_CREATE) and (wrong := await _elsewhere(request)):
                return error_answer(request, 403, "location_refused", wrong, "leave artifact_location out")
            if (refusal := await _keep_what_was_judged(request, path, needs)) is not None:
                return refusal
            if needs in _ON_RECORD:
                body = await request.body()
                await run_in_threadpool(put_on_record, request, path, needs, body)
            headers = _headers(request, path, needs)
            if path == "/":
                return await page_with_way_back(self._client, request, address, headers)
            if path.endswith(CREATES_VERSION):
                return await forward_registration(self._client, request, address, path, headers)
            answer = await forward(self._client, request, address, headers=headers, most=most)
            if needs in _ON_RECORD and answer.status_code >= 400:
                failed = f"{FAILED}{needs[0]}", needs[1]
                await run_in_threadpool(put_on_record, request, path, failed, body)
            return await said_plainly(request, answer) if path == QUERIES else answer
        except BodyTooLarge:
            return error_answer(request, 413, "too_large", f"a request here is at most {most:,} bytes")
        except TidemillError as error:
            return answer_for(request, error)
        except httpx.HTTPError as error:
            _log.warning("MLflow's server does not answer at %s: %r", base, error)
            return error_answer(
                request,
                503,
                "mlflow_away",
                "MLflow's server does not answer",
                "it is started again by itself; mlflow.log in the project's logs says why it ended",
            )


_PROMOTE: "Permission" = ("promote", "version")


def _refuse(request: Request, visit: "Visit", needs: "Permission | None", path: str) -> Response | None:
    """Return an answer unless the visitor may use the route."""
    if needs is None:
        return error_answer(
            request,
            403,
            "route_refused",
            f"{request.method} {path} of MLflow is not offered here",
            "docs/dashboard.md lists what is",
        )
    home = visit.installation.home
    # A store that other projects may share is nobody's alone: that takes a role in every project.
    shared = home.settings.tracking_uri is not None
    verdict = decide(visit.identity, needs, None if shared else home.config.project.name)
    if verdict == "hidden":
        return error_answer(request, 404, "not_found", "there is no such page", None)
    if verdict == "forbidden":
        action, resource = needs
        return error_answer(
            request,
            403,
            "not_allowed",
            f"{visit.identity.name or 'this visitor'} may not {action} a {resource} here: "
            f"{request.method} {path}",
            "an admin gives roles: `tidemill users grant`, or the page People",
        )
    if needs == _PROMOTE and home.config.wants_four_eyes:
        return error_answer(
            request,
            403,
            "second_person_needed",
            "this project wants a second person's approval of what is promoted, which MLflow cannot ask for",
            "promote by `tidemill promote`, or the dashboard",
        )
    return None


_FILES = frozenset[tuple[str, str]]({("write", "artifact"), ("delete", "artifact")})
_TAGS = frozenset[tuple[str, str]]({("write", "run"), ("register", "version"), ("annotate", "version")})
_ON_RECORD = frozenset[tuple[str, str]](
    {("promote", "version"), ("delete", "version"), ("delete", "run"), ("annotate", "version")}
)
"""What stands in the audit log, with what was sent, before it is sent on; what is registered does after."""
_LOSING = _ON_RECORD | {("write", "run")}
_SPANS = "/v1/traces"
"""Takes no JSON, and sets no tag."""


async def _keep_what_was_judged(request: Request, path: str, needs: "Permission") -> Response | None:
    """Return an answer if a request would change a registered version, or forge what is recorded of it."""
    visit: Visit = request.state.visit
    home = visit.installation.home
    if needs in _FILES:
        query = request.scope["query_string"].decode("latin-1")
        try:
            wrong = await run_in_threadpool(what_would_change, home, request.method, path, query)
        except TidemillError as error:
            return answer_for(request, error)
        if wrong is not None:
            return error_answer(request, 409, "registered_files", wrong, "log a new model, and register that")
    if needs in _LOSING and (refusal := await _refuse_loss(request, path)) is not None:
        return refusal
    if needs not in _TAGS or path == _SPANS:
        return None
    shared = home.settings.tracking_uri is not None
    trusted = decide(visit.identity, _PROMOTE, None if shared else home.config.project.name) == "allowed"
    if trusted or not await run_in_threadpool(names_reserved_tag, path, await request.body()):
        return None
    return error_answer(
        request,
        403,
        "reserved_tag",
        f"tags that begin with {RESERVED} are Tidemill's own records of a run or a version",
        "take another name for the tag; who may promote versions may change these",
    )


async def _refuse_loss(request: Request, path: str) -> Response | None:
    """Return an answer if a request would delete what serves, or what a registered version was made by."""
    visit: Visit = request.state.visit
    body = await request.body() if path.endswith(("/delete", "/rename", "/alias")) else b""
    try:
        found = await run_in_threadpool(
            what_would_be_lost, visit.installation.home, request.method, path, body
        )
    except TidemillError as error:
        return answer_for(request, error)
    if found is None:
        return None
    return error_answer(
        request,
        409,
        "in_use",
        f"this stays as it is: {found}",
        "let another version serve first; what registered versions were made by is kept as long as they are",
    )


async def _elsewhere(request: Request) -> str | None:
    """Return what is wrong with where a new experiment shall keep its files; they stay where ours are.

    MLflow reads files of the server's disk for whoever may say where an experiment keeps them.
    """
    body = await request.body()
    try:
        given = json.loads(body, object_pairs_hook=list)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, list) or not all(isinstance(pair, tuple) for pair in given):
        return "the content is no JSON object"
    for name, value in given:
        plain = str(name).replace("_", "").casefold()
        if plain not in ("name", "tags", "artifactlocation"):
            return f"an experiment has no {name!r}"
        if plain == "artifactlocation" and value not in (None, ""):
            return "an experiment's files are kept where the server keeps them"
    return None


def _headers(request: Request, path: str, needs: "Permission") -> dict[str, str]:
    """Return headers for an answer: its page runs its own scripts alone; a file of somebody's runs none."""
    if path == "/" or path.startswith("/static-files/"):
        own = f"{_origin(request)}/mlflow"
        policy = (
            "default-src 'none'",
            f"script-src {own}/static-files/",
            f"style-src {own}/static-files/ 'unsafe-inline'",  # its components write styles
            f"img-src {own}/ data: blob:",
            f"font-src {own}/static-files/ data:",
            f"connect-src {own}/ blob:",
            f"worker-src {own}/static-files/ blob:",
            f"manifest-src {own}/static-files/",
            "frame-src blob: data:",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
        kept = "no-cache" if path == "/" else "private, max-age=86400"
        return {"Content-Security-Policy": "; ".join(policy), "Cache-Control": kept}
    headers = {"Content-Security-Policy": _INERT, "Cache-Control": "no-store"}
    if needs in ARTIFACTS and not path.endswith(("/artifacts/list", "/artifacts", "/directories")):
        headers["Content-Disposition"] = "attachment"
    return headers


def _origin(request: Request) -> str:
    """Return where we are reached, for a policy; a Host that could say more in it names nothing."""
    host = request.headers.get("host", "")
    return (
        f"{request.url.scheme}://{host}" if re.fullmatch(r"[A-Za-z0-9.:\[\]-]+", host) else "http://invalid"
    )


def _where_else(visit: "Visit") -> str:
    uri = visit.installation.home.settings.tracking_uri or ""
    if uri.startswith("http"):
        return "the project uses MLflow's server elsewhere, as TIDEMILL_TRACKING_URI says"
    return "`tidemill up` starts it"
