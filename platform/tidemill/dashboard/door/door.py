"""Every request passes here first: its host, who it is from, and that its form is not forged."""

import asyncio
import hmac
from collections.abc import Callable
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl, quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidemill.accounts.caller import Caller, calling
from tidemill.accounts.identities import NOBODY
from tidemill.dashboard.door.identification import Identification
from tidemill.dashboard.door.own_requests import (
    FORM,
    comes_from_elsewhere,
    host_name,
    is_foreign,
    is_own_form,
)
from tidemill.dashboard.door.refused_forms import keep_words
from tidemill.dashboard.door.security_headers import new_nonce, security_headers
from tidemill.dashboard.error_pages import answer_for, error_answer, is_mlflow, wants_json
from tidemill.dashboard.installation import Installation
from tidemill.dashboard.page_addresses import first_control
from tidemill.dashboard.records.bounded_reading import PAGE_SECONDS, PROGRAM_SECONDS, patience
from tidemill.dashboard.visit import Visit
from tidemill.errors import TidemillError

__all__ = ["OPEN_PATHS", "Door"]

OPEN_PATHS: Final = ("/static/", "/healthz", "/login")
"""What needs no identity."""
_READING = frozenset({"GET", "HEAD"})
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_BODY_BYTES = 1_000_000
_BODY_SECONDS = 30.0
_HEAD_BYTES = 32_768
_WITHOUT_RECORDS = ("/static/", "/healthz")
"""What is answered however the records are."""


class Door:
    """ASGI middleware: nothing behind it is reached by another way."""

    def __init__(
        self,
        app: ASGIApp,
        installation: Installation,
        identification: Identification,
        *,
        local_only: bool,
        now: Callable[[], datetime],
    ) -> None:
        """Take the parts.

        Args:
            app: what is behind the door.
            installation: what it shows.
            identification: says who a request is from.
            local_only: answer to names of this machine alone: else any page in a browser here could come in
                by a name of its own that leads to 127.0.0.1.
            now: wall-clock time.
        """
        self._app = app
        self._installation = installation
        self._identification = identification
        self._local_only = local_only
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here."""
        if scope["type"] == "websocket":  # nothing here speaks it
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        nonce = new_nonce()
        cookies: list[str] = []

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in security_headers(nonce).items():
                    headers.setdefault(name, value)
                for cookie in cookies:
                    headers.append("Set-Cookie", cookie)
            await send(message)

        answer = await self._look(request, nonce, cookies)
        if answer is None and request.method not in _READING and is_mlflow(scope["path"]):
            # Its pages know no token of ours, and what it is sent may be large: it is passed on unread.
            answer = _foreign(request) if comes_from_elsewhere(request) else None
        elif answer is None and request.method not in _READING:
            body = _Body(request)
            answer = await body.read_in_time() or self._forged(request, body)
            receive = body.again
        with calling(_caller(request)), patience(_patience(request)):
            await (answer or self._app)(_asked_for(scope), receive, send_with_headers)

    def _forged(self, request: Request, body: "_Body") -> ASGIApp | None:
        """Return an answer unless a form comes from a page of ours; programs send no cookie, and no form."""
        if is_foreign(request):
            return _foreign(request)
        csrf = request.state.visit.csrf if hasattr(request.state, "visit") else ""
        return _require_own_form(request, csrf, body.content) if csrf else None

    async def _look(self, request: Request, nonce: str, cookies: list[str]) -> ASGIApp | None:
        """Put the visit into the request's state; return an answer if it is not let in."""
        if self._local_only and host_name(request) not in _LOCAL:
            return error_answer(
                request,
                421,
                "misdirected",
                "this answers only to names of its own machine, such as localhost",
            )
        if sum(len(name) + len(value) for name, value in request.scope["headers"]) > _HEAD_BYTES:
            return error_answer(
                request,
                431,
                "headers_too_large",
                f"the headers of a request are at most {_HEAD_BYTES:,} bytes",
                "delete the cookies of this site, or send less",
            )
        if (refused := _control_refused(request)) is not None:
            return refused
        if request.scope["path"].startswith(_WITHOUT_RECORDS):
            return None
        try:
            found = await run_in_threadpool(self._identification.identify, request)
        except TidemillError as error:
            return answer_for(request, error)
        if found.set_cookie and not is_mlflow(request.scope["path"]):  # its clients would keep it
            cookies.append(found.set_cookie)
        # The path itself: that of the whole address could be made to begin otherwise by a Host header.
        if found.identity is None and not request.scope["path"].startswith(OPEN_PATHS):
            return await _ask_to_log_in(request)
        request.state.visit = Visit(
            self._installation,
            found.identity or NOBODY,
            self._now(),
            csrf=found.csrf or "",
            nonce=nonce,
            session=found.session,
        )
        return None


