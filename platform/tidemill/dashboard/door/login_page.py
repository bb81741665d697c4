"""The page where people log in by their password, and the form that logs them out."""

import re
import threading
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from tidemill.accounts.login_sessions import end_session, log_in
from tidemill.dashboard.door.session_cookies import (
    forget_session,
    give_session,
    provider_of_session,
    session_secret,
)
from tidemill.dashboard.error_pages import error_answer
from tidemill.dashboard.navigation import Shell
from tidemill.dashboard.page_addresses import first_control
from tidemill.dashboard.statuses import status_of
from tidemill.dashboard.templating import render
from tidemill.errors import LoginRefused, TidemillError

if TYPE_CHECKING:
    from tidemill.dashboard.visit import Visit

__all__ = ["add_to", "local_path"]

_LOCAL: Final = re.compile(r"/(?![/\\])[^\x00-\x20\x7f\\]*")
_NOTES: Final = {"password": "The password is changed, and every session has ended. Log in with the new one."}
_AT_ONCE = threading.BoundedSemaphore(2)  # Argon2 takes 64 MiB each time
_PATIENCE_SECONDS = 10.0


def local_path(asked: str) -> str:
    """Return where to go after the login: an address of ours, whatever was asked.

    >>> [local_path(one) for one in ("/alerts?page=2", "//evil.example", "https://evil.example", "/\\\\evil")]
    ['/alerts?page=2', '/', '/', '/']
    """
    return asked if _LOCAL.fullmatch(asked) else "/"


def add_to(app: FastAPI) -> None:
    """Add the page and its forms, which need no permission."""
    app.add_api_route("/login", _show, methods=["GET"], include_in_schema=False)
    app.add_api_route("/login", _log_in, methods=["POST"], include_in_schema=False)
    app.add_api_route("/logout", _log_out, methods=["POST"], include_in_schema=False)


def _show(request: Request) -> Response:
    visit: Visit = request.state.visit
    target = local_path(request.query_params.get("next", "/"))
    if visit.identity.kind == "person":
        return RedirectResponse(target, status_code=303)
    return _page(request, target, note=_NOTES.get(request.query_params.get("note", "")))


async def _log_in(request: Request) -> Response:
    fields = dict(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))
    return await run_in_threadpool(_try, request, fields)


def _try(request: Request, fields: dict[str, str]) -> Response:
    visit: Visit = request.state.visit
    target, name = local_path(fields.get("next", "/")), fields.get("name", "")[:200]
    if not _AT_ONCE.acquire(timeout=_PATIENCE_SECONDS):
        return error_answer(request, 503, "busy", "too many people log in at once", "try again in a moment")
    try:
        if first_control(name) is not None:
            raise LoginRefused("a name cannot hold a control character", hint="type the name again")
        made = log_in(
            visit.state,
            name=name,
            password=fields.get("password", ""),
            address=request.client.host if request.client else "",
            agent=request.headers.get("user-agent", ""),
            now=visit.now,
        )
    except LoginRefused as error:
        return _page(request, target, name=name, error=error)
    finally:
        _AT_ONCE.release()
    _end(request)  # the session before, if this browser had one: it is never taken over
    answer = RedirectResponse(target, status_code=303)
    give_session(request, answer, made.secret)
    return answer


def _log_out(request: Request) -> Response:
    _end(request)
    provider = provider_of_session(request)
    known = provider in dict(getattr(request.app.state, "sign_on", ()))
    answer = RedirectResponse(f"/login?ended={provider}" if known else "/login", status_code=303)
    forget_session(request, answer)
    answer.headers["Clear-Site-Data"] = '"cache"'
    return answer


def _end(request: Request) -> None:
    visit: Visit = request.state.visit
    secret = session_secret(request)
    if secret is not None:
        end_session(visit.state, secret)


def _page(
    request: Request,
    target: str,
    *,
    name: str = "",
    note: str | None = None,
    error: TidemillError | None = None,
) -> Response:
    values: dict[str, object] = {
        "next": target,
        "name": name,
        "note": note,
        "error": error,
        "title": "Log in",
    }
    values["providers"] = providers = getattr(request.app.state, "sign_on", ())
    ended = request.query_params.get("ended")
    values["ended"] = next((one for one in providers if one[0] == ended), None)
    around = {"visit": request.state.visit, "path": "/login", "shell": Shell(main=()), "done": None}
    return HTMLResponse(render("login.html", {**values, **around}), status_of(error) if error else 200)