def _control_refused(request: Request) -> ASGIApp | None:
    """Return an answer if the address holds a control character: nothing here is called so."""
    if (found := first_control(request.scope["path"])) is not None:
        said = f"there is no such page: its address holds the control character {found}"
        return error_answer(request, 404, "not_found", said, "the fleet is where everything begins")
    if (found := first_control(request.query_params.multi_items())) is not None:
        said = f"a parameter of the address holds the control character {found}"
        return error_answer(request, 422, "invalid", said, "take it out and send it again")
    return None


def _caller(request: Request) -> Caller:
    """Return who asks, for the audit log."""
    visit: Visit | None = getattr(request.state, "visit", None)
    address = request.client.host if request.client is not None else None
    known = visit is not None and visit.identity is not NOBODY
    return Caller(visit.who if visit and known else "", visit.identity.kind if visit else "", address)


class _Body:
    """The body of a request, read once here and given again to what is behind the door."""

    def __init__(self, request: Request) -> None:
        self.content = b""
        self._request = request
        self._given = False

    async def read_in_time(self) -> ASGIApp | None:
        """Read the body; return an answer if it is too large, or does not come in time."""
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                return await self.read()
        except TimeoutError:
            return error_answer(
                self._request,
                408,
                "too_slow",
                f"the body of the request did not come in {_BODY_SECONDS:.0f} s",
                "look at the connection, and send it again",
            )
        except ClientDisconnect:
            return _nobody_is_there

    async def read(self) -> ASGIApp | None:
        """Read the body; return an answer if it is too large."""
        async for chunk in self._request.stream():
            self.content += chunk
            if len(self.content) > _BODY_BYTES:
                return error_answer(
                    self._request,
                    413,
                    "too_large",
                    f"a request is at most {_BODY_BYTES:,} bytes",
                    "send less",
                )
        return None

    async def again(self) -> Message:
        """Give the body as the server would."""
        if self._given:
            return await self._request.receive()
        self._given = True
        return {"type": "http.request", "body": self.content, "more_body": False}


async def _nobody_is_there(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer nothing to who has hung up."""


def _patience(request: Request) -> float:
    """Return how long readings are waited for: a person is told soon, a program waits."""
    return PROGRAM_SECONDS if wants_json(request) or request.method not in _READING else PAGE_SECONDS


def _asked_for(scope: Scope) -> Scope:
    """Return what the app is asked: for HEAD what GET would give; the server leaves the content out."""
    if scope["method"] != "HEAD" or is_mlflow(scope["path"]) or scope["path"].endswith("/events"):
        return scope  # MLflow answers HEAD itself, and a stream of events has no end
    return {**scope, "method": "GET"}


def _foreign(request: Request) -> ASGIApp:
    return error_answer(request, 403, "foreign_origin", "requests from pages of other sites are refused")


def _require_own_form(request: Request, csrf: str, body: bytes) -> ASGIApp | None:
    """Return an answer unless the request comes from a page of ours."""
    sent = request.headers.get("x-csrf-token")
    if sent is None and request.headers.get("content-type", "").startswith(FORM):
        sent = dict(parse_qsl(body.decode("latin-1"))).get("csrf")
    if sent is None or not hmac.compare_digest(sent.encode(), csrf.encode()):
        keep_words(request, body, "Load the page again")
        return error_answer(
            request,
            403,
            "form_outdated",
            "the form is outdated, or not from this page",
            "load the page again and send the form once more; programs send a token instead of a cookie",
        )
    return None


async def _ask_to_log_in(request: Request) -> ASGIApp:
    if request.method not in _READING and is_own_form(request) and not is_mlflow(request.scope["path"]):
        body = _Body(request)
        if (refused := await body.read_in_time()) is not None:
            return refused
        keep_words(request, body.content, "Log in again", "/login?next=")
        said = "your session has ended, so nothing was done"
        return error_answer(request, 401, "not_logged_in", said, "log in again, and send the form once more")
    listens = request.headers.get("accept") == "text/event-stream"  # to no page of a login
    if wants_json(request) or request.method not in _READING or listens:
        return error_answer(
            request, 401, "not_logged_in", "log in, or send a token", "Authorization: Bearer tmk_…"
        )
    query = request.scope["query_string"].decode("latin-1")
    target = request.scope["path"] + (f"?{query}" if query else "")
    return RedirectResponse(f"/login?next={quote(target, safe='')}", status_code=303)
